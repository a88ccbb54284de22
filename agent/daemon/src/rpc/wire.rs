//! The frames of a connection on port 8300, and how a message is put together from them.
//!
//! Each side begins with [`PREAMBLE`]. After that come frames: `[length of the
//! body][kind][id][body]`, where the id is the request's that the frame is
//! about. What does not fit into one frame takes turns with others, so nothing
//! small waits behind something large. Pure: bytes in, frames or a reason out,
//! and never more memory than arrived.

use super::frame::FrameError;

/// The version of what follows the preamble. Version 1 were HTTP/2 streams.
pub const PROTOCOL_VERSION: u8 = 2;

/// What a connection begins with, in both directions; the last byte is the version.
pub const PREAMBLE: [u8; 8] = [b'l', b'i', b'c', b't', b'o', b'r', b'\n', PROTOCOL_VERSION];

/// The longest body of a frame, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// The bytes in front of a body.
pub const HEADER_BYTES: usize = 13;

/// The bytes that say how long a message is that is longer than a frame.
pub const SIZE_BYTES: usize = 4;

/// What a frame is. Numbers are only added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole request or answer.
    Whole = 1,
    /// The beginning of one that is longer than a frame: its length in four bytes, then its first bytes.
    Begin = 2,
    /// More of it.
    More = 3,
    /// An answer whose payload comes in pieces, as long as that takes.
    Stream = 4,
    /// A piece of that payload.
    Piece = 5,
    /// There are no more pieces.
    End = 6,
    /// Whoever takes the pieces has room for another one.
    Credit = 7,
    /// Nobody waits for the answer any more.
    Cancel = 8,
    /// No request that comes from now on is heard.
    Closing = 9,
    /// This one came after that.
    Unheard = 10,
    /// Whoever is there answers with [`Kind::Pong`].
    Ping = 11,
    /// The answer to that.
    Pong = 12,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        let kinds = [
            Kind::Whole,
            Kind::Begin,
            Kind::More,
            Kind::Stream,
            Kind::Piece,
            Kind::End,
            Kind::Credit,
            Kind::Cancel,
            Kind::Closing,
            Kind::Unheard,
            Kind::Ping,
            Kind::Pong,
        ];
        kinds.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// A frame, still where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// The request it is about; zero for those about the connection.
    pub id: u64,
    /// What it carries.
    pub body: &'a [u8],
}

/// The bytes in front of a body of `size` bytes, which is at most [`BODY_BYTES_MAX`].
pub fn header(kind: Kind, id: u64, size: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&u32::try_from(size).expect("bodies are small").to_be_bytes());
    header[4] = kind as u8;
    header[5..].copy_from_slice(&id.to_be_bytes());
    header
}

/// Reads the version off the first bytes of a connection; `None` while there are too few.
///
/// # Errors
/// Somebody else speaks, or another version.
pub fn check_preamble(bytes: &[u8]) -> Result<Option<()>, FrameError> {
    let (magic, version) = (&PREAMBLE[..7], bytes.get(7));
    if !bytes.iter().zip(magic).all(|(byte, expected)| byte == expected) {
        return Err(FrameError::Foreign);
    }
    match version {
        None => Ok(None),
        Some(&PROTOCOL_VERSION) => Ok(Some(())),
        Some(&other) => Err(FrameError::Version(other)),
    }
}

/// The first frame of `bytes` and its length, header included; `None` while it has not arrived.
///
/// # Errors
/// Its body is longer than `body_max` bytes, or it is of no known kind.
pub fn parse(bytes: &[u8], body_max: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [size @ .., _, _, _, _, _, _, _, _, _] = *header;
    let [_, _, _, _, kind, id @ ..] = *header;
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if size > body_max {
        return Err(FrameError::TooLarge(body_max));
    }
    let kind = Kind::of(kind).ok_or_else(|| FrameError::Damaged(format!("there are no frames of kind {kind}")))?;
    let Some(body) = rest.get(..size) else { return Ok(None) };
    Ok(Some((Frame { kind, id: u64::from_be_bytes(id), body }, HEADER_BYTES + size)))
}

/// A message that is longer than a frame, as far as it has arrived.
#[derive(Debug)]
pub struct Partial {
    size: usize,
    bytes: Vec<u8>,
}

impl Partial {
    /// How long the message is that begins with the body of [`Kind::Begin`].
    ///
    /// # Errors
    /// It is longer than `max` bytes, would fit into a frame, or does not say how long it is.
    pub fn size(body: &[u8], max: usize) -> Result<usize, FrameError> {
        let Some((size, _)) = body.split_first_chunk::<SIZE_BYTES>() else {
            return Err(FrameError::Damaged("a message does not say how long it is".to_owned()));
        };
        match usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX) {
            // Each takes room from the budget, so there can't be many.
            ..=BODY_BYTES_MAX => Err(FrameError::Damaged("a message that would fit into a frame does not".to_owned())),
            size if size > max => Err(FrameError::TooLarge(max)),
            size => Ok(size),
        }
    }

    /// A message of which this is the body of [`Kind::Begin`].
    ///
    /// # Errors
    /// As [`Partial::size`] and [`Partial::add`].
    pub fn begin(body: &[u8], max: usize) -> Result<Partial, FrameError> {
        let mut partial = Partial { size: Partial::size(body, max)?, bytes: Vec::new() };
        partial.add(&body[SIZE_BYTES..])?;
        Ok(partial)
    }

    /// Adds the body of a [`Kind::More`].
    ///
    /// # Errors
    /// More comes than was announced.
    pub fn add(&mut self, body: &[u8]) -> Result<(), FrameError> {
        if body.len() > self.size - self.bytes.len() {
            return Err(FrameError::Damaged("a message is longer than it said".to_owned()));
        }
        if self.bytes.capacity() - self.bytes.len() < body.len() {
            // Twice as much each time, but no more than there will be.
            let more = self.bytes.len().max(body.len()).min(self.size - self.bytes.len());
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(body);
        Ok(())
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// What is there.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_bytes() {
        let bytes = [header(Kind::Cancel, 0x0102, 2).as_slice(), b"ab"].concat();
        assert_eq!(bytes, b"\0\0\0\x02\x08\0\0\0\0\0\0\x01\x02ab");
        assert_eq!(parse(&bytes, 2), Ok(Some((Frame { kind: Kind::Cancel, id: 0x0102, body: b"ab" }, 15))));
    }

    #[test]
    fn a_frame_is_read_once_it_is_there_and_refused_before() {
        let bytes = [header(Kind::Whole, 1, 3).as_slice(), b"abc"].concat();
        assert!((0..bytes.len()).all(|size| parse(&bytes[..size], 3) == Ok(None)));
        assert_eq!(parse(&bytes[..HEADER_BYTES], 2), Err(FrameError::TooLarge(2)));
        for kind in [0, 13, 255] {
            let unknown = [&bytes[..4], &[kind], &bytes[5..]].concat();
            assert!(matches!(parse(&unknown, 3), Err(FrameError::Damaged(_))), "{kind}");
        }
    }

    #[test]
    fn a_connection_says_at_once_that_it_is_another_one() {
        assert_eq!(check_preamble(b""), Ok(None));
        assert_eq!(check_preamble(&PREAMBLE[..7]), Ok(None));
        assert_eq!(check_preamble(&PREAMBLE), Ok(Some(())));
        assert_eq!(check_preamble(b"lictor\n\x03"), Err(FrameError::Version(3)));
        assert_eq!(check_preamble(b"P"), Err(FrameError::Foreign));
    }

    #[test]
    fn a_long_message_is_put_together_and_no_longer_than_it_said() {
        let size = BODY_BYTES_MAX + 3;
        let begin = |size: usize| [u32::try_from(size).unwrap().to_be_bytes().as_slice(), b"ab"].concat();
        let mut partial = Partial::begin(&begin(size), size).unwrap();
        partial.add(&[b'c'; BODY_BYTES_MAX]).unwrap();
        assert!(!partial.is_whole() && partial.add(b"ef").is_err());
        partial.add(b"e").unwrap();
        assert!(partial.is_whole());
        assert_eq!(partial.into_bytes().len(), size);
        assert_eq!(Partial::begin(&begin(size), size - 1).unwrap_err(), FrameError::TooLarge(size - 1));
        assert!(Partial::begin(b"\0\0\0", size).is_err() && Partial::begin(&begin(BODY_BYTES_MAX), size).is_err());
    }
}
