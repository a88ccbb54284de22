//! etcd 3.5: how three servers of it are started, and its writes.
//!
//! Writes go over gRPC, as etcd's clients send them: a message of protocol buffers behind five bytes, on an HTTP/2
//! connection for each client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::load::{Client, Outcome, Plan, run};
use crate::subject::{Role, Target};

/// Where clients ask: the port of Consul's API, which no etcd uses beside an agent.
pub const PORT: u16 = 8500;

/// The command line of one of three servers.
pub fn arguments(role: &Role, address: Ipv4Addr, folder: &Path) -> Vec<String> {
    let alone = vec![address];
    let members = match role {
        Role::Server(members) => members,
        Role::Alone | Role::Client(_) => &alone,
    };
    let peer = |address: &Ipv4Addr| format!("{address}=http://{address}:8300");
    let cluster: Vec<String> = members.iter().map(peer).collect();
    [
        ("name", address.to_string()),
        ("data-dir", folder.join("data").display().to_string()),
        ("listen-client-urls", format!("http://{address}:{PORT}")),
        ("advertise-client-urls", format!("http://{address}:{PORT}")),
        ("listen-peer-urls", format!("http://{address}:8300")),
        ("initial-advertise-peer-urls", format!("http://{address}:8300")),
        ("initial-cluster", cluster.join(",")),
        ("log-level", "error".to_owned()),
    ]
    .map(|(flag, value)| format!("--{flag}={value}"))
    .into()
}

/// One client with a connection of its own.
struct Writer {
    number: usize,
    keys: u64,
    uri: String,
    connection: SendRequest<Full<Bytes>>,
}

impl Client for Writer {
    async fn exchange(&mut self, turn: u64) -> io::Result<()> {
        let key = format!("bench/write/{:03}/{:04}", self.number, turn % self.keys);
        let request = Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(put(key.as_bytes(), format!("{turn:0>100}").as_bytes())))
            .map_err(io::Error::other)?;
        let response = self.connection.send_request(request).await.map_err(io::Error::other)?;
        let refused = response.headers().get("grpc-status").is_some_and(|status| status != "0");
        let body = response.into_body().collect().await.map_err(io::Error::other)?;
        let failed =
            body.trailers().and_then(|trailers| trailers.get("grpc-status")).is_some_and(|status| status != "0");
        if refused || failed { Err(io::Error::other("etcd refused a write")) } else { Ok(()) }
    }
}

/// A `PutRequest` (key is field 1, value field 2), not compressed.
fn put(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(key.len() + value.len() + 9);
    for (tag, field) in [(0x0a, key), (0x12, value)] {
        message.extend([tag, u8::try_from(field.len()).expect("fields are shorter than 128 bytes")]);
        message.extend(field);
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).expect("messages are small").to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// Runs a load of writes, each client over `keys` keys of its own.
///
/// # Errors
/// A client cannot connect, or etcd is gone. Errors of exchanges are in the outcome.
pub fn load(plan: Plan, target: &impl Target, keys: u64) -> io::Result<Outcome> {
    let address = target.api();
    run(plan, target, |number| open(address, number, keys))
}

async fn open(address: SocketAddr, number: usize, keys: u64) -> io::Result<Writer> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the connection; what went wrong reaches the exchange that waits.
    tokio::spawn(async move { drop(driver.await) });
    Ok(Writer { number, keys, uri: format!("http://{address}/etcdserverpb.KV/Put"), connection })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_framed_as_grpc_says() {
        assert_eq!(&put(b"k", b"vv")[..], [0, 0, 0, 0, 7, 0x0a, 1, b'k', 0x12, 2, b'v', b'v']);
    }
}
