//! The name of a plugin's file: its SHA-256.
//!
//! Owns the text form `sha256:<64 hexadecimal digits>`, which configuration, keys,
//! URLs and the command line share. Reads no files.

use std::fmt;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// What stands before the digits.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::of_pieces([bytes])
    }

    /// The digest of a file in pieces.
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut context = Context::new(&SHA256);
        for piece in pieces {
            context.update(piece);
        }
        let digest = context.finish();
        Digest(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Reads `sha256:<hex>`, or the digits alone; blanks around it don't count.
    ///
    /// # Errors
    /// What it should look like.
    pub fn parse(text: &str) -> Result<Digest, String> {
        let text = text.trim();
        let digits = text.strip_prefix(PREFIX).unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        let well_formed = digits.len() == 2 * bytes.len() && digits.iter().all(u8::is_ascii_hexdigit);
        if !well_formed {
            let shown: String = text.chars().take(80).collect();
            return Err(format!("{shown:?} is no digest: write sha256: and 64 hexadecimal digits"));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Digest(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digits alone, in lower case: what files are called.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The value of a hexadecimal digit; zero for anything else.
fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FIPS 180-2, B.1.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn pieces_are_one_file() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(Digest::of_pieces([&b"a"[..], b"", b"bc"]), Digest::of(b"abc"));
    }

    #[test]
    fn texts_are_read_with_and_without_the_prefix() {
        for text in [ABC, &ABC[7..], &ABC[7..].to_uppercase(), &format!(" {ABC}\n")] {
            assert_eq!(Digest::parse(text), Ok(Digest::of(b"abc")), "{text:?}");
        }
        for text in ["", "sha256:", "latest", &ABC[..70], &format!("{ABC}0"), &ABC.replace('b', "x"), &"é".repeat(32)]
        {
            assert!(Digest::parse(text).is_err(), "{text:?}");
        }
    }
}
