//! Keys and signatures of plugins as texts, and what is said about files that are not to be trusted.
//!
//! Owns the forms in configuration (`plugin_trust`), in the API and in `.sig`
//! files. What they mean is [`agent_core::plugin::signature`]'s.

use agent_core::plugin::signature::{Distrust, PublicKey, Signature};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The first word of a `.sig` file. After it come the public key and the signature, in base 64.
const SIG_FILE: &str = "lictor-plugin-signature-v1";

/// The longest `.sig` file, in bytes.
pub const SIG_FILE_BYTES_MAX: u64 = 1024;

/// A public key in base 64.
pub fn key_text(key: &PublicKey) -> String {
    STANDARD.encode(key.0)
}

/// Reads a public key in base 64.
///
/// # Errors
/// What one looks like.
pub fn parse_key(text: &str) -> Result<PublicKey, String> {
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let shown: String = text.chars().take(80).collect();
    bytes.map(PublicKey).ok_or_else(|| {
        format!("{shown:?} is no public key: it is 32 bytes in base 64, as `lictor plugin keygen` prints it")
    })
}

/// The 64 bytes of a signature in base 64.
pub fn signature_text(signature: &Signature) -> String {
    STANDARD.encode(signature.bytes())
}

/// Reads a signature from the base 64 of its key and of its 64 bytes.
///
/// # Errors
/// Which of the two is none.
pub fn parse_signature(key: &str, signature: &str) -> Result<Signature, String> {
    let key = parse_key(key)?;
    let bytes = STANDARD.decode(signature.trim()).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    let bytes = bytes.ok_or("the signature is not 64 bytes in base 64")?;
    Ok(Signature::new(key, &bytes))
}

/// What a `.sig` file holds.
pub fn sig_file(signature: &Signature) -> String {
    format!("{SIG_FILE} {} {}\n", key_text(&signature.key), signature_text(signature))
}

/// Reads a `.sig` file.
///
/// # Errors
/// It is none.
pub fn parse_sig_file(text: &str) -> Result<Signature, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words[..] {
        [SIG_FILE, key, signature] => parse_signature(key, signature),
        _ => Err(format!("it is no signature of a plugin: the first word is to be {SIG_FILE}")),
    }
}

/// Why a file is not trusted, for people.
pub fn distrust_text(distrust: &Distrust) -> String {
    match distrust {
        Distrust::Unsigned => {
            "the plugin is not signed, and plugin_trust is set: sign it with `lictor plugin sign`".to_owned()
        }
        Distrust::Forged => "the plugin's signature is bad: it was made for another file, or by another key".to_owned(),
        Distrust::Unknown(key) => {
            format!("the plugin is signed by {}, which is not one of the keys of plugin_trust", key_text(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_core::plugin::digest::Digest;
    use agent_core::plugin::signature::SigningKey;

    use super::*;

    #[test]
    fn texts_read_back() {
        let signature = SigningKey::from_seed(&[1; 32]).0.sign(&Digest::of(b"file"));
        assert_eq!(parse_sig_file(&sig_file(&signature)), Ok(signature));
        assert_eq!(parse_key(&key_text(&signature.key)), Ok(signature.key));
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        let key = key_text(&PublicKey([1; 32]));
        for text in ["", "x", SIG_FILE, &format!("{SIG_FILE} {key}"), &format!("{SIG_FILE} {key} {key}")] {
            assert!(parse_sig_file(text).is_err(), "{text}");
        }
        for text in ["", "AAAA", "no base 64"] {
            assert!(parse_key(text).unwrap_err().contains("is no public key"));
        }
    }
}
