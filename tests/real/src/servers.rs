//! Servers that plugins are tried against: Debian's, each a process with a temporary folder and an address of its own,
//! and some of ours. Dropping one kills its process, by its id.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::agent::{PATIENCE, own_address};
use crate::pool::until;
use crate::tools::{installed, succeeded};

/// A process that listens on loopback.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that ended by itself cannot be killed, and needs not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The port of every address that is asked for here. The system hands out higher ones.
const PORT: u16 = 7100;

/// An address that nobody has, and that nobody takes however long a server needs until it listens.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((own_address(), PORT))
}

impl Server {
    /// Starts what `command` makes of a folder and an address, and waits until it accepts.
    ///
    /// # Panics
    /// When the program is not installed, or ends or is silent instead.
    pub fn start(command: impl FnOnce(&Path, SocketAddr) -> Command) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let mut command = command(folder.path(), address);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/setup first"));
        let server = Server { address, process, folder };
        until(PATIENCE, "server that accepts", || TcpStream::connect(address).ok());
        server
    }

    /// Its temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A Redis server with a password.
pub fn redis(password: &str) -> Server {
    Server::start(|folder, address| {
        let mut command = installed("redis-server");
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string(), "--save", ""]);
        command.args(["--requirepass", password, "--dir"]).arg(folder);
        command
    })
}

/// A Mosquitto broker that lets in `edge` with the password `secret`.
pub fn mosquitto() -> Server {
    Server::start(|folder, address| {
        let passwords = folder.join("passwords");
        let made = installed("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args(["edge", "secret"]).output();
        succeeded(made.expect("mosquitto_passwd runs"));
        let config = folder.join("mosquitto.conf");
        let (ip, port) = (address.ip(), address.port());
        let text =
            format!("listener {port} {ip}\nallow_anonymous false\nuser root\npassword_file {}\n", passwords.display());
        std::fs::write(&config, text).expect("a file");
        let mut command = installed("mosquitto");
        command.arg("-c").arg(config);
        command
    })
}

/// `openssl s_server` with a certificate of its own for so many days, and these further arguments.
pub fn tls(days: u32, arguments: &[&str]) -> Server {
    Server::start(|folder, address| {
        let (key, certificate) = (folder.join("key.pem"), folder.join("cert.pem"));
        let mut make = installed("openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        make.args(["-subj", "/CN=localhost", "-days", &days.to_string()])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        succeeded(make.output().expect("openssl runs"));
        let mut command = installed("openssl");
        command.args(["s_server", "-quiet", "-accept", &address.to_string()]).args(arguments);
        command.arg("-key").arg(key).arg("-cert").arg(certificate);
        command
    })
}

/// A server of ours: what `answer` does with each connection.
pub fn ours(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || listener.incoming().flatten().for_each(&answer));
    address
}

/// A server that sends noise without end to whoever connects.
pub fn noise() -> SocketAddr {
    ours(|mut stream| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = [0; 4096];
        loop {
            noise.fill_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            });
            if stream.write_all(&noise).is_err() {
                break;
            }
        }
    })
}

/// A Modbus TCP device: holding registers 0.. hold `holding`, every input register 7; registers past them are refused as the standard says.
pub fn modbus(holding: Vec<u16>) -> SocketAddr {
    ours(move |mut stream| {
        let mut request = [0; 12];
        while stream.read_exact(&mut request).is_ok() {
            let word = |at: usize| usize::from(u16::from_be_bytes([request[at], request[at + 1]]));
            let (function, first, count) = (request[7], word(8), word(10));
            let values = match function {
                3 => holding.get(first..first + count).map(<[u16]>::to_vec),
                _ => Some(vec![7; count]),
            };
            let body = match values {
                Some(values) => {
                    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
                    [&[function, bytes.len() as u8], &bytes[..]].concat()
                }
                None => vec![function | 0x80, 2],
            };
            let mut reply = request[..4].to_vec();
            reply.extend((body.len() as u16 + 1).to_be_bytes());
            reply.push(request[6]);
            reply.extend(body);
            if stream.write_all(&reply).is_err() {
                break;
            }
        }
    })
}

/// An HTTP server that answers every request with this status line and body.
pub fn http(status: &'static str, body: &'static str) -> SocketAddr {
    ours(move |mut stream| {
        let mut head = [0; 4096];
        if stream.read(&mut head).is_ok_and(|read| read > 0) {
            let length = body.len();
            // A client that is gone is no failure of the server.
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    })
}
