//! What the agent turns away at its sockets: bodies too large, too many connections, writes from elsewhere.

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use real::Binary;
use real::agent::{Agent, config_file};
use real::http::{Connection, Response};

fn leading(binary: Binary, arguments: &[&str]) -> Agent {
    let mut agent = Agent::start(binary, &[&["-dev", "-hcl=ports { grpc = -1 }"], arguments].concat());
    agent.wait_for_leadership();
    agent
}

fn put(address: Ipv4Addr, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    connection.request("PUT", path, body).expect("the agent answers")
}

/// Sends a body in chunks, without saying how long it will be.
fn put_chunks(address: Ipv4Addr, path: &str, chunk: &[u8], count: usize) -> Response {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let head = format!("PUT {path} HTTP/1.1\r\nHost: agent\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes()).expect("the agent reads");
    let head = format!("{:x}\r\n", chunk.len());
    let sent = (0..count).try_for_each(|_| connection.send(&[head.as_bytes(), chunk, b"\r\n"].concat()));
    // An agent that has read enough may answer before the end.
    let _ = sent.and_then(|()| connection.send(b"0\r\n\r\n"));
    connection.response().expect("the agent answers")
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_in_consuls_words() {
    let mut said = Vec::new();
    for binary in [Binary::Consul, Binary::Lictor] {
        let agent = leading(binary, &[]);
        let body = vec![b'x'; 512 * 1024 + 1];
        let fits = put(agent.address, "/v1/kv/fits", &body[1..]);
        assert_eq!((fits.status, fits.text().trim_end()), (200, "true"), "{binary:?}");
        let refused = ["/v1/kv/big", "/v1/txn"].map(|path| {
            let response = put(agent.address, path, &body);
            (response.status, response.text())
        });
        said.push(refused);
    }
    assert_eq!(said[0][0].0, 413);
    assert_eq!(said[0], said[1]);
}

/// Consul stores such values whole, and reads other bodies until its memory ends.
#[test]
fn a_body_that_grows_too_large_is_refused() {
    let agent = leading(Binary::Lictor, &[]);
    let chunk = vec![b'x'; 128 * 1024];
    for (path, fitting, setting) in [
        ("/v1/kv/a", 4, "kv_max_value_size"),
        ("/v1/txn", 4, "txn_max_req_len"),
        ("/v1/catalog/register", 8, "http_config"),
    ] {
        let fits = put_chunks(agent.address, path, &chunk, fitting);
        assert_ne!(fits.status, 413, "{path}");
        let refused = put_chunks(agent.address, path, &chunk, fitting + 1);
        assert_eq!(refused.status, 413, "{path}");
        assert!(refused.text().contains(setting), "{path}: {}", refused.text());
    }
}

#[test]
fn too_many_connections_are_turned_away_and_the_others_kept() {
    for binary in [Binary::Consul, Binary::Lictor] {
        let agent = leading(binary, &["-hcl=limits { http_max_conns_per_client = 3 }"]);
        let mut open: Vec<_> = (0..3).map(|_| Connection::open(agent.address).expect("within the limit")).collect();
        for connection in &mut open {
            assert_eq!(connection.request("GET", "/v1/status/leader", b"").expect("within the limit").status, 200);
        }
        let refused = Connection::open(agent.address).expect("it is accepted first").response();
        // Consul closes with the answer, which may reset the connection before it is read.
        if let Ok(refused) = refused {
            assert_eq!(refused.status, 429, "{binary:?}");
        } else {
            assert_eq!(binary, Binary::Consul);
        }
        let kept = open[0].request("GET", "/v1/status/leader", b"").expect("it is kept");
        assert_eq!(kept.status, 200, "{binary:?}");
    }
}

#[test]
fn a_closed_connection_makes_room() {
    let agent = leading(Binary::Lictor, &["-hcl=limits { http_max_conns_per_client = 1 }"]);
    for _ in 0..20 {
        // The agent learns of an end a moment after the client, and until then the next one is refused.
        loop {
            let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
            if connection.request("GET", "/v1/status/leader", b"").is_ok_and(|response| response.status == 200) {
                break;
            }
        }
    }
}

#[test]
fn writes_from_elsewhere_are_refused_in_consuls_words() {
    let mut said = Vec::new();
    for binary in [Binary::Consul, Binary::Lictor] {
        let agent = leading(binary, &["-hcl=http_config { allow_write_http_from = [\"10.0.0.0/8\"] }"]);
        let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
        let tried = [("PUT", "/v1/kv/a"), ("GET", "/v1/kv/a"), ("DELETE", "/v1/kv/a"), ("OPTIONS", "/v1/kv/a")];
        said.push(tried.map(|(method, path)| {
            let response = connection.request(method, path, b"").expect("the agent answers");
            (response.status, response.text())
        }));
    }
    assert_eq!(said[0][0], (403, "Access is restricted".to_owned()));
    assert_eq!(said[0], said[1]);
}

#[test]
fn writes_from_the_networks_named_are_taken() {
    let agent =
        leading(Binary::Lictor, &["-hcl=http_config { allow_write_http_from = [\"10.0.0.0/8\", \"127.0.0.0/8\"] }"]);
    assert_eq!(put(agent.address, "/v1/kv/a", b"1").status, 200);
}

#[test]
fn a_unix_socket_left_behind_is_replaced_and_gets_its_mode() {
    for binary in [Binary::Consul, Binary::Lictor] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("http.sock");
        drop(UnixListener::bind(&path).expect("a temporary folder is writable"));
        let text =
            format!(r#"{{"addresses": {{"http": "unix://{}"}}, "unix_sockets": {{"mode": "0640"}}}}"#, path.display());
        let config = config_file(folder.path(), "unix.json", &text);
        let _agent = leading(binary, &[&format!("-config-file={config}")]);

        let mode = fs::metadata(&path).expect("the socket is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{binary:?}");
        let mut stream = UnixStream::connect(&path).expect("the agent listens");
        stream.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{binary:?}: {answer}");
    }
}
