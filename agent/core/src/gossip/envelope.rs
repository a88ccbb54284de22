//! What is around every packet and frame: version, label, and the seal.
//!
//! ```text
//! 'L'  version  flags  label length  label  [nonce  ciphertext  tag] or [plain body]
//! ```
//!
//! Everything before the nonce is authenticated with the body, so a packet of
//! one pool is none of another even under the same key. A frame of a stream
//! has its length in four bytes before it.

use std::borrow::Cow;
use std::fmt;

use rand::{Rng, RngExt};

use super::keyring::{KeyRing, NONCE_BYTES, SEAL_BYTES};

const MAGIC: u8 = b'L';

/// The version of this protocol.
const VERSION: u8 = 1;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;

/// Bytes before the label.
const FIXED_BYTES: usize = 4;

/// Bytes of a frame's header: the length of its body, big-endian.
pub const FRAME_HEADER_BYTES: usize = 4;

/// The longest frame read as an answer, in bytes: about thirty thousand members.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The length of the body a frame's header announces.
///
/// # Errors
/// When that is more than `bytes_max`: the stream is to be closed.
pub fn frame_length(header: [u8; FRAME_HEADER_BYTES], bytes_max: usize) -> Result<usize, String> {
    let length = u32::from_be_bytes(header) as usize;
    if length <= bytes_max { Ok(length) } else { Err(format!("frame of {length} bytes is longer than {bytes_max}")) }
}

/// Why a packet was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is none, or truncated.
    Malformed,
    /// It is of another version.
    OtherVersion(u8),
    /// It is of another pool.
    OtherPool(String),
    /// It is plain and must not be.
    NotEncrypted,
    /// No key opens it.
    NotAuthentic,
    /// It is sealed, and we have no keys.
    NoKeys,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed => write!(formatter, "the answer makes no sense"),
            Refusal::OtherVersion(version) => write!(formatter, "the peer speaks version {version} of the protocol"),
            Refusal::OtherPool(label) => write!(formatter, "the peer is of another pool: {label}"),
            Refusal::NotEncrypted => write!(formatter, "Encryption is configured but remote state is not encrypted"),
            Refusal::NotAuthentic => write!(formatter, "No installed keys could decrypt the message"),
            Refusal::NoKeys => write!(formatter, "Remote state is encrypted and encryption is not configured"),
        }
    }
}

/// Seals and opens packets of one pool.
#[derive(Debug)]
pub(super) struct Envelope {
    label: String,
    pub(super) ring: KeyRing,
    verify_incoming: bool,
    verify_outgoing: bool,
}

impl Envelope {
    pub(super) fn new(label: &str, ring: KeyRing, verify_incoming: bool, verify_outgoing: bool) -> Envelope {
        let end = label.floor_char_boundary(super::config::LABEL_BYTES_MAX);
        Envelope { label: label[..end].to_owned(), ring, verify_incoming, verify_outgoing }
    }

    /// Bytes a packet is longer than its body.
    pub(super) fn overhead(&self) -> usize {
        FIXED_BYTES + self.label.len() + if self.seals() { SEAL_BYTES } else { 0 }
    }

    /// A packet with this body.
    pub(super) fn seal(&self, body: &[u8], rng: &mut impl Rng) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.overhead() + body.len());
        self.seal_into(&mut packet, body, rng);
        packet
    }

    /// A frame with this body, its header included.
    pub(super) fn frame(&self, body: &[u8], rng: &mut impl Rng) -> Vec<u8> {
        let length = u32::try_from(self.overhead() + body.len()).expect("a pool's state is far below 4 GiB");
        let mut frame = length.to_be_bytes().to_vec();
        self.seal_into(&mut frame, body, rng);
        frame
    }

    /// The body of a packet.
    pub(super) fn open<'a>(&self, packet: &'a [u8]) -> Result<Cow<'a, [u8]>, Refusal> {
        let (fixed, rest) = packet.split_first_chunk::<FIXED_BYTES>().ok_or(Refusal::Malformed)?;
        let [magic, version, flags, label_length] = *fixed;
        if magic != MAGIC {
            return Err(Refusal::Malformed);
        }
        if version != VERSION {
            return Err(Refusal::OtherVersion(version));
        }
        let (label, body) = rest.split_at_checked(usize::from(label_length)).ok_or(Refusal::Malformed)?;
        if label != self.label.as_bytes() {
            return Err(Refusal::OtherPool(String::from_utf8_lossy(label).into_owned()));
        }
        match flags {
            PLAIN if self.verify_incoming && !self.ring.is_empty() => Err(Refusal::NotEncrypted),
            PLAIN => Ok(Cow::Borrowed(body)),
            SEALED if self.ring.is_empty() => Err(Refusal::NoKeys),
            SEALED => {
                let clear = &packet[..FIXED_BYTES + label.len()];
                let (nonce, sealed) = body.split_first_chunk::<NONCE_BYTES>().ok_or(Refusal::Malformed)?;
                self.ring.open(*nonce, clear, sealed).map(Cow::Owned).ok_or(Refusal::NotAuthentic)
            }
            _ => Err(Refusal::Malformed),
        }
    }

    fn seals(&self) -> bool {
        self.verify_outgoing && !self.ring.is_empty()
    }

    fn seal_into(&self, packet: &mut Vec<u8>, body: &[u8], rng: &mut impl Rng) {
        let clear_at = packet.len();
        let flags = if self.seals() { SEALED } else { PLAIN };
        packet.extend_from_slice(&[MAGIC, VERSION, flags, self.label.len() as u8]);
        packet.extend_from_slice(self.label.as_bytes());
        if !self.seals() {
            packet.extend_from_slice(body);
            return;
        }
        let clear = packet[clear_at..].to_vec();
        let nonce: [u8; NONCE_BYTES] = rng.random();
        packet.extend_from_slice(&nonce);
        let body_at = packet.len();
        packet.extend_from_slice(body);
        self.ring.seal(nonce, &clear, body_at, packet);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::gossip::keyring::Key;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    fn ring(byte: u8) -> KeyRing {
        KeyRing::new([Key::new(&[byte; 16]).unwrap()])
    }

    fn plain(label: &str) -> Envelope {
        Envelope::new(label, KeyRing::default(), true, true)
    }

    fn sealed(label: &str, byte: u8) -> Envelope {
        Envelope::new(label, ring(byte), true, true)
    }

    #[test]
    fn who_opens_what() {
        let rolling_in = Envelope::new("lan.dc1", ring(1), false, false);
        let rolling_out = Envelope::new("lan.dc1", ring(1), false, true);
        let cases = [
            (plain("lan.dc1"), plain("lan.dc1"), Ok(())),
            (plain("lan.dc2"), plain("lan.dc1"), Err(Refusal::OtherPool("lan.dc2".to_owned()))),
            (plain("lan.dc1"), sealed("lan.dc1", 1), Err(Refusal::NotEncrypted)),
            (sealed("lan.dc1", 1), plain("lan.dc1"), Err(Refusal::NoKeys)),
            (sealed("lan.dc1", 1), sealed("lan.dc1", 2), Err(Refusal::NotAuthentic)),
            (sealed("lan.dc1", 1), sealed("lan.dc1", 1), Ok(())),
            (rolling_in, plain("lan.dc1"), Ok(())),
            (rolling_out, sealed("lan.dc1", 1), Ok(())),
            (plain("lan.dc1"), Envelope::new("lan.dc1", ring(1), false, true), Ok(())),
        ];
        for (from, to, expected) in cases {
            let packet = from.seal(b"hello", &mut rng());
            assert_eq!(packet.len(), from.overhead() + 5);
            assert_eq!(to.open(&packet).map(|body| assert_eq!(&*body, b"hello")), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let mut packet = plain("lan.dc1").seal(b"hello", &mut rng());
        packet[1] = 9;
        assert_eq!(plain("lan.dc1").open(&packet), Err(Refusal::OtherVersion(9)));
    }

    #[test]
    fn every_changed_bit_of_a_sealed_packet_is_noticed() {
        let envelope = sealed("lan", 1);
        let packet = envelope.seal(b"hello", &mut rng());
        for bit in 0..packet.len() * 8 {
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(envelope.open(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        let envelope = sealed("lan", 1);
        let frame = envelope.frame(b"hello", &mut rng());
        let (header, body) = frame.split_first_chunk::<FRAME_HEADER_BYTES>().unwrap();
        assert_eq!(frame_length(*header, 1000), Ok(body.len()));
        assert!(frame_length(*header, 10).is_err());
        assert_eq!(&*envelope.open(body).unwrap(), b"hello");
    }

    proptest! {
        #[test]
        fn anything_may_arrive(bytes in prop::collection::vec(any::<u8>(), 0..200), is_sealed in any::<bool>()) {
            let envelope = if is_sealed { sealed("l", 1) } else { plain("l") };
            let _ = envelope.open(&bytes);
            let shaped = [&[MAGIC, VERSION, u8::from(is_sealed), 1, b'l'], &bytes[..]].concat();
            let _ = envelope.open(&shaped);
        }
    }
}
