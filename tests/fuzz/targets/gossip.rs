//! Any bytes as a gossip packet, a stream's request or its answer: refused or taken in, and the member stays itself.
#![no_main]

use std::net::SocketAddr;

use agent_core::Instant;
use agent_core::gossip::{Config, DATAGRAM_BYTES_MAX, Gossip, Input, NodeId, Output, RequestId, Status, Ticket};
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn address(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 8301).into()
}

fn member(number: u8) -> Gossip {
    let config = Config::lan(&format!("m{number}"), NodeId(number.into()), address(number), "l");
    Gossip::new(Instant::START, config, StdRng::seed_from_u64(number.into()))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let bytes = [b"L\x01\x00\x01l", body].concat();
    let mut gossip = member(0);
    let others = [1, 2].map(|number| member(number).me().profile);
    gossip.assume(Instant::START, &others);
    let from = address(1);
    let outputs = match kind % 3 {
        0 => gossip.step(Instant::START, Input::Datagram { from, bytes }),
        1 => {
            let request = RequestId(1);
            let outputs = gossip.step(Instant::START, Input::StreamRequest { request, from, bytes });
            let is_answer = |output: &&Output| matches!(output, Output::Reply { .. } | Output::Close { .. });
            assert_eq!(outputs.iter().filter(is_answer).count(), 1);
            outputs
        }
        _ => {
            let join = Input::Join { ticket: Ticket(1), addresses: vec![from] };
            let stream = gossip.step(Instant::START, join).into_iter().find_map(|output| match output {
                Output::OpenStream { stream, .. } => Some(stream),
                _ => None,
            });
            let stream = stream.expect("a join opens a stream");
            gossip.step(Instant::START, Input::StreamReply { stream, bytes })
        }
    };
    outputs.iter().for_each(is_small);
    for _ in 0..20 {
        let Some((at, _)) = gossip.deadline() else { break };
        gossip.step(at, Input::Tick).iter().for_each(is_small);
    }
    assert_eq!(gossip.me().status, Status::Alive);
    assert!(gossip.coordinate().is_valid());
});

fn is_small(output: &Output) {
    if let Output::Datagram { bytes, .. } = output {
        assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
    }
}
