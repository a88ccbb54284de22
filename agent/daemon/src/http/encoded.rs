//! Answers that are encoded once per change and shared by all who ask.
//!
//! Owns the bodies of the lists that many clients ask for again and again:
//! every one of a thousand watchers of a service gets the same bytes. A body is
//! kept under what was asked and the index of the answer, and an index moves
//! whenever its answer may have changed, so a kept body is never stale. Bounded
//! in bytes; whatever is in here can be made again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_core::state::tables::Index;
use bytes::Bytes;

use super::request::Request;

/// What all kept bodies and their keys may take, in bytes. When it is full, keeping starts anew.
const BYTES_MAX: usize = 1024 * 1024;

/// Bodies shorter than this are made as quickly as they are found, in bytes.
const BODY_BYTES_MIN: usize = 512;

/// Longer bodies would push everything else out, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Parameters that decide when a query is answered, and from which state, but not what the answer is.
const TIMING: [&str; 5] = ["index", "wait", "stale", "consistent", "cached"];

/// Kept bodies. Shared; every call holds a lock for a lookup.
#[derive(Debug, Default)]
pub struct Encoded {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bodies: BTreeMap<String, (Index, Bytes)>,
    bytes: usize,
}

impl Encoded {
    /// The body for `key` at `index`: the kept one, or what `encode` makes.
    pub fn get_or_encode(&self, key: &str, index: Index, encode: impl FnOnce() -> Vec<u8>) -> Bytes {
        if let Some((kept_at, body)) = self.lock().bodies.get(key)
            && *kept_at == index
        {
            return body.clone();
        }
        // Not under the lock: others find theirs meanwhile. Two that make the same keep one of them.
        let body = Bytes::from(encode());
        if (BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&body.len()) {
            self.lock().keep(key, index, body.clone());
        }
        body
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// Every change of `Kept` is complete in itself, so a panic elsewhere leaves it usable.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, key: &str, index: Index, body: Bytes) {
        if let Some((_, old)) = self.bodies.remove(key) {
            self.bytes -= key.len() + old.len();
        }
        let bytes = key.len() + body.len();
        if self.bytes + bytes > BYTES_MAX {
            self.bodies.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.bodies.insert(key.to_owned(), (index, body));
    }
}

/// What an answer depends on besides the state: path and parameters, and whose eyes it is for.
pub fn key(request: &Request) -> String {
    let mut key = request.path.clone();
    let decides = |name: &str| name != "token" && !TIMING.contains(&name);
    let parameters = request.query.iter().filter(|(name, _)| decides(name));
    let token = request.authorizer.token();
    // Lengths keep a separator within a value from looking like one between values.
    for (name, value) in parameters.map(|(name, value)| (name.as_str(), value.as_str())).chain([("token", token)]) {
        if !value.is_empty() || name != "token" {
            key.push_str(&format!("\0{}\0{name}={value}", name.len()));
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use hyper::header::HeaderMap;

    use super::*;

    fn key_of(uri: &str) -> String {
        let uri = uri.parse().expect("a URI");
        let request = Request::new(Method::GET, &uri, &HeaderMap::new(), Bytes::new(), None).expect("a good request");
        key(&request)
    }

    fn body(fill: u8) -> Vec<u8> {
        vec![fill; 100 * 1024]
    }

    #[test]
    fn a_body_is_made_once_for_each_index() {
        let encoded = Encoded::default();
        encoded.get_or_encode("a", 7, || body(1));
        assert_eq!(encoded.get_or_encode("a", 7, || unreachable!("it is kept")), body(1));
        assert_eq!(encoded.get_or_encode("a", 8, || body(2)), body(2));
        assert_eq!(encoded.get_or_encode("b", 8, || body(3)), body(3));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let encoded = Encoded::default();
        for number in 0..100 {
            encoded.get_or_encode(&number.to_string(), 1, || body(1));
        }
        let kept = encoded.lock();
        assert_eq!(kept.bytes, kept.bodies.iter().map(|(key, (_, body))| key.len() + body.len()).sum::<usize>());
        assert!(kept.bytes <= BYTES_MAX);
    }

    #[test]
    fn watchers_of_the_same_share_and_others_do_not() {
        let watcher = key_of("/v1/health/service/web?index=7&wait=5m&stale&passing=1");
        assert_eq!(watcher, key_of("/v1/health/service/web?passing=1&index=9"));
        let others =
            ["?passing=0", "", "?passing=1&token=a", "?passing=1&pretty", "?tag=passing%3D1", "?passing=1&tag="];
        for other in others {
            assert_ne!(watcher, key_of(&format!("/v1/health/service/web{other}")), "{other}");
        }
        assert_ne!(key_of("/?a=1%00b%3D2"), key_of("/?a=1&b=2"));
    }
}
