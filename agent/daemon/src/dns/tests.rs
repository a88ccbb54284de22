//! DNS over packets and sockets, against what Consul answered.

use std::collections::BTreeMap;

use agent_core::dns::{DnsConfig, Record, View};
use agent_core::state::{Proposal, State, apply};
use real::cases;
use real::cases::dns::{describe, packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::respond::{Next, Transport, relay, respond};
use super::*;
use crate::goflag;
use crate::http::catalog_body::decode_register;
use crate::telemetry::Naming;

#[test]
fn recorded_questions_are_answered_as_by_consul() {
    for file in cases::files("dns", "txt") {
        let case = std::fs::read_to_string(&file).expect("the case is readable");
        let config = cases::dns::config(&case).map(config).unwrap_or_default();
        let answered = cases::dns::answered(&case, &mut World { config, ..World::default() });
        let differences = cases::dns::differences(&case, &answered);
        assert!(differences.is_empty(), "{}:\n{differences}", file.display());
    }
}

#[test]
fn the_domain_names_its_servers() {
    let mut world = World::default();
    world.register(r#"{"Node":"foo","Address":"127.0.0.1","Service":{"ID":"consul","Service":"consul","Port":8300}}"#);
    let servers = ["additional foo.node.dc1.consul. 0 A 127.0.0.1", "answer consul. 0 NS foo.node.dc1.consul."];
    assert_eq!(world.ask("consul NS"), [&["NOERROR aa"], &servers[..]].concat());
    assert_eq!(
        world.ask("any.thing.consul SOA"),
        [
            "NOERROR aa",
            "additional foo.node.dc1.consul. 0 A 127.0.0.1",
            "answer consul. 0 SOA ns.consul. hostmaster.consul. * 3600 600 86400 0",
            "authority consul. 0 NS foo.node.dc1.consul.",
        ]
    );
}

#[test]
fn the_second_domain_is_answered_for_and_points_into_the_first() {
    let mut world = World::default();
    world.config.alt_domain = "alt.example".to_owned();
    world.register(r#"{"Node":"n1","Address":"10.1.0.1","Service":{"Service":"web","Port":80}}"#);
    assert_eq!(
        world.ask("web.service.alt.example SRV"),
        [
            "NOERROR aa",
            "additional n1.node.dc1.consul. 0 A 10.1.0.1",
            "answer web.service.alt.example. 0 SRV 1 1 80 n1.node.dc1.consul.",
        ]
    );
}

#[test]
fn packets_that_are_no_question_are_refused_or_dropped() {
    let question = b"\x02n1\x04node\x06consul\x00\x00\x01\x00\x01";
    let header = |flags: u16, counts: [u8; 4]| {
        let [qd, an, ns, ar] = counts;
        [&[0x12, 0x34][..], &flags.to_be_bytes(), &[0, qd, 0, an, 0, ns, 0, ar]].concat()
    };
    let one = [1, 0, 0, 0];
    for (packet, expected) in [
        (vec![], None),
        (header(0x0100, one)[..11].to_vec(), None),
        ([header(0x8180, one), question.to_vec()].concat(), None),
        (header(0x0100, one), Some("12348101")),
        (header(0x0100, [0, 0, 0, 0]), Some("12348101")),
        ([header(0x0100, [2, 0, 0, 0]), question.repeat(2)].concat(), Some("12348101")),
        ([header(0x0100, one), question[..18].to_vec()].concat(), Some("12348101")),
        ([header(0x0100, one), b"\x80n1\x00\x00\x01\x00\x01".to_vec()].concat(), Some("12348101")),
        ([header(0x0100, one), b"\xc0\x0c\x00\x01\x00\x01".to_vec()].concat(), Some("12348101")),
        ([header(0x0100, [1, 0, 0, 3]), question.to_vec()].concat(), Some("12348101")),
        ([header(0x1900, one), question.to_vec()].concat(), Some("12349904")),
    ] {
        let mut reply = Vec::new();
        let world = World::default();
        let next = respond(world.context(&BTreeMap::new()), &packet, Transport::Udp, &mut reply).next;
        let head: String = reply.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        match expected {
            None => assert!(matches!(next, Next::Drop), "{packet:?}"),
            Some(expected) => assert_eq!((head.as_str(), reply.len()), (expected, 12), "{packet:?}"),
        }
    }
}

#[test]
fn damaged_packets_are_answered_or_dropped() {
    let mut world = World::default();
    world.config.recursors = vec![([127, 0, 0, 1], 53).into()];
    world.register(r#"{"Node":"n1","Address":"10.1.0.1","NodeMeta":{"k":"v"},"Service":{"Service":"web","Port":80}}"#);
    let (nothing, empty) = (BTreeMap::new(), State::default());
    let mut random = 1_u64;
    for question in ["web.service.consul SRV edns=1232", "n1.node.consul ANY", "x.y.in-addr.arpa PTR", "example.org A"]
    {
        let sound = packet(question);
        for _ in 0..2_000 {
            let mut damaged = sound.clone();
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (random >> 33) as usize % damaged.len();
                damaged[at] = (random >> 56) as u8;
                damaged.truncate(damaged.len() - usize::from(random >> 60 == 0));
            }
            let view = world.context(&nothing);
            let (mut reply, mut relayed) = (Vec::new(), Vec::new());
            let next = respond(view, &damaged, Transport::Udp, &mut reply).next;
            let relayed_next = relay(View { state: &empty, ..view }, &damaged, Transport::Udp, &mut relayed).next;
            for (next, reply) in [(next, reply), (relayed_next, relayed)] {
                if !matches!(next, Next::Drop) {
                    assert!(reply.len() >= 12 && reply[..2] == damaged[..2] && reply[2] & 0x80 != 0, "{damaged:?}");
                }
            }
        }
    }
}

#[test]
fn a_node_with_more_metadata_than_fits_is_answered_without_it() {
    let mut world = World::default();
    let meta: Vec<String> = (0..20).map(|at| format!(r#""key-{at}":"{}""#, "x".repeat(100))).collect();
    world.register(&format!(r#"{{"Node":"n1","Address":"10.1.0.1","NodeMeta":{{{}}}}}"#, meta.join(",")));
    assert_eq!(world.ask("n1.node.consul A"), ["NOERROR aa", "answer n1.node.consul. 0 A 10.1.0.1"]);
    assert_eq!(world.ask("n1.node.consul TXT"), ["NOERROR aa tc"]);
    assert_eq!(world.ask("n1.node.consul TXT tcp").len(), 21);
}

#[tokio::test]
async fn udp_and_tcp_are_served_on_the_same_port() {
    let mut world = World::default();
    world.register(r#"{"Node":"n1","Address":"10.1.0.1"}"#);
    let server = world.start().await;
    let address = server.addresses()[0];
    let question = packet("n1.node.consul A");
    assert_eq!(
        describe(&ask_udp(address, &question).await, false),
        ["NOERROR aa", "answer n1.node.consul. 0 A 10.1.0.1"]
    );

    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    for _ in 0..2 {
        stream.write_u16(question.len() as u16).await.expect("the connection is open");
        stream.write_all(&question).await.expect("the connection is open");
        let length = stream.read_u16().await.expect("a reply");
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await.expect("a whole reply");
        assert_eq!(describe(&reply, false).len(), 2);
    }
    server.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_second_server_on_the_same_address_is_refused() {
    let world = World::default();
    let first = world.start().await;
    let options = DnsOptions { addresses: first.addresses().to_vec(), ..world.options() };
    let error = start(options).await.err().expect("the address is taken");
    assert!(error.to_string().starts_with("could not listen for DNS on 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn foreign_names_and_aliases_are_asked_of_the_first_recursor_that_answers() {
    let refusing = recursor(5).await;
    let knowing = recursor(0).await;
    let mut world = World::default();
    world.config.recursors = vec![refusing, knowing];
    world.register(
        r#"{"Node":"n1","Address":"10.1.0.1","Service":{"Service":"db","Port":1,"Address":"db.example.com"}}"#,
    );
    let server = world.start().await;
    let address = server.addresses()[0];
    assert_eq!(
        describe(&ask_udp(address, &packet("example.org A")).await, false),
        ["NOERROR ra", "answer example.org. 60 A 5.6.7.8"]
    );
    assert_eq!(
        describe(&ask_udp(address, &packet("db.service.consul A")).await, false),
        ["NOERROR aa ra", "answer db.example.com. 0 A 5.6.7.8", "answer db.service.consul. 0 CNAME db.example.com.",]
    );
}

#[tokio::test]
async fn a_question_no_recursor_answers_fails() {
    let mut world = World::default();
    world.config.recursors = vec![recursor(2).await];
    let server = world.start().await;
    let reply = ask_udp(server.addresses()[0], &packet("example.org A")).await;
    assert_eq!(describe(&reply, false), ["SERVFAIL ra"]);
}

#[tokio::test]
async fn a_changed_policy_counts_at_once() {
    let mut world = World::default();
    world.register(r#"{"Node":"n1","Address":"10.1.0.1"}"#);
    let server = world.start().await;
    server.reconfigure(DnsConfig { node_ttl_s: 30, ..DnsConfig::default() });
    let reply = ask_udp(server.addresses()[0], &packet("n1.node.consul A")).await;
    assert_eq!(describe(&reply, false), ["NOERROR aa", "answer n1.node.consul. 30 A 10.1.0.1"]);
}

/// A recursor that answers 5.6.7.8 to everything, or only `code`.
pub(super) async fn recursor(code: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut request = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut request).await.expect("the socket is open");
            let mut reply = request[..length].to_vec();
            reply[2..8].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, u8::from(code == 0)]);
            if code == 0 {
                reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 5, 6, 7, 8]);
            }
            socket.send_to(&reply, client).await.expect("the client is there");
        }
    });
    address
}

pub(super) async fn ask_udp(address: SocketAddr, question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.send_to(question, address).await.expect("the server is there");
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply).await.expect("a reply");
    reply.truncate(length);
    reply
}

/// A catalog and a policy.
#[derive(Default)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) config: DnsConfig,
}

impl World {
    pub(super) fn register(&mut self, json: &str) {
        let body = serde_json::from_str(json).expect("the case is JSON");
        let command = decode_register(&body).expect("the case registers").command;
        let index = self.state.index + 1;
        apply(&mut self.state, index, &Proposal { id: u128::from(index), now_ms: 0, command });
    }

    pub(super) fn context<'a>(&'a self, resolved: &'a BTreeMap<String, Vec<Record>>) -> View<'a> {
        View { state: &self.state, config: &self.config, datacenter: "dc1", unix_s: 7, seed: 1, resolved }
    }

    fn ask(&mut self, question: &str) -> Vec<String> {
        cases::dns::ask(question, self)
    }

    pub(super) fn options(&self) -> DnsOptions {
        DnsOptions {
            addresses: vec!["127.0.0.1:0".parse().expect("an address")],
            config: self.config.clone(),
            datacenter: "dc1".to_owned(),
            source: Source::Here(Arc::new(Store::new(self.state.clone()))),
            env: Env::real(),
            metrics: Arc::new(Metrics::new(Env::real().clock, Naming::default(), &[])),
            sockets_max: 4,
        }
    }

    async fn start(&self) -> DnsServer {
        start(self.options()).await.expect("a free port")
    }
}

impl cases::dns::World for World {
    fn register(&mut self, json: &str) {
        World::register(self, json);
    }

    fn ask(&mut self, packet: &[u8], tcp: bool) -> Vec<u8> {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut reply = Vec::new();
        respond(self.context(&BTreeMap::new()), packet, transport, &mut reply);
        reply
    }
}

/// What a configuration file with this `dns_config` means.
pub(super) fn config(json: &str) -> DnsConfig {
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a temporary file");
    std::fs::write(file.path(), format!("{{\"dns_config\": {json}}}")).expect("a temporary file is writable");
    let words = ["-dev".to_owned(), format!("-config-file={}", file.path().display())];
    let given = goflag::parse(&crate::config::agent_flags(), &words).expect("the flags are right");
    crate::config::load(&given).expect("the case has a good configuration").config.dns
}
