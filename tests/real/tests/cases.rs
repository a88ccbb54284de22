//! Every recorded case, told to real processes: lictor must answer as recorded, and so must Consul, or the record is wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread;

use real::agent::{Agent, Binary, PATIENCE, config_file};
use real::cases;
use real::http::{Connection, Response};

#[test]
fn lictor_answers_http_as_recorded() {
    assert_same("http", "json", |file| told_http(Binary::Lictor, file));
}

#[test]
fn consul_answers_http_as_recorded() {
    assert_same("http", "json", |file| told_http(Binary::Consul, file));
}

#[test]
fn lictor_answers_dns_as_recorded() {
    assert_same("dns", "txt", |file| told_dns(Binary::Lictor, file));
}

/// With `RECORD` set, the files are written anew from what Consul answers.
#[test]
fn consul_answers_dns_as_recorded() {
    assert_same("dns", "txt", |file| told_dns(Binary::Consul, file));
}

/// Tells every file of a kind to an agent of its own. A few at a time: starting is mostly waiting.
fn assert_same(kind: &str, extension: &str, tell: impl Fn(&Path) -> String + Sync) {
    let files = cases::files(kind, extension);
    let mut differences = String::new();
    for group in files.chunks(6) {
        thread::scope(|scope| {
            let tell = &tell;
            let told: Vec<_> = group.iter().map(|file| scope.spawn(move || tell(file))).collect();
            differences.extend(told.into_iter().map(|told| told.join().expect("the story was told")));
        });
    }
    assert!(differences.is_empty(), "{differences}");
}

fn send(address: Ipv4Addr, method: &str, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    connection.request(method, path, body).expect("the agent answers")
}

fn told_http(binary: Binary, file: &Path) -> String {
    let mut agent = Agent::start(binary, &["-dev", "-node=n1", "-hcl=ports { grpc = -1 }"]);
    wait_until_registered(&mut agent);
    let tell = async |request: cases::http::Request| send(agent.address, &request.method, &request.path, &request.body);
    cases::at_once(cases::http::replay(file, tell)).join("\n")
}

/// Waits until the agent leads and its own node is in the catalog, which stories build upon.
fn wait_until_registered(agent: &mut Agent) {
    agent.wait_for_leadership();
    let mut index = "0".to_owned();
    loop {
        let path = format!("/v1/health/node/n1?wait=10s&index={index}");
        let response = send(agent.address, "GET", &path, b"");
        if response.text().contains("serfHealth") {
            return;
        }
        index = response.header("x-consul-index").unwrap_or("0").to_owned();
    }
}

fn told_dns(binary: Binary, file: &Path) -> String {
    let case = fs::read_to_string(file).expect("the case is readable");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dns = cases::dns::config(&case).unwrap_or("{}");
    let config =
        config_file(folder.path(), "dns.json", &format!(r#"{{"dns_config": {dns}, "ports": {{"grpc": -1}}}}"#));
    let mut agent = Agent::start(binary, &["-dev", "-node=agent", &format!("-config-file={config}")]);
    agent.wait_for_leadership();
    let answered = cases::dns::answered(&case, &mut Sockets { address: agent.address });
    if binary == Binary::Consul && std::env::var_os("RECORD").is_some() {
        fs::write(PathBuf::from(file), &answered).expect("the case is writable");
        return String::new();
    }
    cases::dns::differences(&case, &answered)
}

/// An agent asked over its sockets.
struct Sockets {
    address: Ipv4Addr,
}

impl cases::dns::World for Sockets {
    fn register(&mut self, json: &str) {
        let response = send(self.address, "PUT", "/v1/catalog/register", json.as_bytes());
        assert_eq!(response.status, 200, "{json}: {}", response.text());
    }

    fn ask(&mut self, packet: &[u8], tcp: bool) -> Vec<u8> {
        let mut reply = vec![0; 65_535];
        let length = match tcp {
            false => {
                let socket = UdpSocket::bind((self.address, 0)).expect("a free port");
                socket.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
                socket.send_to(packet, (self.address, 8600)).expect("the agent listens");
                socket.recv(&mut reply).expect("a reply")
            }
            true => {
                let mut stream = TcpStream::connect((self.address, 8600)).expect("the agent listens");
                let length = u16::try_from(packet.len()).expect("a question is short");
                stream.write_all(&[&length.to_be_bytes(), packet].concat()).expect("the connection is open");
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a reply");
                let length = usize::from(u16::from_be_bytes(length));
                stream.read_exact(&mut reply[..length]).expect("a whole reply");
                length
            }
        };
        reply.truncate(length);
        reply
    }
}
