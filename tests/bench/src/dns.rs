//! Load over DNS: each client has a UDP socket and one query on the way.
//!
//! Queries are written byte by byte (RFC 1035, section 4.1), without EDNS, as `dig +noedns` and most stub
//! resolvers send them; of answers only the header is looked at.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::load::{Client, Outcome, Plan, run};
use crate::options::Kind;
use crate::subject::Subject;

/// Host addresses (RFC 1035).
pub const A: u16 = 1;
/// Services with their ports (RFC 2782).
pub const SRV: u16 = 33;

/// A datagram lost on a loopback interface counts as an error after this time.
const PATIENCE: Duration = Duration::from_secs(2);

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
        self.socket.send(&self.query).await?;
        let length = timeout(PATIENCE, self.socket.recv(&mut self.answer)).await??;
        let answer = &self.answer[..length];
        if self.echoed && answer == self.query || !self.echoed && is_answer(answer, id) {
            return Ok(());
        }
        Err(io::Error::other(format!("not a positive answer: {:02x?}", answer.get(..12).unwrap_or(answer))))
    }
}

/// Whether a packet answers this query, without an error, with records.
fn is_answer(packet: &[u8], id: [u8; 2]) -> bool {
    packet.len() > 12 && packet[..2] == id && packet[2] & 0x80 != 0 && packet[3] & 0x0f == 0 && packet[6..8] != [0, 0]
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
    fn only_positive_answers_count() {
        let positive = [0, 9, 0x85, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0];
        assert!(is_answer(&positive, [0, 9]));
        assert!(!is_answer(&positive, [0, 8]), "another query's answer");
        let mut missing = positive;
        missing[3] = 3;
        assert!(!is_answer(&missing, [0, 9]), "NXDOMAIN");
    }
}
