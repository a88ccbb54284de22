//! Over real loopback sockets: what goes through, in which order, and what ends with whom. Peers that are not to be trusted: [`peers`].

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_raft::{Refused, Rpc, Server, Transport, TransportError};
use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::frame::{HEAD_BYTES_MAX, Head, Hello, PAYLOAD_BYTES_MAX, ReplyHead, Resolved};
use super::pool::Lane;
use super::serving::PIECES_MAX;
use super::wire::{Kind, PREAMBLE, header, parse};
use super::*;
use crate::dns::{Question, Reply};
use crate::env::{BoxFuture, Env, ListenAddress};
use crate::http::Response;
use crate::http::response::Content;

mod peers;

/// Answers everything in a way that tests recognise.
#[derive(Default)]
struct Echo {
    /// Told when the future of a blocking query is dropped.
    dropped: Mutex<Option<oneshot::Sender<()>>>,
    /// What a stream's pieces come from.
    pieces: Mutex<Option<mpsc::Receiver<Bytes>>>,
    /// Told when its thread stands still, and what it stands still for.
    stall: Mutex<Option<(oneshot::Sender<()>, std::sync::mpsc::Receiver<()>)>>,
}

struct TellsItsDrop(Option<oneshot::Sender<()>>);

impl Drop for TellsItsDrop {
    fn drop(&mut self) {
        self.0.take().map(|sender| sender.send(()));
    }
}

impl Serve for Echo {
    fn raft(&self, rpc: Rpc, message: Bytes) -> BoxFuture<'static, Result<Vec<u8>, Refused>> {
        Box::pin(async move {
            match rpc {
                Rpc::Vote => Err(Refused::OtherCluster),
                _ => Ok(message.to_vec()),
            }
        })
    }

    fn http(&self, head: HttpHead<'_>, body: Bytes) -> BoxFuture<'static, Response> {
        let guard = TellsItsDrop(self.dropped.lock().unwrap().take());
        let pieces = self.pieces.lock().unwrap().take();
        let stall = self.stall.lock().unwrap().take_if(|_| head.uri == "/stalls");
        let blocks = head.uri == "/blocks";
        let saw = format!("{} {} {:?} {:?}", head.method, head.uri, (head.token, head.agent), head.peer);
        Box::pin(async move {
            if let Some((stalled, until)) = stall {
                stalled.send(()).unwrap();
                until.recv().unwrap();
            }
            if blocks {
                std::future::pending::<()>().await;
            }
            drop(guard);
            if let Some(pieces) = pieces {
                return Response::stream(pieces);
            }
            let mut response = Response::text(StatusCode::NOT_FOUND, body);
            response.set_header("X-Saw", &saw);
            response
        })
    }

    fn catalog(&self, _: CatalogHead, _: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        Box::pin(async { Err("there is none".to_owned()) })
    }

    fn dns(&self, head: &DnsHead, packet: &[u8]) -> Result<Reply, String> {
        if packet.is_empty() {
            return Err("there is no question".to_owned());
        }
        let packet = [packet, if head.tcp { b"tcp" } else { b"udp" }, &head.policy].concat();
        Ok(Reply { head: DnsReply::Whole, packet: packet.into() })
    }
}

fn identity(datacenter: &str, cluster: Option<u128>) -> Identity {
    Identity { datacenter: datacenter.into(), node: "n".into(), cluster: Arc::new(move || cluster) }
}

/// A server of data centre `dc1` and cluster 7.
async fn start(echo: Echo) -> (std::net::SocketAddr, Arc<Counts>) {
    start_until(echo, std::future::pending()).await
}

/// The same until `stop` resolves.
async fn start_until(
    echo: Echo,
    stop: impl Future<Output = ()> + Send + 'static,
) -> (std::net::SocketAddr, Arc<Counts>) {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = Env::real().network.listen(&any).await.unwrap();
    let ListenAddress::Tcp(address) = listener.local_address() else { panic!("it listens on TCP") };
    let counts = Arc::<Counts>::default();
    let served = serve(listener, identity("dc1", Some(7)), Arc::new(echo), counts.clone(), stop);
    tokio::spawn(served);
    (address, counts)
}

fn pool() -> Pool {
    Pool::new(Env::real(), identity("dc1", None))
}

fn get(uri: &str) -> Head<'_> {
    Head::Http(HttpHead { method: "GET", uri: uri.into(), ..HttpHead::default() })
}

#[tokio::test]
async fn messages_go_there_and_answers_come_back() {
    let (address, counts) = start(Echo::default()).await;
    let transport = RpcTransport::new(pool());
    let target = Server { id: "a".into(), node: "a".into(), address, voter: true };
    let large = vec![7; 5 << 20];

    let heartbeat = transport.call(&target, Rpc::Heartbeat, vec![1, 2]).await;
    let append = transport.call(&target, Rpc::Append, large.clone()).await;
    let vote = transport.call(&target, Rpc::Vote, vec![3]).await;

    assert_eq!(heartbeat.unwrap(), [1, 2]);
    assert!(append.unwrap() == large);
    assert!(matches!(vote, Err(TransportError::Refused(_))), "{vote:?}");
    assert_eq!((counts.served.load(Ordering::Relaxed), counts.refused.load(Ordering::Relaxed)), (3, 1));
}

#[tokio::test]
async fn messages_of_every_size_go_there_and_come_back() {
    let (address, _) = start(Echo::default()).await;
    let (pool, frame) = (pool(), wire::BODY_BYTES_MAX);
    let around = |size: usize| [size - 3, size - 2, size - 1, size, size + 1];
    for size in [0, 1].into_iter().chain(around(16 << 10)).chain(around(frame)).chain(around(3 * frame)) {
        let bytes: Bytes = (0..size).map(|place| (place % 251) as u8).collect();
        let answer = pool.ask(address, Lane::Bulk, &Head::Raft(Rpc::Append), bytes.clone()).await;
        assert!(answer == Ok(bytes), "{size}");
    }
}

#[tokio::test]
async fn http_requests_are_answered_as_if_they_had_come_in_there() {
    let (address, _) = start(Echo::default()).await;
    let head = Head::Http(HttpHead {
        method: "PUT",
        uri: "/v1/kv/a%2Fb?cas=3".into(),
        token: "secret",
        agent: "client-1",
        peer: Some("10.0.0.9:5000".parse().unwrap()),
    });

    let response = pool().forward_http(address, &head, Bytes::from_static(b"value")).await.unwrap();

    assert_eq!((response.status, response.whole()), (StatusCode::NOT_FOUND, b"value".as_slice()));
    let saw = response.headers["x-saw"].to_str().unwrap();
    assert!(
        saw.starts_with("PUT /v1/kv/a%2Fb?cas=3 (\"secret\", \"client-1\")") && saw.contains("10.0.0.9:5000"),
        "{saw}"
    );
}

#[tokio::test]
async fn a_response_that_is_streamed_arrives_bit_by_bit() {
    let (sender, pieces) = mpsc::channel(1);
    let (address, _) = start(Echo { pieces: Mutex::new(Some(pieces)), ..Echo::default() }).await;

    let response = pool().forward_http(address, &get("/"), Bytes::new()).await.unwrap();
    let Content::Stream(mut stream) = response.body else { panic!("it is streamed") };

    for piece in ["one", "two"] {
        sender.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        assert_eq!(stream.recv().await.unwrap(), piece);
    }
    drop(sender);
    assert_eq!(stream.recv().await, None);
}

#[tokio::test]
async fn a_query_nobody_waits_for_any_more_is_dropped_at_the_server() {
    let (sender, dropped) = oneshot::channel();
    let (address, counts) = start(Echo { dropped: Mutex::new(Some(sender)), ..Echo::default() }).await;
    let pool = pool();
    let query = tokio::spawn(async move { pool.forward_http(address, &get("/blocks"), Bytes::new()).await });
    while counts.served.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }

    query.abort();

    dropped.await.unwrap();
}

#[tokio::test]
async fn a_thousand_blocking_queries_share_a_connection_with_others() {
    let (address, counts) = start(Echo::default()).await;
    let pool = pool();
    let mut blocked = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let pool = pool.clone();
        blocked.spawn(async move { pool.forward_http(address, &get("/blocks"), Bytes::new()).await.map(drop) });
    }
    while counts.served.load(Ordering::Relaxed) < 1000 {
        tokio::task::yield_now().await;
    }

    let head = DnsHead { tcp: true, policy: b"!".as_slice().into(), resolved: None };
    let answer = pool.forward_dns(address, Question { head, packet: Bytes::from_static(b"?") }).await.unwrap();

    assert_eq!(answer, Reply { head: DnsReply::Whole, packet: Bytes::from_static(b"?tcp!") });
}

#[tokio::test]
async fn a_dns_question_that_makes_no_sense_is_refused() {
    let (address, counts) = start(Echo::default()).await;
    let head = DnsHead { tcp: false, policy: [].into(), resolved: None };

    let refused = pool().forward_dns(address, Question { head, packet: Bytes::new() }).await;

    assert_eq!(refused, Err(CallError::Refused("there is no question".to_owned())));
    assert_eq!(counts.refused.load(Ordering::Relaxed), 1);
}

fn encode(head: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_allocvec(head).unwrap()
}

#[test]
fn the_heads_of_dns_keep_their_bytes() {
    let resolved = Resolved { seed: 5, replies: vec![("a".to_owned(), vec![7, 8])] };
    let question = Head::Dns(DnsHead { tcp: true, policy: [9].into(), resolved: Some(resolved) });
    let cases = [
        (encode(&question), b"\x03\x01\x01\x09\x01\x05\x01\x01a\x02\x07\x08".as_slice()),
        (encode(&ReplyHead::Dns(DnsReply::Whole)), b"\x03\0"),
        (encode(&ReplyHead::Dns(DnsReply::Recurse)), b"\x03\x01"),
        (encode(&ReplyHead::Dns(DnsReply::Resolve { names: vec!["a".to_owned()], seed: 5 })), b"\x03\x02\x01\x01a\x05"),
    ];

    for (bytes, pinned) in cases {
        assert_eq!(bytes, pinned);
    }
}

/// A connection on which a test sees every frame.
struct Raw {
    stream: tokio::net::TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// A connection on which both sides have said that they speak our language, and nothing else.
    async fn open(address: std::net::SocketAddr) -> Raw {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&PREAMBLE).await.unwrap();
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(greeting, PREAMBLE);
        Raw { stream, buffer: Vec::new() }
    }

    /// A connection of somebody who is known.
    async fn known(address: std::net::SocketAddr) -> Raw {
        let mut raw = Raw::open(address).await;
        raw.send(Kind::Whole, 1, &hello("x")).await;
        assert_eq!(raw.answer().await, Ok(1));
        raw
    }

    async fn send(&mut self, kind: Kind, id: u64, body: &[u8]) {
        let frame = [header(kind, id, body.len()).as_slice(), body].concat();
        // The peer may have hung up, which is for the reader to see.
        let _ = self.stream.write_all(&frame).await;
    }

    /// The next frame; `None` when the connection has ended.
    async fn next(&mut self) -> Option<(Kind, u64, Vec<u8>)> {
        loop {
            if let Some((frame, size)) = parse(&self.buffer, usize::MAX).unwrap() {
                let frame = (frame.kind, frame.id, frame.body.to_vec());
                self.buffer.drain(..size);
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The number of the request that is answered next, or why it is not.
    async fn answer(&mut self) -> Result<u64, String> {
        let (kind, id, body) = self.next().await.ok_or("it hung up")?;
        assert_eq!(kind, Kind::Whole);
        match frame::open(&body).unwrap() {
            (ReplyHead::Refused(why), _) => Err(why.into_owned()),
            _ => Ok(id),
        }
    }
}

fn hello(node: &str) -> Vec<u8> {
    encode(&Head::Hello(Hello { datacenter: "dc1".to_owned(), node: node.to_owned(), cluster: None }))
}

const ANONYMOUS: &str = "the first request must say who it comes from";

#[tokio::test]
async fn what_was_given_up_while_it_was_sent_is_not_missed() {
    let (address, counts) = start(Echo::default()).await;
    let mut raw = Raw::known(address).await;
    raw.send(Kind::Begin, 2, &[0, 1, 0, 1, 1]).await;
    raw.send(Kind::Cancel, 2, &[]).await;
    raw.send(Kind::More, 2, &[0; 100]).await;
    raw.send(Kind::Cancel, 7, &[]).await;

    raw.send(Kind::Whole, 3, &encode(&Head::Raft(Rpc::Append))).await;

    assert_eq!(raw.answer().await, Ok(3));
    assert_eq!(counts.refused.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_comes_while_a_server_stops_is_unheard_and_what_is_under_way_is_answered() {
    let (sender, pieces) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let echo = Echo { pieces: Mutex::new(Some(pieces)), ..Echo::default() };
    let (address, _) = start_until(echo, async { drop(stopped.await) }).await;
    let mut raw = Raw::known(address).await;
    raw.send(Kind::Whole, 2, &encode(&get("/"))).await;
    assert_eq!(raw.next().await.map(|(kind, id, _)| (kind, id)), Some((Kind::Stream, 2)));

    stop.send(()).unwrap();
    assert_eq!(raw.next().await, Some((Kind::Closing, 0, Vec::new())));
    raw.send(Kind::Whole, 3, &encode(&get("/"))).await;

    assert_eq!(raw.next().await, Some((Kind::Unheard, 3, Vec::new())));
    drop(sender);
    assert_eq!(raw.next().await, Some((Kind::End, 2, Vec::new())));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_nobody_else() {
    let (sender, pieces) = mpsc::channel(1);
    let (address, _) = start(Echo { pieces: Mutex::new(Some(pieces)), ..Echo::default() }).await;
    let mut raw = Raw::known(address).await;
    raw.send(Kind::Whole, 2, &encode(&get("/"))).await;
    let sent = tokio::spawn(async move {
        for _ in 0..2 * PIECES_MAX {
            sender.send(Bytes::from_static(b"a")).await.unwrap();
        }
    });
    assert_eq!(raw.next().await.map(|(kind, ..)| kind), Some(Kind::Stream));
    for _ in 0..PIECES_MAX {
        assert_eq!(raw.next().await, Some((Kind::Piece, 2, b"a".to_vec())));
    }

    raw.send(Kind::Whole, 3, &encode(&Head::Raft(Rpc::Append))).await;
    assert_eq!(raw.answer().await, Ok(3));

    for _ in 0..PIECES_MAX {
        raw.send(Kind::Credit, 2, &[]).await;
        assert_eq!(raw.next().await, Some((Kind::Piece, 2, b"a".to_vec())));
    }
    assert_eq!(raw.next().await, Some((Kind::End, 2, Vec::new())));
    sent.await.unwrap();
}

#[tokio::test]
async fn many_queries_given_up_at_once_do_not_end_the_others() {
    let (address, counts) = start(Echo::default()).await;
    let pool = pool();
    let ask = |uri: &'static str| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.forward_http(address, &get(uri), Bytes::new()).await })
    };
    let stays = ask("/blocks");
    let given_up: Vec<_> = (0..1_000).map(|_| ask("/blocks")).collect();
    while counts.served.load(Ordering::Relaxed) < 1_001 {
        tokio::task::yield_now().await;
    }

    given_up.iter().for_each(tokio::task::JoinHandle::abort);
    for query in given_up {
        assert!(query.await.is_err_and(|error| error.is_cancelled()));
    }

    assert!(ask("/v1/kv/a").await.expect("it does not panic").is_ok());
    assert!(!stays.is_finished(), "{:?}", stays.await);
}

/// A server that is a thread of its own and stands still while a request to `/stalls` is answered.
fn start_that_stalls() -> (std::net::SocketAddr, std::sync::mpsc::Sender<()>, oneshot::Receiver<()>) {
    let (go_on, stall) = std::sync::mpsc::channel();
    let (stalled, stalls) = oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let echo = Echo { stall: Mutex::new(Some((stalled, stall))), ..Echo::default() };
            tell.send(start(echo).await.0).unwrap();
            std::future::pending::<()>().await;
        });
    });
    (told.recv().unwrap(), go_on, stalls)
}

#[tokio::test]
async fn queries_given_up_while_a_server_stood_still_do_not_end_the_others() {
    let (address, go_on, stalls) = start_that_stalls();
    let pool = pool();
    let ask = |uri: &'static str| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.forward_http(address, &get(uri), Bytes::new()).await })
    };
    let stays = ask("/blocks");
    let stalling = ask("/stalls");
    stalls.await.unwrap();

    let given_up: Vec<_> = (0..200).map(|_| ask("/blocks")).collect();
    // As many turns as it takes to send them: nobody can answer meanwhile.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    for query in given_up {
        query.abort();
        assert!(query.await.is_err_and(|error| error.is_cancelled()));
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();

    assert!(stalling.await.unwrap().is_ok());
    assert!(ask("/v1/kv/a").await.unwrap().is_ok());
    assert!(!stays.is_finished(), "{:?}", stays.await);
}
