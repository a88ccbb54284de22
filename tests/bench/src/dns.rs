//! Load over DNS: each client has a UDP socket and one query on the way.
//!
//! Queries are written byte by byte (RFC 1035, section 4.1), without EDNS, as `dig +noedns` and most stub
//! resolvers send them; of answers the header, the question and the start of the first record are looked at. A
//! datagram that is lost stops its client, which is an error at the end of the load.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::load::{Client, Outcome, Plan, run};
use crate::options::Kind;
use crate::subject::Subject;

/// Host addresses (RFC 1035).
pub const A: u16 = 1;
/// Services with their ports (RFC 2782).
pub const SRV: u16 = 33;

/// The answers both agents give at most to a client without EDNS; every service asked for has as many.
const ANSWERS: u16 = 3;

struct Resolver {
    socket: UdpSocket,
    query: Vec<u8>,
    answer: Vec<u8>,
    echoed: bool,
}

impl Client for Resolver {
    async fn exchange(&mut self, turn: u64) -> io::Result<()> {
        let id = (turn as u16).to_be_bytes();
        self.query[..2].copy_from_slice(&id);
        rustix::net::send(&self.socket, &self.query, SendFlags::empty())?;
        let length = self.receive().await?;
        let answer = &self.answer[..length];
        if self.echoed && answer == self.query || !self.echoed && is_answer(answer, &self.query) {
            return Ok(());
        }
        Err(io::Error::other(format!("not a positive answer: {:02x?}", answer.get(..12).unwrap_or(answer))))
    }
}

impl Resolver {
    /// Waits for the one answer that can be on the way. The socket is asked when there is something, and said to be
    /// empty afterwards: no system call is made in vain.
    async fn receive(&mut self) -> io::Result<usize> {
        let mut received = Err(Errno::WOULDBLOCK);
        while received == Err(Errno::WOULDBLOCK) {
            self.socket.readable().await?;
            let _: io::Result<()> = self.socket.try_io(Interest::READABLE, || {
                received =
                    rustix::net::recv(&self.socket, &mut self.answer[..], RecvFlags::empty()).map(|(got, _)| got);
                Err(io::ErrorKind::WouldBlock.into())
            });
        }
        Ok(received?)
    }
}

/// Whether a packet answers this query, without an error, with as many records as go without EDNS, the first of them of
/// the type and about the name that was asked for.
fn is_answer(packet: &[u8], query: &[u8]) -> bool {
    let Some((question, records)) = packet.split_at_checked(query.len()) else { return false };
    let kind = &query[query.len() - 4..query.len() - 2];
    question[..2] == query[..2]
        && question[2] & 0x80 != 0
        && question[3] & 0x0f == 0
        && question[6..8] == ANSWERS.to_be_bytes()
        && question[12..] == query[12..]
        && records.starts_with(&[0xc0, 12])
        && records[2..].starts_with(kind)
}

/// Renders a query with the id zero.
fn query(name: &str, kind: u16) -> Vec<u8> {
    // Recursion desired, one question.
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("our names have short labels"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// Asks for the records of one kind under one name.
///
/// # Errors
/// A socket cannot be made, or the agent is gone. Errors of exchanges are in the outcome.
pub fn load(plan: Plan, subject: &Subject, name: &'static str, kind: u16) -> io::Result<Outcome> {
    let address = subject.dns();
    let echoed = subject.kind == Kind::Limit;
    run(plan, subject, |_| async move {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        socket.connect(address).await?;
        Ok(Resolver { socket, query: query(name, kind), answer: vec![0; 4096], echoed })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_as_rfc_1035_draws_it() {
        let packet = query("web.service.consul", SRV);
        assert_eq!(&packet[12..], b"\x03web\x07service\x06consul\x00\x00\x21\x00\x01");
    }

    #[test]
    fn only_whole_positive_answers_count() {
        let query = query("a.b", A);
        let answer = |header: &[u8; 12], kind: u8| {
            [&header[..], &query[12..], &[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 0, 1]].concat()
        };
        let positive = [0, 0, 0x85, 0, 0, 1, 0, 3, 0, 0, 0, 0];
        assert!(is_answer(&answer(&positive, 1), &query));
        assert!(!is_answer(&answer(&positive, 28), &query), "another type");
        assert!(!is_answer(&answer(&[0, 8, 0x85, 0, 0, 1, 0, 3, 0, 0, 0, 0], 1), &query), "another query's answer");
        assert!(!is_answer(&answer(&[0, 0, 0x85, 3, 0, 1, 0, 3, 0, 0, 0, 0], 1), &query), "NXDOMAIN");
        assert!(!is_answer(&answer(&[0, 0, 0x85, 0, 0, 1, 0, 2, 0, 0, 0, 0], 1), &query), "a record is missing");
        assert!(!is_answer(&positive, &query), "only a header");
    }
}
