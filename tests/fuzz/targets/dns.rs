//! Any packet to the DNS server: a server or a client drops it, or has a response that fits the transport.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use agent_core::dns::{DnsConfig, View};
use agent_core::state::command::Register;
use agent_core::state::tables::{Node, Service};
use agent_core::state::{Command, Proposal, State, apply};
use agent_daemon::dns::respond::{Next, Transport, relay, respond};
use libfuzzer_sys::fuzz_target;

static STATE: LazyLock<State> = LazyLock::new(|| {
    let mut state = State::default();
    for (index, address) in ["10.0.0.1", "fd00::1", "host.example.org", "n1.node.consul"].into_iter().enumerate() {
        let name = format!("n{index}");
        let service =
            Service { node: name.clone(), id: "web".into(), name: "web".into(), port: 80, ..Service::default() };
        let meta = [("key".to_owned(), "x".repeat(300))].into();
        let node = Node { name, address: address.to_owned(), meta, ..Node::default() };
        let register = Register { node, service: Some(service), ..Register::default() };
        let command = Command::Register(Box::new(register));
        apply(&mut state, index as u64 + 1, &Proposal { id: index as u128, now_ms: 0, command });
    }
    state
});

fuzz_target!(|packet: &[u8]| {
    let config = DnsConfig { recursors: vec![([127, 0, 0, 1], 53).into()], ..DnsConfig::default() };
    let resolved = BTreeMap::new();
    let view = View { state: &STATE, config: &config, datacenter: "dc1", unix_s: 0, seed: 1, resolved: &resolved };
    let nothing = State::default();
    let client = View { state: &nothing, ..view };
    for (transport, is_client) in [(Transport::Udp, false), (Transport::Tcp, false), (Transport::Udp, true)] {
        let mut reply = Vec::new();
        let responded = match is_client {
            false => respond(view, packet, transport, &mut reply),
            true => relay(client, packet, transport, &mut reply),
        };
        match responded.next {
            Next::Drop => {}
            Next::Send | Next::Forward | Next::Resolve { .. } | Next::Ask { .. } => {
                assert!(reply.len() >= 12 && reply.len() <= 65_535);
                assert!(reply[..2] == packet[..2] && reply[2] & 0x80 != 0);
            }
        }
    }
});
