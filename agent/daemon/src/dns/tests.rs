//! DNS over packets and sockets, against what Consul answered.

use std::collections::BTreeMap;
use std::path::Path;

use agent_core::dns::config::SoaConfig;
use agent_core::dns::{DnsConfig, Record};
use agent_core::state::command::Register;
use agent_core::state::tables::{Check, Node, Service, ServiceAddress, Status, Weights};
use agent_core::state::{Command, Proposal, State, apply};
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::respond::{Context, Next, Transport, respond};
use super::*;
use crate::telemetry::Naming;

#[test]
fn every_form_of_name_is_answered_as_consul_answers_it() {
    replay("lookup.txt");
}

#[test]
fn answers_are_limited_as_consul_limits_them() {
    replay("limits.txt");
}

#[test]
fn the_operators_policy_is_followed() {
    replay("policy.txt");
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
    let nothing = BTreeMap::new();
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
            let mut reply = Vec::new();
            if !matches!(respond(world.context(&nothing), &damaged, Transport::Udp, &mut reply).next, Next::Drop) {
                assert!(reply.len() >= 12 && reply[..2] == damaged[..2] && reply[2] & 0x80 != 0, "{damaged:?}");
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
async fn recursor(code: u8) -> SocketAddr {
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

async fn ask_udp(address: SocketAddr, question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.send_to(question, address).await.expect("the server is there");
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply).await.expect("a reply");
    reply.truncate(length);
    reply
}

/// A catalog and a policy.
#[derive(Default)]
struct World {
    state: State,
    config: DnsConfig,
}

impl World {
    fn register(&mut self, json: &str) {
        let register = register(&serde_json::from_str(json).expect("the case is JSON"));
        let command = Command::Register(Box::new(register));
        let index = self.state.index + 1;
        apply(&mut self.state, index, &Proposal { id: u128::from(index), now_ms: 0, command });
    }

    fn context<'a>(&'a self, resolved: &'a BTreeMap<String, Vec<Record>>) -> Context<'a> {
        Context { state: &self.state, config: &self.config, datacenter: "dc1", unix_s: 7, seed: 1, resolved }
    }

    fn ask(&self, question: &str) -> Vec<String> {
        let transport = if question.contains(" tcp") { Transport::Tcp } else { Transport::Udp };
        let mut reply = Vec::new();
        respond(self.context(&BTreeMap::new()), &packet(question), transport, &mut reply);
        describe(&reply, question.ends_with(" count"))
    }

    fn options(&self) -> DnsOptions {
        DnsOptions {
            addresses: vec!["127.0.0.1:0".parse().expect("an address")],
            config: self.config.clone(),
            datacenter: "dc1".to_owned(),
            store: Arc::new(Store::new(self.state.clone())),
            env: Env::real(),
            metrics: Arc::new(Metrics::new(Env::real().clock, Naming::default(), &[])),
        }
    }

    async fn start(&self) -> DnsServer {
        start(self.options()).await.expect("a free port")
    }
}

/// Plays a file of `tests/cases/dns`; its README describes the format.
fn replay(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/dns").join(file);
    let text = std::fs::read_to_string(path).expect("the case file is there");
    let mut world = World::default();
    let mut wrong = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(json) = line.strip_prefix("register ") {
            world.register(json);
        } else if let Some(json) = line.strip_prefix("config ") {
            world.config = config(&serde_json::from_str(json).expect("the case is JSON"));
        } else if let Some(question) = line.strip_prefix("? ") {
            let mut expected = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                expected.push(line.trim_start());
            }
            let got = world.ask(question);
            if got != expected {
                wrong.push(format!("? {question}\n  consul {expected:?}\n  lictor {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn packet(question: &str) -> Vec<u8> {
    let mut words = question.split(' ');
    let name = words.next().expect("a name");
    let kind: RecordType = words.next().expect("a type").parse().expect("a known type");
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).expect("a name"), kind));
    for payload in words.filter_map(|word| word.strip_prefix("edns=")) {
        let mut edns = Edns::new();
        edns.set_max_payload(payload.parse().expect("a number"));
        message.set_edns(edns);
    }
    message.to_vec().expect("it fits")
}

/// A reply in the notation of the case files.
fn describe(reply: &[u8], count: bool) -> Vec<String> {
    let message = Message::from_vec(reply).expect("the reply is a DNS message");
    let code = match message.metadata.response_code.low() {
        0 => "NOERROR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        5 => "REFUSED",
        _ => "another code",
    };
    let metadata = &message.metadata;
    let flags = [(metadata.authoritative, " aa"), (metadata.truncation, " tc"), (metadata.recursion_available, " ra")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let mut lines = Vec::new();
    for (section, records) in
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)]
    {
        lines.extend(records.iter().map(|record| format!("{section} {}", describe_record(record))));
    }
    if count {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in &lines {
            let words: Vec<&str> = line.split(' ').collect();
            *counts.entry(format!("{} {}", words[0], words[3])).or_default() += 1;
        }
        lines = counts.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    }
    if message.edns.is_some() {
        let payload = reply.len() - 8;
        lines.push(format!("edns {}", u16::from_be_bytes([reply[payload], reply[payload + 1]])));
    }
    lines.sort();
    lines.insert(0, format!("{code}{flags}"));
    lines
}

fn describe_record(record: &hickory_proto::rr::Record) -> String {
    let data = match &record.data {
        RData::SOA(soa) => {
            format!("{} {} * {} {} {} {}", soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum)
        }
        RData::TXT(txt) => {
            let texts = txt.txt_data.iter().map(|text| format!("\"{}\"", String::from_utf8_lossy(text)));
            texts.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    format!("{} {} {} {data}", record.name, record.ttl, record.record_type())
}

fn text(json: &Json, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

fn map(json: &Json) -> BTreeMap<String, String> {
    let pairs = json.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn register(json: &Json) -> Register {
    let node = text(json, "Node");
    let number = |json: &Json| json.as_u64().unwrap_or_default();
    let service = json.get("Service").map(|service| Service {
        node: node.clone(),
        id: if service["ID"].is_string() { text(service, "ID") } else { text(service, "Service") },
        name: text(service, "Service"),
        tags: service["Tags"].as_array().into_iter().flatten().filter_map(|t| Some(t.as_str()?.to_owned())).collect(),
        address: text(service, "Address"),
        port: number(&service["Port"]) as u16,
        weights: service.get("Weights").map_or(Weights::default(), |weights| Weights {
            passing: number(&weights["Passing"]) as u32,
            warning: number(&weights["Warning"]) as u32,
        }),
        tagged_addresses: BTreeMap::<String, ServiceAddress>::new(),
        ..Service::default()
    });
    let checks = json["Checks"].as_array().into_iter().flatten().map(|check| Check {
        node: node.clone(),
        id: text(check, "CheckID"),
        name: text(check, "Name"),
        status: Status::parse(&text(check, "Status")).expect("a status"),
        service_id: text(check, "ServiceID"),
        ..Check::default()
    });
    Register {
        skip_node_update: json["SkipNodeUpdate"].as_bool().unwrap_or(false),
        checks: checks.collect(),
        service,
        node: Node { name: node, address: text(json, "Address"), meta: map(&json["NodeMeta"]), ..Node::default() },
    }
}

fn config(json: &Json) -> DnsConfig {
    let seconds = |json: &Json| {
        json.as_str().map(|text| text.trim_end_matches('s').parse().expect("whole seconds")).unwrap_or_default()
    };
    let number = |json: &Json| json.as_u64().unwrap_or_default() as u32;
    let flag = |key: &str| json[key].as_bool().unwrap_or(false);
    let soa = &json["soa"];
    DnsConfig {
        node_ttl_s: seconds(&json["node_ttl"]),
        service_ttl_s: json["service_ttl"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), seconds(v)))
            .collect(),
        a_record_limit: number(&json["a_record_limit"]) as usize,
        udp_answer_limit: number(&json["udp_answer_limit"]) as usize,
        enable_truncate: flag("enable_truncate"),
        only_passing: flag("only_passing"),
        soa: SoaConfig {
            refresh_s: number(&soa["refresh"]),
            retry_s: number(&soa["retry"]),
            expire_s: number(&soa["expire"]),
            min_ttl_s: number(&soa["min_ttl"]),
        },
        ..DnsConfig::default()
    }
}
