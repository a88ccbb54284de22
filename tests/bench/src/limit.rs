//! The least a program could do on this machine, as a measure of how near an agent is to it.
//!
//! A plain hyper server with an answer of the size of a small key's, which also holds watchers and wakes them with
//! a broadcast; a UDP echo; a loop of small writes that are each synced. The servers run as processes of
//! their own, from this binary, so that their processor time is counted like an agent's.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::wire;

/// As long as the JSON of a key with a value of 100 bytes.
const HELLO: &[u8] = &[b'h'; 250];

/// Serves hello over HTTP and echoes UDP until the process is killed.
///
/// # Errors
/// The address is taken.
pub fn serve(address: Ipv4Addr) -> io::Result<()> {
    echo((address, 8600).into())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(hello(wire::api(address)))
}

/// A thread for each core, all on one socket.
fn echo(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
        let socket = socket.try_clone()?;
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                // A client that is gone is not the echo's concern.
                let _ = socket.send_to(&packet[..length], from);
            }
        });
    }
    Ok(())
}

async fn hello(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let changes = watch::Sender::new(1_u64);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let changes = changes.clone();
        let service = service_fn(move |request| answer(request, changes.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// A PUT is a change; a GET with an index waits for the next one; any other is answered at once.
async fn answer(request: Request<Incoming>, changes: watch::Sender<u64>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut seen = changes.subscribe();
    let mut body = HELLO;
    if request.method() == Method::PUT {
        changes.send_modify(|index| *index += 1);
        // What the client sent has to be taken off the connection; what it was does not matter.
        let _ = request.into_body().collect().await;
        body = b"true";
    } else if request.uri().query().is_some_and(|query| query.contains("index=")) {
        // The sender lives as long as this function.
        let _ = seen.changed().await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    response.headers_mut().insert("x-consul-index", (*seen.borrow()).into());
    Ok(response)
}

/// How many writes of one small record, each on disk before the next, the disk takes in a second. They go over a file
/// that has its size already, so that a sync moves data alone.
///
/// # Errors
/// As the disk says.
pub fn syncs_per_second(length: Duration) -> io::Result<f64> {
    const RECORDS: u64 = 4096;
    let record = [b's'; 256];
    let file: File = tempfile::tempfile_in(crate::subject::data_folder()?)?;
    for number in 0..RECORDS {
        file.write_all_at(&record, number * record.len() as u64)?;
    }
    file.sync_all()?;
    let begun = Instant::now();
    let mut syncs = 0;
    while begun.elapsed() < length {
        file.write_all_at(&record, syncs % RECORDS * record.len() as u64)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(syncs as f64 / begun.elapsed().as_secs_f64())
}
