//! HTTP: granted URLs are requested at the address that was checked, and nothing else.

use crate::fixture::{Fixture, network, says, urls};
use agent_wasm::{Grants, Limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    let response = match path {
        "/api/large" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20);
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = vec![b'x'; 64 << 10];
            while stream.write_all(&chunk).await.is_ok() {}
            return;
        }
        "/api/moved" => {
            "HTTP/1.1 302 Found\r\nlocation: /admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
        }
        path => {
            let body = format!("you asked for {path}");
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        }
    };
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A server on loopback; its port.
async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    port
}

#[tokio::test]
async fn a_granted_url_is_requested_and_its_neighbours_are_not() {
    let fixture = Fixture::new();
    let at = format!("http://127.0.0.1:{}", server().await);
    let grants = urls(&[&format!("{at}/api")]);
    let limits = Limits::default();
    let ran = fixture.attack("get", &format!("{at}/api/status?full=1"), &grants, &limits).await;
    says(&ran, &["Passing: 200", "you asked for /api/status?full=1"]);
    for path in ["/admin", "/api/../admin", "/apis", "/api/%2e%2e/admin", "/api%2fstatus", "/"] {
        let ran = fixture.attack("get", &format!("{at}{path}"), &grants, &limits).await;
        says(&ran, &["Critical", "was refused a request to http://127.0.0.1", "allow.urls does not grant"]);
    }
    let ran = fixture.attack("get", &format!("{at}/api/moved"), &grants, &limits).await;
    says(&ran, &["Passing: 302"]);
    let ran = fixture.attack("get", &format!("{at}/api"), &Grants::default(), &limits).await;
    says(&ran, &["Critical", "allow.urls does not grant"]);
}

#[tokio::test]
async fn a_name_must_not_lead_to_this_host_or_past_the_network_grants() {
    let fixture = Fixture::new();
    let port = server().await;
    let url = format!("http://api.example:{port}");
    let limits = Limits { wall: Duration::from_secs(2), ..Limits::default() };
    for special in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1"] {
        fixture.names.set("api.example", special);
        let ran = fixture.attack("get", &url, &urls(&[&url]), &limits).await;
        says(&ran, &["Critical", "was refused a request to api.example: its address", "loopback, link-local"]);
    }
    fixture.names.set("api.example", "127.0.0.1");
    let mut grants = urls(&[&url]);
    grants.network = network(&["127.0.0.1:*"]).network;
    says(&fixture.attack("get", &url, &grants, &limits).await, &["Passing: 200"]);
    fixture.names.set("api.example", "127.0.0.2");
    says(&fixture.attack("get", &url, &grants, &limits).await, &["Critical", "is not within allow.network"]);
    fixture.names.set("localhost", "127.0.0.1");
    let url = format!("http://localhost:{port}/");
    says(&fixture.attack("get", &url, &urls(&[&url]), &limits).await, &["Passing: 200"]);
}

#[tokio::test]
async fn bodies_and_the_number_of_requests_are_bounded() {
    let fixture = Fixture::new();
    let at = format!("http://127.0.0.1:{}", server().await);
    let limits = Limits { cpu: Duration::from_secs(5), ..Limits::default() };
    let ran = fixture.attack("get", &format!("{at}/api/large"), &urls(&[&at]), &limits).await;
    says(&ran, &["Critical: 200 after"]);
    let ran = fixture.attack("gets", &format!("{at}/"), &urls(&[&at]), &limits).await;
    says(&ran, &["Critical", "was refused more than its 8 sockets and requests"]);
}

#[tokio::test]
async fn https_trusts_what_the_agent_trusts() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let trusting = Fixture::with(Some(crate::fixture::shared_cache()), 64 << 20, roots);
    trusting.names.set("localhost", "127.0.0.1");
    let ran = trusting.attack("get", &url, &urls(&[&url]), &Limits::default()).await;
    says(&ran, &["Passing: 200", "you asked for /"]);

    let other = Fixture::new();
    other.names.set("localhost", "127.0.0.1");
    let ran = other.attack("get", &url, &urls(&[&url]), &Limits::default()).await;
    says(&ran, &["Critical", "Tls"]);
}
