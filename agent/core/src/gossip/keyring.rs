//! The keys that packets are sealed with.
//!
//! One key is primary and seals; all of them open. A ring without keys means a
//! pool in plain. The texts of errors are those Consul's clients print. Never
//! prints a key in a debug text.

use std::fmt;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

/// The most keys a ring may hold.
pub const KEYS_MAX: usize = 16;

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 12;

/// Bytes a sealed body is longer than a plain one, nonce included.
pub(super) const SEAL_BYTES: usize = NONCE_BYTES + 16;

/// A key of 16 bytes (AES-128-GCM) or 32 bytes (AES-256-GCM).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Key(Vec<u8>);

impl Key {
    /// The key made of these bytes.
    ///
    /// # Errors
    /// When there are neither 16 nor 32 bytes. Consul also takes 24; `ring` has no AES-192.
    pub fn new(bytes: &[u8]) -> Result<Key, String> {
        match bytes.len() {
            16 | 32 => Ok(Key(bytes.to_vec())),
            24 => Err("key size must be 16 or 32 bytes (AES-192 is not supported)".to_owned()),
            _ => Err("key size must be 16 or 32 bytes".to_owned()),
        }
    }

    /// Its bytes, to be shown in base64 to an operator or kept in the keyring file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn cipher(&self) -> LessSafeKey {
        let algorithm = if self.0.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let unbound = UnboundKey::new(algorithm, &self.0).expect("a key has the length of its algorithm");
        LessSafeKey::new(unbound)
    }
}

impl TryFrom<Vec<u8>> for Key {
    type Error = String;

    fn try_from(bytes: Vec<u8>) -> Result<Key, String> {
        Key::new(&bytes)
    }
}

impl From<Key> for Vec<u8> {
    fn from(key: Key) -> Vec<u8> {
        key.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({} bytes)", self.0.len())
    }
}

/// The keys of a pool; the first is primary. Empty when the pool is plain.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: Vec<(Key, LessSafeKey)>,
}

impl KeyRing {
    /// A ring of these keys, the first of them primary. Repeated ones and those past [`KEYS_MAX`] are left out.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> KeyRing {
        let mut ring = KeyRing::default();
        for key in keys {
            if !ring.holds(&key) && ring.keys.len() < KEYS_MAX {
                ring.push(key);
            }
        }
        ring
    }

    /// The keys, the primary first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(|(key, _)| key)
    }

    /// The key that seals.
    pub fn primary(&self) -> Option<&Key> {
        self.keys().next()
    }

    /// Whether the pool is plain.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Accepts a key from now on. A key that is there already is no error.
    ///
    /// # Errors
    /// When the pool is plain, or the ring is full.
    pub fn install(&mut self, key: Key) -> Result<(), String> {
        self.must_not_be_empty()?;
        if self.holds(&key) {
            return Ok(());
        }
        if self.keys.len() >= KEYS_MAX {
            return Err(format!("keyring is full: remove one of its {KEYS_MAX} keys first"));
        }
        self.push(key);
        Ok(())
    }

    /// Seals with a key from now on.
    ///
    /// # Errors
    /// When the pool is plain, or the key was not installed.
    pub fn use_key(&mut self, key: &Key) -> Result<(), String> {
        self.must_not_be_empty()?;
        let at = self.keys().position(|held| held == key).ok_or("Requested key is not in the keyring")?;
        let primary = self.keys.remove(at);
        self.keys.insert(0, primary);
        Ok(())
    }

    /// No longer accepts a key. A key that is not there is no error.
    ///
    /// # Errors
    /// When the pool is plain, or the key is the primary.
    pub fn remove(&mut self, key: &Key) -> Result<(), String> {
        self.must_not_be_empty()?;
        if self.primary() == Some(key) {
            return Err("Removing the primary key is not allowed".to_owned());
        }
        self.keys.retain(|(held, _)| held != key);
        Ok(())
    }

    /// Seals `body[start..]` in place with the primary key and appends the tag; `false` when there is no key.
    pub(super) fn seal(&self, nonce: [u8; NONCE_BYTES], clear: &[u8], start: usize, body: &mut Vec<u8>) -> bool {
        let Some((_, cipher)) = self.keys.first() else { return false };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = cipher.seal_in_place_separate_tag(nonce, Aad::from(clear), &mut body[start..]);
        let tag = sealed.expect("a frame is far shorter than what AES-GCM can seal");
        body.extend_from_slice(tag.as_ref());
        true
    }

    /// The plain body, when one of the keys opens the sealed one.
    pub(super) fn open(&self, nonce: [u8; NONCE_BYTES], clear: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.keys.iter().find_map(|(_, cipher)| {
            let mut body = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            let plain_bytes = cipher.open_in_place(nonce, Aad::from(clear), &mut body).ok()?.len();
            body.truncate(plain_bytes);
            Some(body)
        })
    }

    fn holds(&self, key: &Key) -> bool {
        self.keys().any(|held| held == key)
    }

    fn push(&mut self, key: Key) {
        let cipher = key.cipher();
        self.keys.push((key, cipher));
    }

    fn must_not_be_empty(&self) -> Result<(), String> {
        if self.is_empty() { Err("Keyring is empty (encryption not enabled)".to_owned()) } else { Ok(()) }
    }
}

impl PartialEq for KeyRing {
    fn eq(&self, other: &KeyRing) -> bool {
        self.keys().eq(other.keys())
    }
}

impl Eq for KeyRing {}

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn keys_have_two_sizes() {
        let sizes: Vec<usize> = (0..64).filter(|bytes| Key::new(&vec![0; *bytes]).is_ok()).collect();
        assert_eq!(sizes, [16, 32]);
    }

    #[test]
    fn every_key_opens_and_the_primary_seals() {
        let old = KeyRing::new([Key::new(&[1; 16]).unwrap()]);
        let both = KeyRing::new([key(2), Key::new(&[1; 16]).unwrap()]);
        let mut body = b"clear text".to_vec();
        assert!(old.seal([7; NONCE_BYTES], b"label", 5, &mut body));
        assert_eq!(both.open([7; NONCE_BYTES], b"label", &body[5..]).unwrap(), b" text");
        assert_eq!(both.open([7; NONCE_BYTES], b"other", &body[5..]), None);
        assert_eq!(both.open([8; NONCE_BYTES], b"label", &body[5..]), None);
        assert_eq!(KeyRing::new([key(2)]).open([7; NONCE_BYTES], b"label", &body[5..]), None);
    }

    #[test]
    fn a_key_is_rolled() {
        let mut ring = KeyRing::new([key(1)]);
        assert_eq!(ring.use_key(&key(2)), Err("Requested key is not in the keyring".to_owned()));
        ring.install(key(2)).unwrap();
        ring.install(key(2)).unwrap();
        ring.use_key(&key(2)).unwrap();
        assert_eq!(ring.remove(&key(2)), Err("Removing the primary key is not allowed".to_owned()));
        ring.remove(&key(1)).unwrap();
        ring.remove(&key(1)).unwrap();
        assert_eq!(ring, KeyRing::new([key(2)]));
    }

    #[test]
    fn a_plain_pool_has_no_keys_to_change() {
        let refused = Err("Keyring is empty (encryption not enabled)".to_owned());
        assert_eq!(KeyRing::default().install(key(1)), refused);
        assert_eq!(KeyRing::default().use_key(&key(1)), refused);
        assert_eq!(KeyRing::default().remove(&key(1)), refused);
    }

    #[test]
    fn a_ring_is_bounded() {
        let mut ring = KeyRing::new((0..=40).map(key));
        assert_eq!(ring.keys().count(), KEYS_MAX);
        assert!(ring.install(key(99)).is_err());
    }

    #[test]
    fn a_debug_text_tells_no_key() {
        assert_eq!(format!("{:?}", KeyRing::new([key(65)])), "[Key(32 bytes)]");
    }
}
