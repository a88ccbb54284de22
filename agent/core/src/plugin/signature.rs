//! Who vouches for a plugin's file: ed25519 over its digest.
//!
//! The message signed is [`DOMAIN`] followed by the 32 bytes of the SHA-256, so
//! that a signature means this and nothing else. Keys are made of random bytes
//! that the caller brings; files and text forms are the caller's too.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// What stands before the digest in the message that is signed.
pub const DOMAIN: &[u8] = b"lictor plugin signature v1\0";

/// PKCS#8 of an ed25519 key up to its seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// An ed25519 public key: who signed, and who is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

/// A signature with the key that it claims to be by. It proves nothing until it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// By whom.
    pub key: PublicKey,
    /// The two halves of the 64 bytes: R and S of RFC 8032.
    pub halves: [[u8; 32]; 2],
}

impl Signature {
    /// A signature of 64 bytes.
    pub fn new(key: PublicKey, bytes: &[u8; 64]) -> Signature {
        let (r, s) = bytes.split_at(32);
        let half = |half: &[u8]| half.try_into().expect("64 bytes have two halves of 32");
        Signature { key, halves: [half(r), half(s)] }
    }

    /// The 64 bytes.
    pub fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.halves[0]);
        bytes[32..].copy_from_slice(&self.halves[1]);
        bytes
    }

    /// Whether it is really by its key, and for the file with this digest.
    pub fn verifies(&self, digest: &Digest) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key.0).verify(&message(digest), &self.bytes()).is_ok()
    }
}

/// Why a file is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody vouches for it.
    Unsigned,
    /// The signature is not by its key, or for another file.
    Forged,
    /// The signature is good, and by a key that is not trusted.
    Unknown(PublicKey),
}

/// Checks a file's signature. A signature that is there must be good, whether or not any key is `trusted`; where some
/// are, it must be there, and by one of them.
///
/// # Errors
/// [`Distrust`].
pub fn check(digest: &Digest, signature: Option<&Signature>, trusted: &[PublicKey]) -> Result<(), Distrust> {
    match signature {
        Some(signature) if !signature.verifies(digest) => Err(Distrust::Forged),
        Some(signature) if !trusted.is_empty() && !trusted.contains(&signature.key) => {
            Err(Distrust::Unknown(signature.key))
        }
        None if !trusted.is_empty() => Err(Distrust::Unsigned),
        Some(_) | None => Ok(()),
    }
}

/// A key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key of a seed: 32 bytes that nobody can guess. Returns its PKCS#8 form (RFC 8410) beside it.
    pub fn from_seed(seed: &[u8; 32]) -> (SigningKey, Vec<u8>) {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        (SigningKey(pair), [&PKCS8_PREFIX[..], seed].concat())
    }

    /// Reads PKCS#8, with or without the public key in it.
    ///
    /// # Errors
    /// It is no ed25519 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<SigningKey, String> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        pair.map(SigningKey).map_err(|error| format!("it is no ed25519 key in PKCS#8 form: {error}"))
    }

    /// The key that others verify with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("an ed25519 key has 32 bytes"))
    }

    /// Vouches for the file with this digest.
    pub fn sign(&self, digest: &Digest) -> Signature {
        let signature = self.0.sign(&message(digest));
        Signature::new(self.public(), signature.as_ref().try_into().expect("an ed25519 signature has 64 bytes"))
    }
}

fn message(digest: &Digest) -> Vec<u8> {
    [DOMAIN, digest.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: u8) -> SigningKey {
        SigningKey::from_seed(&[letter; 32]).0
    }

    #[test]
    fn a_key_survives_its_file() {
        let (key, pkcs8) = SigningKey::from_seed(&[7; 32]);
        let read = SigningKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(read.public(), key.public());
        assert!(SigningKey::from_pkcs8(&pkcs8[1..]).is_err());
    }

    #[test]
    fn a_signature_is_for_one_file_by_one_key() {
        let (file, other) = (Digest::of(b"file"), Digest::of(b"other"));
        let good = key(1).sign(&file);
        let mut bent = good;
        bent.halves[1][0] ^= 1;
        let foreign = Signature { key: key(2).public(), ..good };
        let trusted = [key(1).public()];
        for (signature, digest, trusted, expected) in [
            (Some(good), file, &trusted[..], Ok(())),
            (Some(good), file, &[], Ok(())),
            (None, file, &[], Ok(())),
            (None, file, &trusted, Err(Distrust::Unsigned)),
            (Some(good), other, &trusted, Err(Distrust::Forged)),
            (Some(good), other, &[], Err(Distrust::Forged)),
            (Some(bent), file, &trusted, Err(Distrust::Forged)),
            (Some(foreign), file, &trusted, Err(Distrust::Forged)),
            (Some(key(2).sign(&file)), file, &trusted, Err(Distrust::Unknown(key(2).public()))),
        ] {
            assert_eq!(check(&digest, signature.as_ref(), trusted), expected);
        }
    }

    #[test]
    fn the_message_has_a_domain() {
        let file = Digest::of(b"file");
        let bare = key(1).0.sign(file.as_bytes());
        let bare = Signature::new(key(1).public(), bare.as_ref().try_into().unwrap());
        assert!(!bare.verifies(&file), "a signature of the digest alone was made for something else");
    }
}
