//! A client agent's DNS: packets and sockets here, the catalog with a server in the same process.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::dns::{DnsConfig, View};
use agent_core::state::State;
use bytes::Bytes;
use real::cases;
use real::cases::dns::{describe, packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::packet::MESSAGE_BYTES_MAX;
use super::respond::{Next, Transport, relay};
use super::tests::{World, ask_udp, config, recursor};
use super::*;
use crate::env::BoxFuture;
use crate::rpc::frame::{DnsHead, DnsReply, Resolved};

/// Servers with this catalog.
struct Servers(DnsDesk);

impl AskServers for Servers {
    fn ask(&self, Question { head, packet }: Question) -> BoxFuture<'static, Option<Reply>> {
        let answer = self.0.answer(&head, &packet).expect("a client's question makes sense");
        Box::pin(async { Some(answer) })
    }
}

/// No server can be reached.
struct Nobody;

impl AskServers for Nobody {
    fn ask(&self, _: Question) -> BoxFuture<'static, Option<Reply>> {
        Box::pin(async { None })
    }
}

/// Servers that accept and never answer; tells of each question.
struct Silent(mpsc::Sender<Question>);

impl AskServers for Silent {
    fn ask(&self, question: Question) -> BoxFuture<'static, Option<Reply>> {
        self.0.try_send(question).expect("the test listens");
        Box::pin(std::future::pending())
    }
}

fn desk(world: &World) -> DnsDesk {
    DnsDesk::new(Arc::new(Store::new(world.state.clone())), "dc1", Env::real())
}

/// A client's DNS with these servers and this policy.
async fn client(servers: impl AskServers + 'static, config: DnsConfig) -> (DnsServer, SocketAddr) {
    let source = Source::Servers(Arc::new(servers));
    let server = start(DnsOptions { source, config, ..World::default().options() }).await.expect("a free port");
    let address = server.addresses()[0];
    (server, address)
}

async fn ask(address: SocketAddr, question: &str) -> Vec<String> {
    let packet = packet(question);
    let reply =
        if question.contains(" tcp") { ask_tcp(address, &packet).await } else { ask_udp(address, &packet).await };
    assert_eq!(reply[..2], packet[..2], "{question}");
    describe(&reply, question.ends_with(" count"))
}

async fn ask_tcp(address: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the client listens");
    stream.write_u16(question.len() as u16).await.expect("the connection is open");
    stream.write_all(question).await.expect("the connection is open");
    let mut reply = vec![0; usize::from(stream.read_u16().await.expect("a reply"))];
    stream.read_exact(&mut reply).await.expect("a whole reply");
    reply
}

/// A catalog behind a client.
#[derive(Default)]
struct Behind(World);

impl cases::dns::World for Behind {
    fn register(&mut self, json: &str) {
        self.0.register(json);
    }

    fn ask(&mut self, packet: &[u8], tcp: bool) -> Vec<u8> {
        let (nothing, resolved, config) = (State::default(), BTreeMap::new(), &self.0.config);
        let view = View { state: &nothing, config, datacenter: "dc1", unix_s: 7, seed: 1, resolved: &resolved };
        let mut reply = Vec::new();
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        match relay(view, packet, transport, &mut reply).next {
            Next::Ask { .. } => {
                let head = DnsHead { tcp, policy: policy::encode(config), resolved: None };
                desk(&self.0).answer(&head, packet).expect("it makes sense").packet.to_vec()
            }
            _ => reply,
        }
    }
}

#[test]
fn a_client_answers_recorded_questions_as_consul_does() {
    for file in cases::files("dns", "txt") {
        let case = std::fs::read_to_string(&file).expect("the case is readable");
        let config = cases::dns::config(&case).map(config).unwrap_or_default();
        let answered = cases::dns::answered(&case, &mut Behind(World { config, ..World::default() }));
        let differences = cases::dns::differences(&case, &answered);
        assert!(differences.is_empty(), "{}:\n{differences}", file.display());
    }
}

#[tokio::test]
async fn a_client_answers_from_the_catalog_by_its_own_policy() {
    let mut world = World::default();
    world.config.node_ttl_s = 99;
    world.register(
        r#"{"Node":"n1","Address":"10.1.0.1","NodeMeta":{"k":"v"},"Service":{"Service":"web","Port":80},
            "Check":{"CheckID":"c","Name":"c","Status":"warning"}}"#,
    );
    let theirs = DnsConfig {
        node_ttl_s: 30,
        service_ttl_s: [("we*".to_owned(), 5)].into(),
        alt_domain: "alt.example".to_owned(),
        node_meta_txt: false,
        ..DnsConfig::default()
    };
    let (client, address) = client(Servers(desk(&world)), theirs.clone()).await;

    for (question, expected) in [
        ("n1.node.consul A", &["NOERROR aa", "answer n1.node.consul. 30 A 10.1.0.1"][..]),
        ("n1.node.consul TXT", &["NOERROR aa", "answer n1.node.consul. 30 TXT \"k=v\""]),
        (
            "n1.node.consul ANY tcp",
            &["NOERROR aa", "answer n1.node.consul. 30 A 10.1.0.1", "answer n1.node.consul. 30 TXT \"k=v\""],
        ),
        (
            "web.service.alt.example SRV",
            &[
                "NOERROR aa",
                "additional n1.node.dc1.consul. 5 A 10.1.0.1",
                "answer web.service.alt.example. 5 SRV 1 1 80 n1.node.dc1.consul.",
            ],
        ),
        ("1.0.1.10.in-addr.arpa PTR", &["NOERROR aa", "answer 1.0.1.10.in-addr.arpa. 0 PTR n1.node.dc1.consul."]),
        ("9.9.9.9.in-addr.arpa PTR", &["SERVFAIL ra"]),
    ] {
        assert_eq!(ask(address, question).await, expected, "{question}");
    }

    client.reconfigure(DnsConfig { only_passing: true, ..theirs });
    assert_eq!(ask(address, "web.service.consul A").await[0], "NXDOMAIN aa");
}

#[tokio::test]
async fn an_answer_fits_the_transport_by_which_the_client_was_asked() {
    let mut world = World::default();
    for node in 1..=50 {
        world.register(&format!(
            r#"{{"Node":"n{node}","Address":"10.1.0.{node}","Service":{{"Service":"web","Port":80}}}}"#
        ));
    }
    let theirs = DnsConfig { udp_answer_limit: 2, enable_truncate: true, ..DnsConfig::default() };
    let (_client, address) = client(Servers(desk(&world)), theirs).await;

    for (question, expected) in [
        ("web.service.consul A count", &["NOERROR aa tc", "2 answer A"][..]),
        ("web.service.consul A edns=4096 count", &["NOERROR aa", "50 answer A", "edns 4096"]),
        ("web.service.consul SRV tcp count", &["NOERROR aa", "50 additional A", "50 answer SRV"]),
    ] {
        assert_eq!(ask(address, question).await, expected, "{question}");
    }
}

#[tokio::test]
async fn what_servers_do_not_know_is_asked_of_the_clients_recursors() {
    let mut world = World::default();
    world.register(
        r#"{"Node":"n1","Address":"10.1.0.1","Service":{"Service":"db","Port":1,"Address":"db.example.com"}}"#,
    );
    let theirs = DnsConfig { recursors: vec![recursor(0).await], ..DnsConfig::default() };
    let (_client, address) = client(Servers(desk(&world)), theirs).await;

    for (question, expected) in [
        ("example.org A", &["NOERROR ra", "answer example.org. 60 A 5.6.7.8"][..]),
        (
            "db.service.consul A",
            &[
                "NOERROR aa ra",
                "answer db.example.com. 0 A 5.6.7.8",
                "answer db.service.consul. 0 CNAME db.example.com.",
            ],
        ),
        ("9.9.9.9.in-addr.arpa PTR", &["NOERROR ra", "answer 9.9.9.9.in-addr.arpa. 60 A 5.6.7.8"]),
        ("n1.node.consul A", &["NOERROR aa ra", "answer n1.node.consul. 0 A 10.1.0.1"]),
    ] {
        assert_eq!(ask(address, question).await, expected, "{question}");
    }
}

#[tokio::test]
async fn without_servers_a_client_answers_as_consul_does() {
    let soa = |name| format!("{name} consul. 0 SOA ns.consul. hostmaster.consul. * 3600 600 86400 0");
    for (recursors, aa, reversed, foreign) in [
        (vec![], "aa", vec!["SERVFAIL ra"], vec!["REFUSED"]),
        (
            vec![recursor(0).await],
            "aa ra",
            vec!["NOERROR ra", "answer 1.0.1.10.in-addr.arpa. 60 A 5.6.7.8"],
            vec!["NOERROR ra", "answer example.org. 60 A 5.6.7.8"],
        ),
    ] {
        let (_client, address) = client(Nobody, DnsConfig { recursors, ..DnsConfig::default() }).await;
        for (question, code, records) in [
            ("n1.node.consul A", "SERVFAIL", vec![]),
            ("n1.node.consul A edns=4096", "SERVFAIL", vec!["edns 4096".to_owned()]),
            ("web.service.consul SRV tcp", "SERVFAIL", vec![]),
            ("consul NS", "NOERROR", vec![]),
            ("consul SOA", "NOERROR", vec![soa("answer")]),
            ("0a090001.addr.consul A", "NOERROR", vec!["answer 0a090001.addr.consul. 0 A 10.9.0.1".to_owned()]),
            ("foo.consul A", "NXDOMAIN", vec![soa("authority")]),
        ] {
            assert_eq!(ask(address, question).await, [&[format!("{code} {aa}")], &records[..]].concat(), "{question}");
        }
        assert_eq!(ask(address, "1.0.1.10.in-addr.arpa PTR").await, reversed);
        assert_eq!(ask(address, "example.org A").await, foreign);
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_do_not_answer_are_given_up() {
    let (sender, _questions) = mpsc::channel(1024);
    let (_client, address) = client(Silent(sender), DnsConfig::default()).await;
    let began = tokio::time::Instant::now();

    let answer = ask(address, "n1.node.consul A").await;

    assert_eq!(answer, ["SERVFAIL aa"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_flood_of_questions_waits_in_bounded_number_and_holds_nothing_else_up() {
    let (sender, mut questions) = mpsc::channel(1024);
    let theirs = DnsConfig { recursors: vec![recursor(0).await], ..DnsConfig::default() };
    let (_client, address) = client(Silent(sender), theirs).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    for _ in 0..ask::QUESTIONS_MAX {
        socket.send_to(&packet("n1.node.consul A"), address).await.expect("the client is there");
        questions.recv().await.expect("it is asked");
    }

    assert_eq!(ask(address, "n1.node.consul A").await, ["SERVFAIL aa ra"]);
    assert_eq!(ask(address, "n1.node.consul A tcp").await, ["SERVFAIL aa ra"]);
    assert_eq!(ask(address, "example.org A").await[0], "NOERROR ra");
    assert_eq!(ask(address, "0a090001.addr.consul A").await[0], "NOERROR aa ra");
    assert!(questions.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_no_answer() {
    struct Nonsense;
    impl AskServers for Nonsense {
        fn ask(&self, _: Question) -> BoxFuture<'static, Option<Reply>> {
            let reply = Reply { head: DnsReply::Whole, packet: Bytes::from_static(b"short") };
            Box::pin(async { Some(reply) })
        }
    }
    let (_client, address) = client(Nonsense, DnsConfig::default()).await;

    assert_eq!(ask(address, "n1.node.consul A").await, ["SERVFAIL aa"]);
}

#[tokio::test]
async fn a_client_that_stopped_holds_no_socket_for_questions_that_wait() {
    let (sender, mut questions) = mpsc::channel(1024);
    let (client, address) = client(Silent(sender), DnsConfig::default()).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.send_to(&packet("n1.node.consul A"), address).await.expect("the client is there");
    questions.recv().await.expect("it is asked");

    client.shutdown().await;

    assert!(questions.recv().await.is_none());
    std::net::UdpSocket::bind(address).expect("nobody has the port");
}

#[test]
fn a_server_refuses_what_no_client_sends_and_bounds_what_one_does() {
    let mut world = World::default();
    for number in 0..20 {
        world.register(&format!(
            r#"{{"Node":"n{number}","Address":"10.1.0.1",
                "Service":{{"Service":"db","Port":1,"Address":"db{number}.example.com"}}}}"#
        ));
    }
    let desk = desk(&world);
    let recursors = vec![([127, 0, 0, 1], 53).into()];
    let policy = policy::encode(&DnsConfig { recursors, ..DnsConfig::default() });
    let head = DnsHead { tcp: true, policy, resolved: None };

    for (head, packet, why) in [
        (head.clone(), vec![0; MESSAGE_BYTES_MAX + 1], "a dns packet has at most 65535 bytes"),
        (DnsHead { policy: [].into(), ..head.clone() }, vec![], "the dns policy cannot be read: "),
    ] {
        let refused = desk.answer(&head, &packet).expect_err(why);
        assert!(refused.starts_with(why), "{refused}");
    }
    assert!(desk.answer(&head, b"?").expect("it may come").packet.is_empty());
    let question = packet("db.service.consul SRV tcp");
    match desk.answer(&head, &question).expect("it makes sense").head {
        DnsReply::Resolve { names, .. } => assert_eq!(names.len(), 16),
        other => panic!("{other:?}"),
    }
    let junk = Resolved { seed: 1, replies: (0..99).map(|at| (format!("db{at}.example.com"), vec![at; 99])).collect() };
    let answer = desk.answer(&DnsHead { resolved: Some(junk), ..head }, &question).expect("it makes sense");
    assert_eq!((answer.head, describe(&answer.packet, true)[1].as_str()), (DnsReply::Whole, "20 answer SRV"));
}
