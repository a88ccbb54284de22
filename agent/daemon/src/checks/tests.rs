//! Probes against servers and processes of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::health::spec::{CheckKind, CheckSpec, Outcome, TlsOptions};
use agent_core::state::tables::Status;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::*;
use Status::{Critical, Passing, Warning};

async fn run(kind: CheckKind) -> Outcome {
    run_with(kind, TlsConnector::default()).await
}

async fn run_with(kind: CheckKind, tls: TlsConnector) -> Outcome {
    SystemProber::new(tls).probe(&CheckSpec { timeout_ms: 5_000, ..CheckSpec::new("c", kind) }).await
}

fn http(url: String) -> CheckKind {
    CheckKind::Http {
        url,
        method: String::new(),
        header: BTreeMap::new(),
        body: String::new(),
        disable_redirects: false,
        tls: TlsOptions::default(),
    }
}

fn script(program: &str) -> CheckKind {
    CheckKind::Script { args: ["sh", "-c", program].map(str::to_owned).to_vec() }
}

/// A port on this host that nobody listens on. The system never hands it out.
fn closed_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// Answers each request with what `answer` says for its text, and closes.
async fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            stream.write_all(answer(&request).as_bytes()).await.unwrap();
        }
    });
    address
}

/// Takes the first bytes of each client, sends `bytes`, and closes.
async fn serve_bytes(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(bytes).await.unwrap();
        }
    });
    address
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk).await.unwrap_or(0) {
            0 => return text,
            read => request.extend_from_slice(&chunk[..read]),
        }
    }
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn http_status_decides_and_the_line_is_shown_as_it_came() {
    let address = serve(|request| {
        let path = request.split(' ').nth(1).unwrap();
        response(&path[1..].replace('_', " "), "hello\n")
    })
    .await;
    let cases = [
        ("200_OK", Passing, "200 OK"),
        ("204_Fine", Passing, "204 Fine"),
        ("429_Too_Many_Requests", Warning, "429 Too Many Requests"),
        ("503_Service_Unavailable", Critical, "503 Service Unavailable"),
        ("404_nope", Critical, "404 nope"),
        ("599_", Critical, "599 "),
    ];
    for (path, status, line) in cases {
        let url = format!("http://{address}/{path}");
        let body = if path.starts_with("204") { "" } else { "hello\n" };
        let output = format!("HTTP GET {url}: {line} Output: {body}");
        assert_eq!(run(http(url)).await, Outcome { status, output });
    }
}

#[tokio::test]
async fn http_sends_what_the_check_says_and_consuls_headers() {
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = seen.clone();
    let address = serve(move |request| {
        *sink.lock().unwrap() = request.to_owned();
        response("200 OK", "")
    })
    .await;
    let mut header = BTreeMap::from([("X-A".to_owned(), vec!["b".to_owned(), "c".to_owned()])]);
    header.insert("Host".to_owned(), vec!["foo.example".to_owned()]);
    let outcome = run(CheckKind::Http {
        url: format!("http://us%40er:pw@{address}/path?q=1"),
        method: "POST".into(),
        header,
        body: "zz".into(),
        disable_redirects: false,
        tls: TlsOptions::default(),
    })
    .await;
    assert_eq!(outcome.output, format!("HTTP POST http://us%40er:pw@{address}/path?q=1: 200 OK Output: "));
    let request = seen.lock().unwrap().to_lowercase();
    assert!(request.starts_with("post /path?q=1 http/1.1\r\n") && request.ends_with("\r\n\r\nzz"), "{request}");
    for line in [
        "host: foo.example",
        "user-agent: consul health check",
        "accept: text/plain, text/*, */*",
        "connection: close",
        "x-a: b",
        "x-a: c",
        "authorization: basic dxnazxi6chc=",
        "content-length: 2",
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
    }
}

#[tokio::test]
async fn http_follows_redirects_but_not_for_ever() {
    let address = serve(|request| match request.split(' ').nth(1).unwrap() {
        "/loop" => "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/a/start" => "HTTP/1.1 302 Found\r\nLocation: end\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/a/end" => response("200 OK", &request[..3]),
        other => response("404 Not Found", other),
    })
    .await;
    let outcome = run(http(format!("http://{address}/loop"))).await;
    assert_eq!(outcome, critical("Get \"/loop\": stopped after 10 redirects".into()));

    let mut posted = http(format!("http://{address}/a/start"));
    let CheckKind::Http { method, body, .. } = &mut posted else { unreachable!() };
    (*method, *body) = ("POST".into(), "q".into());
    let output = format!("HTTP POST http://{address}/a/start: 200 OK Output: GET");
    assert_eq!(run(posted.clone()).await, passing(output));

    let CheckKind::Http { disable_redirects, .. } = &mut posted else { unreachable!() };
    *disable_redirects = true;
    let output = format!("HTTP POST http://{address}/a/start: 302 Found Output: ");
    assert_eq!(run(posted).await, critical(output));
}

#[tokio::test]
async fn http_keeps_the_end_of_a_body() {
    let address = serve(|_| response("200 OK", &("x".repeat(10_000) + "end"))).await;
    let url = format!("http://{address}/");
    let output = run(http(url.clone())).await.output;
    assert_eq!(output, format!("HTTP GET {url}: 200 OK Output: {}end", "x".repeat(4093)));
}

#[tokio::test]
async fn http_errors_read_as_gos() {
    let closed = closed_port();
    let garbage = serve(|_| "garbage\r\n\r\n".to_owned()).await;
    let empty = serve(|_| String::new()).await;
    let closing = serve_bytes(b"").await;
    let plain = serve_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let cases = [
        (format!("http://{closed}/"), format!("dial tcp {closed}: connect: connection refused")),
        ("zzz".to_owned(), "unsupported protocol scheme \"\"".to_owned()),
        ("ftp://a/".to_owned(), "unsupported protocol scheme \"ftp\"".to_owned()),
        ("http://no.such.host.invalid/".to_owned(), "dial tcp: lookup no.such.host.invalid: no such host".to_owned()),
        (
            format!("http://{garbage}/"),
            "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned(),
        ),
        (format!("http://{empty}/"), "EOF".to_owned()),
        (format!("https://{closing}/"), "EOF".to_owned()),
        (format!("https://{plain}/"), "tls: first record does not look like a TLS handshake".to_owned()),
    ];
    for (url, error) in cases {
        assert_eq!(run(http(url.clone())).await, critical(format!("Get {url:?}: {error}")));
    }
}

/// A check that takes up to an hour.
fn start_for_an_hour(kind: CheckKind) -> JoinHandle<Outcome> {
    let spec = CheckSpec { timeout_ms: 3_600_000, ..CheckSpec::new("c", kind) };
    tokio::spawn(async move { SystemProber::default().probe(&spec).await })
}

/// Lets that hour pass.
async fn an_hour_passes() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn http_gives_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let running = start_for_an_hour(http(url.clone()));
    let (mut stream, _) = listener.accept().await.unwrap();
    read_request(&mut stream).await;
    an_hour_passes().await;
    let expected = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert_eq!(running.await.unwrap(), critical(format!("Get {url:?}: {expected}")));
}

/// A TLS server for `foo.example` that answers every request, and a store that trusts it.
async fn serve_tls() -> (SocketAddr, rustls::RootCertStore) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["foo.example".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_request(&mut stream).await;
                let _ = stream.write_all(response("200 OK", "tls").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (address, roots)
}

#[tokio::test]
async fn certificates_are_verified_unless_told_otherwise() {
    let (address, roots) = serve_tls().await;
    let named = TlsOptions { server_name: "foo.example".into(), skip_verify: false };
    let blind = TlsOptions { server_name: String::new(), skip_verify: true };
    let trusting = || TlsConnector::trusting(roots.clone());
    let stranger = || TlsConnector::trusting(rustls::RootCertStore::empty());
    let cases = [
        (named.clone(), trusting(), None),
        (blind, stranger(), None),
        (named, stranger(), Some("x509: certificate signed by unknown authority")),
        (TlsOptions::default(), trusting(), Some("x509: certificate is not valid for 127.0.0.1")),
    ];
    for (options, connector, error) in cases {
        let mut kind = http(format!("https://{address}/"));
        let CheckKind::Http { tls, .. } = &mut kind else { unreachable!() };
        *tls = options;
        let outcome = run_with(kind, connector).await;
        let expected = match error {
            None => passing(format!("HTTP GET https://{address}/: 200 OK Output: tls")),
            Some(error) => critical(format!("Get \"https://{address}/\": {error}")),
        };
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn tcp_passes_when_the_connection_opens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (open, closed) = (listener.local_addr().unwrap(), closed_port());
    let port = open.port();
    let cases = [
        (open.to_string(), passing(format!("TCP connect {open}: Success"))),
        (format!("localhost:{port}"), passing(format!("TCP connect localhost:{port}: Success"))),
        (closed.to_string(), critical(format!("dial tcp {closed}: connect: connection refused"))),
        ("127.0.0.1".into(), critical("dial tcp: address 127.0.0.1: missing port in address".into())),
    ];
    for (address, expected) in cases {
        let kind = CheckKind::Tcp { address, use_tls: false, tls: TlsOptions::default() };
        assert_eq!(run(kind).await, expected);
    }
}

#[tokio::test]
async fn tcp_with_tls_needs_the_handshake() {
    let (address, roots) = serve_tls().await;
    let tls = TlsOptions { server_name: "foo.example".into(), skip_verify: false };
    let kind = CheckKind::Tcp { address: address.to_string(), use_tls: true, tls };
    let outcome = run_with(kind.clone(), TlsConnector::trusting(roots)).await;
    assert_eq!(outcome, passing(format!("TCP connect {address}: Success")));
    let outcome = run_with(kind, TlsConnector::trusting(rustls::RootCertStore::empty())).await;
    assert_eq!(outcome, critical("x509: certificate signed by unknown authority".into()));
}

#[tokio::test]
async fn udp_passes_unless_the_port_is_closed() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (open, closed) = (silent.local_addr().unwrap(), closed_port());
    // Silence is waited out; that a port is closed may take a moment to be told.
    for (address, timeout_ms, expected) in [
        (open, 50, passing(format!("UDP connect {open}: Success"))),
        (closed, 5_000, critical(format!("udp {closed}: connection refused"))),
    ] {
        let kind = CheckKind::Udp { address: address.to_string() };
        let spec = CheckSpec { timeout_ms, ..CheckSpec::new("c", kind) };
        assert_eq!(SystemProber::default().probe(&spec).await, expected);
    }
}

#[tokio::test]
async fn scripts_speak_through_their_exit_code() {
    let cases = [
        ("echo out; echo err >&2", Passing, "out\nerr\n"),
        ("echo out; exit 1", Warning, "out\n"),
        ("echo out; exit 3", Critical, "out\n"),
        ("kill -9 $$", Critical, ""),
    ];
    for (program, status, output) in cases {
        assert_eq!(run(script(program)).await, Outcome { status, output: output.into() }, "{program}");
    }
    let missing = |program: &str| run(CheckKind::Script { args: vec![program.to_owned()] });
    assert_eq!(missing("/no/such").await, critical("fork/exec /no/such: no such file or directory".into()));
    assert_eq!(missing("nosuchcmd").await, critical("exec: \"nosuchcmd\": executable file not found in $PATH".into()));
}

#[tokio::test]
async fn of_a_long_output_the_end_is_kept() {
    let output = run(script("seq 1 3000")).await.output;
    assert!(output.starts_with("Captured 4096 of 13893 bytes\n...\n\n2182\n"), "{}", &output[..60]);
    assert!(output.ends_with("\n3000\n"));
    assert_eq!(output.len(), 4129);
}

/// Waits until the process that wrote its id into `file` is gone.
async fn wait_until_gone(file: &std::path::Path) {
    let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let gone = async {
        while !is_gone(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the grandchild was killed");
}

/// A killed orphan stays a zombie until its new parent, which may be nobody, collects it.
fn is_gone(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

#[tokio::test]
async fn a_script_that_runs_too_long_is_killed_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let program = format!("echo begin; sleep 1000 & echo $! > {0}.tmp; mv {0}.tmp {0}; wait", file.display());
    let running = start_for_an_hour(script(&program));
    while !file.exists() {
        tokio::task::yield_now().await;
    }
    an_hour_passes().await;
    assert_eq!(running.await.unwrap(), critical("Timed out (1h0m0s) running check\n\nbegin\n".into()));
    wait_until_gone(&file).await;
}

#[tokio::test]
async fn a_run_that_is_called_off_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let program = format!("sleep 1000 & echo $! > {0}.tmp; mv {0}.tmp {0}; wait", file.display());
    let running = tokio::spawn(run(script(&program)));
    while !file.exists() {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    wait_until_gone(&file).await;
}

/// How the fake gRPC server answers.
#[derive(Clone, Copy)]
enum Grpc {
    Status(u8),
    Code(&'static str),
}

async fn serve_grpc(answer: Grpc) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_grpc(stream, answer));
        }
    });
    address
}

async fn answer_grpc(stream: TcpStream, answer: Grpc) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let ok = hyper::Response::builder().header("content-type", "application/grpc");
        match answer {
            Grpc::Status(status) => {
                let mut body = respond.send_response(ok.body(()).unwrap(), false).unwrap();
                body.send_data(bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false).unwrap();
                let trailers = [("grpc-status", "0")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
                body.send_trailers(trailers.into_iter().collect()).unwrap();
            }
            Grpc::Code(code) => {
                let response =
                    ok.header("grpc-status", code).header("grpc-message", "unknown service").body(()).unwrap();
                respond.send_response(response, true).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn grpc_passes_when_the_service_is_serving() {
    let (serving, ailing) = (serve_grpc(Grpc::Status(1)).await, serve_grpc(Grpc::Status(2)).await);
    let (unknown, closed) = (serve_grpc(Grpc::Code("5")).await, closed_port());
    let refused = format!(
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial tcp {closed}: connect: connection refused\""
    );
    let cases = [
        (format!("{serving}"), passing(format!("gRPC check {serving}: success"))),
        (format!("{serving}/web"), passing(format!("gRPC check {serving}/web: success"))),
        (format!("{ailing}"), critical("gRPC application didn't report service healthy".into())),
        (format!("{unknown}/x"), critical("rpc error: code = NotFound desc = unknown service".into())),
        (format!("{closed}"), critical(refused)),
    ];
    for (target, expected) in cases {
        let kind = CheckKind::Grpc { target, use_tls: false, tls: TlsOptions::default() };
        assert_eq!(run(kind).await, expected);
    }
}

#[tokio::test]
async fn an_http2_ping_is_answered_by_http2_servers_only() {
    let server = serve_grpc(Grpc::Status(1)).await;
    let ping = |address: SocketAddr| {
        run(CheckKind::H2ping { address: address.to_string(), use_tls: false, tls: TlsOptions::default() })
    };
    assert_eq!(ping(server).await, passing("HTTP2 ping was successful".into()));
    let http1 = serve(|_| response("400 Bad Request", "")).await;
    assert_eq!(ping(http1).await.status, Critical);
}
