//! What no proper client sends: the agent refuses it in Consul's words, and goes on.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};

use real::Binary;
use real::agent::{Agent, PATIENCE};
use real::http::{Connection, Response};
use rustix::process::Signal;

fn leading(binary: Binary) -> Agent {
    let mut agent = Agent::start(binary, &["-dev", "-node=n1", "-hcl=ports { grpc = -1 }"]);
    agent.wait_for_leadership();
    agent
}

fn ask(address: Ipv4Addr, method: &str, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    connection.request(method, path, body).expect("the agent answers")
}

/// Sends bytes, ends the sending side, and returns all that came back.
fn exchange(address: Ipv4Addr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((address, 8500)).expect("the agent accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
    stream.write_all(bytes).expect("the agent reads");
    // The agent may have refused and hung up already.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn odd_requests_are_refused_in_consuls_words() {
    let odd: &[(&str, &str, &[u8])] = &[
        ("GET", "/v1/kv/x?index=-1", b""),
        ("GET", "/v1/kv/x?index=1e3", b""),
        ("GET", "/v1/kv/x?index=99999999999999999999999", b""),
        ("GET", "/v1/kv/x?index=%00", b""),
        ("GET", "/v1/kv/x?wait=bad&index=1", b""),
        ("GET", "/v1/kv/x?wait=99999999999999h&index=1", b""),
        ("GET", "/v1/kv/x?wait=10&index=1", b""),
        ("GET", "/v1/catalog/nodes?stale&consistent", b""),
        ("GET", "/v1/catalog/nodes?filter=((((", b""),
        ("GET", "/v1/agent/service/web?wait=bad&hash=x", b""),
        ("BREW", "/v1/kv/x", b""),
        ("TRACE", "/v1/agent/self", b""),
        ("PUT", "/v1/catalog/nodes", b""),
        ("GET", "/v1/%6bv/x", b""),
        ("GET", "/v2/kv/x", b""),
        ("GET", "/v1/kv/a%zz", b""),
        ("GET", "/v1/kv/a%4", b""),
        ("PUT", "/v1/kv/x?cas=-1", b"1"),
        ("PUT", "/v1/kv/x?flags=-1", b"1"),
        ("PUT", "/v1/kv/x?cas=1&acquire=2", b"1"),
        ("PUT", "/v1/session/destroy/not-a-uuid", b""),
        ("PUT", "/v1/agent/service/register", b"{"),
        ("PUT", "/v1/agent/service/register", b"[]"),
        ("PUT", "/v1/agent/service/register", br#"{"Name": "a", "Port": "80"}"#),
        ("PUT", "/v1/agent/service/register", br#"{"Name": "a", "Port": 1.5}"#),
        ("PUT", "/v1/agent/service/register", br#"{"Name": 7}"#),
        ("PUT", "/v1/agent/service/register", br#"{"Name": "a", "Tags": "b"}"#),
        ("PUT", "/v1/agent/check/register", b"nul"),
        ("PUT", "/v1/catalog/register", b"{}"),
        ("PUT", "/v1/catalog/deregister", b"[1"),
        ("PUT", "/v1/txn", br#"{"a""#),
        ("PUT", "/v1/txn", b"{}"),
        ("PUT", "/v1/txn", br#"[{"KV": {"Verb": "set", "Key": "a", "Value": "%%"}}]"#),
    ];
    let tell = |binary| {
        let agent = leading(binary);
        let answers = odd.iter().map(|(method, path, body)| {
            let response = ask(agent.address, method, path, body);
            let shown = String::from_utf8_lossy(body);
            format!("{method} {path} {shown}: {} {:?}", response.status, response.text().trim_end())
        });
        answers.collect::<Vec<_>>()
    };
    let (expected, told) = (tell(Binary::Consul), tell(Binary::Lictor));
    let differing: Vec<_> = expected.iter().zip(&told).filter(|(consul, lictor)| consul != lictor).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn garbage_in_place_of_requests_is_refused_and_forgotten() {
    let agent = leading(Binary::Lictor);
    let long = "x".repeat(64 * 1024);
    let garbage = [
        "\r\n\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}".to_owned(),
        format!("GET /v1/kv/{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nLong: {long}\r\n\r\n"),
        format!("GET /v1/status/leader HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(2000)),
        "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
        "GET /v1/kv/a HTTP/1.1\r\nHo".to_owned(),
    ];
    for bytes in &garbage {
        let answer = exchange(agent.address, bytes.as_bytes());
        let shown: String = bytes.chars().take(80).collect();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown:?} was answered with {answer}");
    }
    let missing = ask(agent.address, "GET", "/v1/kv/a", b"");
    assert_eq!(missing.status, 404, "nothing of it was stored: {}", missing.text());
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let agent = leading(Binary::Lictor);
    let write = |value: &str| format!("PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{value}");
    let read = "GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    let requests = [&write("1"), read, &write("2"), read, "BREW /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n", read].concat();
    connection.send(requests.as_bytes()).expect("the agent reads");
    let answers = [(); 6].map(|()| connection.response().expect("the agent answers").text().trim_end().to_owned());
    assert_eq!(answers, ["true", "1", "true", "2", "method BREW not allowed", "2"]);
}

#[test]
fn a_client_that_leaves_in_the_middle_costs_nothing_afterwards() {
    let agent = leading(Binary::Lictor);
    let mut other = Connection::open(agent.address).expect("the agent accepts connections");
    let mut wait_until = |what: &str, done: &dyn Fn(usize) -> bool| {
        let files = format!("/proc/{}/fd", agent.id());
        let mut open = 0;
        // Every look is a journey through the agent, which so gets to do its work.
        for _ in 0..20_000 {
            let answer = other.request("GET", "/v1/status/leader", b"").expect("others are served meanwhile");
            assert_eq!(answer.status, 200);
            open = fs::read_dir(&files).expect("our own child").count();
            if done(open) {
                return open;
            }
        }
        panic!("waited in vain until {what}: {open} files are open");
    };
    let before = wait_until("it is known", &|_| true);
    let halves =
        ["GET /v1/kv/a?index=9999999&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n", "PUT /v1/kv/a HTTP/1.1\r\nContent-Le"];
    let connect = |number: usize| {
        let mut stream = TcpStream::connect((agent.address, 8500)).expect("the agent accepts connections");
        stream.write_all(halves[number % 2].as_bytes()).expect("the agent reads");
        stream
    };
    let streams: Vec<TcpStream> = (0..100).map(connect).collect();
    wait_until("a hundred more are open", &|open| open >= before + 100);

    drop(streams);

    wait_until("they are closed", &|open| open <= before);
}

/// What was counted since the start, of the series whose line in the Prometheus format begins so.
fn counted(address: Ipv4Addr, series: &str) -> u64 {
    let metrics = ask(address, "GET", "/v1/agent/metrics?format=prometheus", b"").text();
    let value = |line: &str| line.strip_prefix(series)?.trim().parse::<f64>().ok();
    metrics.lines().find_map(value).unwrap_or(0.0) as u64
}

/// Garbage on the ports of gossip and rpc, every time from another port: all of it is counted, and said once for each.
#[test]
fn strangers_on_the_ports_between_agents_are_counted_and_logged_once() {
    let agent = leading(Binary::Lictor);
    let address = agent.address;
    for byte in 100..200 {
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        stranger.send_to(&[byte; 50], (address, 8301)).expect("it is sent");
    }
    for (port, garbage) in [(8301, b"\0\0\0\x04ABCD".as_slice()), (8301, b"\xff\xff\xff\xff"), (8300, &[0xff; 100])] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect((address, port)).expect("the agent accepts connections");
            stream.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
            stream.write_all(garbage).expect("the agent reads");
            // However it ends, it ends.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    let now = || {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux knows its name");
        let gossip =
            format!("consul_{}_memberlist_refused{{reason=\"malformed\"}}", host.trim().replace(['-', '.'], "_"));
        (counted(address, &gossip), counted(address, "consul_rpc_request_error"))
    };
    // Every look is a journey through the agent, which so gets to do its work.
    assert!((0..20_000).any(|_| now() == (120, 10)), "{:?}", now());

    agent.signal(Signal::INT);

    let (_, said) = agent.wait();
    for line in ["packets that make no sense are refused", "refused an rpc: it does not speak our language"] {
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
}
