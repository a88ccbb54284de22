//! What it can be told to do.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::sockets::network::IpAddressFamily;

use crate::exports::lictor::plugin::check::{Kind, Metric};
use crate::lictor::plugin::logging;

pub fn attack(what: &str, with: &str) -> Result<String, String> {
    match what {
        "pass" => Ok(with.to_owned()),
        "spin" => loop {
            black_box(0);
        },
        "sleep" => {
            #[expect(clippy::disallowed_methods, reason = "blocks nobody but itself")]
            std::thread::sleep(std::time::Duration::from_secs(3600));
            Ok(String::new())
        }
        "eat" => eat(),
        "recurse" => Ok(recurse(1).to_string()),
        "panic" => panic!("told to panic: {with}"),
        "exit" => std::process::exit(3),
        "output" => Ok("x".repeat(number(with))),
        "print" => loop {
            println!("{}", "noise ".repeat(1000));
        },
        "log" => {
            (0..number(with)).for_each(|i| logging::log(logging::Level::Info, &format!("line {i}\nforged")));
            Ok(String::new())
        }
        "alias" => alias(number(with)),
        "tcp sockets" => tcp_sockets(number(with)),
        "udp sockets" => udp_sockets(number(with)),
        "names" => names(number(with)),
        "connect" => connect(with),
        "listen" => TcpListener::bind(with).map(|_| String::new()).map_err(text),
        "send" => send(with),
        "read" => std::fs::read_to_string(with).map_err(text),
        "write" => std::fs::write(with, "here").map(|()| String::new()).map_err(text),
        "variable" => std::env::var(with).map_err(|error| error.to_string()),
        "variables" => Ok(std::env::vars().map(|(name, value)| format!("{name}={value} ")).collect()),
        "get" => get(with),
        "gets" => (0..100).map(|_| get(with)).collect::<Result<Vec<_>, _>>().map(|all| all.len().to_string()),
        _ => Err(format!("no such attack: {what}")),
    }
}

pub fn metrics() -> Vec<Metric> {
    let metric = |name: &str, value| Metric { name: name.into(), kind: Kind::Gauge, value, labels: vec![] };
    vec![metric("good", 1.5), metric("Bad name", 1.0), metric("no_number", f64::NAN)]
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn eat() -> Result<String, String> {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    let here = black_box([depth; 64]);
    recurse(depth + 1) + here[(depth % 64) as usize]
}

/// Logs a message that is as long as memory: what the host copies is beside what the guest holds.
fn alias(bytes: usize) -> Result<String, String> {
    let message = "m".repeat(bytes);
    logging::log(logging::Level::Info, &message);
    Ok(String::new())
}

fn tcp_sockets(count: usize) -> Result<String, String> {
    let mut open = Vec::new();
    for i in 0..count {
        match wasip2::sockets::tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => open.push(socket),
            Err(code) => return Err(format!("{i} open, then {code:?}")),
        }
    }
    Ok(open.len().to_string())
}

fn udp_sockets(count: usize) -> Result<String, String> {
    let mut open = Vec::new();
    for i in 0..count {
        open.push(UdpSocket::bind("0.0.0.0:0").map_err(|error| format!("{i} open, then {error}"))?);
    }
    Ok(open.len().to_string())
}

fn names(count: usize) -> Result<String, String> {
    for i in 0..count {
        ("many.example", 1).to_socket_addrs().map_err(|error| format!("{i} found, then {error}"))?;
    }
    Ok(count.to_string())
}

fn connect(to: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(to).map_err(text)?;
    stream.write_all(b"hello").map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    Ok(answer)
}

fn send(to: &str) -> Result<String, String> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(text)?;
    socket.send_to(b"hello", to).map(|sent| sent.to_string()).map_err(text)
}

/// `http://host:port/path`, without any care.
fn get(url: &str) -> Result<String, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "path")?;
    let response = wasip2::http::outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    response.subscribe().block();
    let response = response.get().ok_or("not ready")?.map_err(|()| "taken")?.map_err(|code| format!("{code:?}"))?;
    let status = response.status();
    let body = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut read = 0;
    let mut start = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => {
                read += bytes.len();
                start.extend(bytes.into_iter().take(100 - start.len().min(100)));
            }
            Err(wasip2::io::streams::StreamError::Closed) => break,
            Err(error) => return Err(format!("{status} after {read} bytes: {error:?}")),
        }
    }
    Ok(format!("{status} {read} {}", String::from_utf8_lossy(&start)))
}
