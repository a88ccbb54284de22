//! Lets requests pass whose line holds bytes that no URI may have: `curl '…/v1/agent/services?filter=Service=="web"'`.
//!
//! hyper refuses them before anybody sees them, or takes what follows for a fragment; Consul does neither. [`RequestLines`]
//! stands between the socket and hyper and percent-encodes such bytes of request lines as they pass. It does not read HTTP
//! to know these lines: they are the first of a connection, and what comes after the end of a head when the service said
//! that its request has no body. After a body, and for requests that came before their turn, a connection passes as it is:
//! a wrong guess would change what is stored. Who keeps connections for that encodes, mostly.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose request lines hold only what URIs may have.
pub struct RequestLines<'a, S> {
    stream: S,
    place: Place,
    /// What a read has that there was no room for, since encoding made it longer.
    left: Vec<u8>,
    /// Whether the request that hyper handed over has no body.
    bodiless: &'a AtomicBool,
}

/// Where the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the method, or in empty lines before it.
    Method,
    /// In what the request asks for.
    Target,
    /// In the rest of a head, or in what follows it.
    Rest,
    /// After something that ends as a head does, and nothing was read since.
    Ended,
    /// Nobody knows any more.
    Beyond,
}

impl<'a, S> RequestLines<'a, S> {
    /// A connection that begins. The service sets `bodiless` when it is handed a request.
    pub fn new(stream: S, bodiless: &'a AtomicBool) -> Self {
        RequestLines { stream, place: Place::Method, left: Vec::new(), bodiless }
    }

    /// Follows what was read; returns what to make of it, unless that is the same.
    fn encode(&mut self, read: &[u8]) -> Option<Vec<u8>> {
        let mut encoded: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < read.len() && matches!(self.place, Place::Method | Place::Target) {
            let byte = read[at];
            if self.place == Place::Target && is_odd(byte) {
                let encoded = encoded.get_or_insert_with(|| read[..at].to_vec());
                encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else if let Some(encoded) = &mut encoded {
                encoded.push(byte);
            }
            self.place = match (self.place, byte) {
                (Place::Method, b' ') => Place::Target,
                (Place::Target, b' ' | b'\n') => Place::Rest,
                (same, _) => same,
            };
            at += 1;
        }
        if let Some(encoded) = &mut encoded {
            encoded.extend_from_slice(&read[at..]);
        }
        if self.place == Place::Rest && (read.ends_with(b"\r\n\r\n") || read.ends_with(b"\n\n")) {
            self.place = Place::Ended;
        }
        encoded
    }

    /// Hands over what was left, as far as there is room.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left[..count]);
        // Nothing is kept for the next time: there may be thousands of connections.
        self.left = self.left.split_off(count);
    }
}

/// What the `http` crate refuses in a path or a query, of what comes as far as there; and `#`, from which on it forgets all.
fn is_odd(byte: u8) -> bool {
    matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`')
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestLines<'_, S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.left.is_empty() {
            this.hand_over(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let has_more = buffer.filled().len() > before;
        if has_more && this.place == Place::Ended {
            let has_no_body = this.bodiless.swap(false, Ordering::Relaxed);
            this.place = if has_no_body { Place::Method } else { Place::Beyond };
        }
        if let Some(encoded) = this.encode(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            this.left = encoded;
            this.hand_over(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestLines<'_, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const ODD: &str = "GET /v1/kv/a#b`c?filter=Service==\"web\"&x=<> HTTP/1.1\r\nX: \"<>`#\r\n\r\n";
    const ENCODED: &str = "GET /v1/kv/a%23b%60c?filter=Service==%22web%22&x=%3C%3E HTTP/1.1\r\nX: \"<>`#\r\n\r\n";
    const BODY: &str = "say \"hello\" <world>\n\nsay #1 `x` y";

    #[tokio::test]
    async fn a_line_that_comes_in_parts_is_encoded() {
        for split in 1..ODD.len() {
            let (first, second) = ODD.split_at(split);
            assert_eq!(passed(&[(first, false), (second, false)]).await, ENCODED, "split at {split}");
        }
        assert_eq!(passed(&[("\r\n", false), (ODD, false)]).await, format!("\r\n{ENCODED}"));
    }

    #[tokio::test]
    async fn a_reader_with_little_room_gets_all_of_it() {
        let bodiless = AtomicBool::new(false);
        let mut lines = RequestLines::new(ODD.as_bytes(), &bodiless);
        let mut got = Vec::new();
        let mut room = [0; 5];
        loop {
            let count = lines.read(&mut room).await.unwrap();
            if count == 0 {
                break;
            }
            got.extend_from_slice(&room[..count]);
        }
        assert_eq!(String::from_utf8(got).unwrap(), ENCODED);
        assert_eq!(lines.left.capacity(), 0);
    }

    #[tokio::test]
    async fn ordinary_lines_and_bodies_pass_as_they_are() {
        let plain = "GET /v1/kv/a%22?raw&x={}|\\^[]~!$'()*+,;:@é HTTP/1.1\r\nHost: x\r\n\r\n";
        let head = "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\n";
        let at_once = format!("{head}{BODY}");
        let bare = "PUT /v1/kv/a HTTP/1.0\n\n";
        let cases: [&[(&str, bool)]; 4] = [
            &[(plain, false)],
            &[(at_once.as_str(), false)],
            &[(head, false), (BODY, false), (ODD, true)],
            &[(bare, false), (BODY, false), (BODY, true)],
        ];
        for pieces in cases {
            let sent: String = pieces.iter().map(|(piece, _)| *piece).collect();
            assert_eq!(passed(pieces).await, sent);
        }
    }

    #[tokio::test]
    async fn the_line_after_a_request_without_a_body_is_encoded() {
        let head = "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\n";
        let (first, second) = ODD.split_at(20);
        let pieces = [(ODD, false), (first, true), (second, false), (head, true), (BODY, false), (ODD, true)];
        assert_eq!(passed(&pieces).await, [ENCODED, ENCODED, head, BODY, ODD].concat());
    }

    #[tokio::test]
    async fn requests_before_their_turn_pass_as_they_are() {
        let pipelined = [ODD, ODD].concat();
        let expected = [ENCODED, ODD, ENCODED].concat();
        assert_eq!(passed(&[(pipelined.as_str(), false), (ODD, true)]).await, expected);
    }

    proptest! {
        #[test]
        fn of_all_that_comes_only_the_target_is_changed(pieces in vec(vec(any::<u8>(), 1..40), 1..8)) {
            let bodiless = AtomicBool::new(false);
            let mut lines = RequestLines::new(tokio::io::empty(), &bodiless);
            let passed = pieces.iter().flat_map(|piece| lines.encode(piece).unwrap_or_else(|| piece.clone()));
            let got: Vec<u8> = passed.collect();

            let sent = pieces.concat();
            let (method, target) = sent.split_at(sent.iter().position(|byte| *byte == b' ').map_or(sent.len(), |at| at + 1));
            let end = target.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(target.len());
            let encoded = target[..end].iter().flat_map(|byte| match is_odd(*byte) {
                true => format!("%{byte:02X}").into_bytes(),
                false => Vec::from([*byte]),
            });
            let expected: Vec<u8> = method.iter().copied().chain(encoded).chain(target[end..].iter().copied()).collect();
            prop_assert_eq!(got, expected);
        }
    }

    /// What hyper gets of `pieces` that come one by one; and whether the service told of a request without a body before.
    async fn passed(pieces: &[(&str, bool)]) -> String {
        let bodiless = AtomicBool::new(false);
        let (mut client, server) = tokio::io::duplex(4096);
        let mut lines = RequestLines::new(server, &bodiless);
        let mut got = String::new();
        for (piece, told) in pieces {
            bodiless.store(*told, Ordering::Relaxed);
            client.write_all(piece.as_bytes()).await.unwrap();
            let mut room = [0; 4096];
            let count = lines.read(&mut room).await.unwrap();
            got.push_str(std::str::from_utf8(&room[..count]).unwrap());
        }
        got
    }
}
