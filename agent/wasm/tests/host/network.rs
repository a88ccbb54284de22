//! Sockets: what is granted is reached, also by a name; nothing else is.

use crate::fixture::{Fixture, network, says};
use agent_wasm::{Grants, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that answers "welcome" to each connection; its port.
async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_granted_address_is_connected_to() {
    let fixture = Fixture::new();
    let port = server().await;
    let grants = network(&[&format!("127.0.0.0/8:{port}")]);
    let ran = fixture.attack("connect", &format!("127.0.0.1:{port}"), &grants, &Limits::default()).await;
    assert_eq!(ran.result.unwrap().output, "welcome");
}

#[tokio::test]
async fn other_addresses_and_ports_are_refused_and_named() {
    let fixture = Fixture::new();
    let port = server().await;
    let to = format!("127.0.0.1:{port}");
    for grants in [network(&["127.0.0.1:1"]), network(&["10.0.0.0/8:*"])] {
        let ran = fixture.attack("connect", &to, &grants, &Limits::default()).await;
        says(&ran, &["Critical", &format!("was refused a connection to {to}, which allow.network does not grant")]);
    }
    let ran = fixture.attack("connect", &to, &Grants::default(), &Limits::default()).await;
    says(&ran, &["Critical", "was refused a socket, since allow.network grants nothing"]);
    let ran = fixture.attack("send", "10.0.0.1:53", &network(&["127.0.0.1:*"]), &Limits::default()).await;
    says(&ran, &["Critical", "was refused sending to 10.0.0.1:53"]);
    let ran = fixture.attack("send", &to, &network(&["127.0.0.1:*"]), &Limits::default()).await;
    says(&ran, &["Passing: 5"]);
}

#[tokio::test]
async fn nothing_listens() {
    let fixture = Fixture::new();
    let grants = network(&["0.0.0.0/0:*"]);
    let ran = fixture.attack("listen", "0.0.0.0:0", &grants, &Limits::default()).await;
    says(&ran, &["Critical", "was refused listening on"]);
    let ran = fixture.attack("listen", "127.0.0.1:8500", &grants, &Limits::default()).await;
    says(&ran, &["Critical", "was refused a socket bound to 127.0.0.1:8500"]);
}

#[tokio::test]
async fn a_name_is_worth_what_it_resolves_to_at_that_moment() {
    let fixture = Fixture::new();
    let port = server().await;
    let grants = network(&[&format!("127.0.0.1:{port}")]);
    let to = format!("db.example:{port}");
    fixture.names.set("db.example", "127.0.0.1");
    let ran = fixture.attack("connect", &to, &grants, &Limits::default()).await;
    says(&ran, &["Passing: welcome"]);
    fixture.names.set("db.example", "127.0.0.2");
    let ran = fixture.attack("connect", &to, &grants, &Limits::default()).await;
    says(&ran, &["Critical", &format!("was refused a connection to 127.0.0.2:{port}")]);
    let ran = fixture.attack("connect", &to, &Grants::default(), &Limits::default()).await;
    says(&ran, &["Critical", "was refused to look up db.example"]);
    let ran = fixture.attack("connect", &format!("gone.example:{port}"), &grants, &Limits::default()).await;
    says(&ran, &["Critical"]);
}

#[tokio::test]
async fn ten_thousand_sockets_end_at_the_limit() {
    let fixture = Fixture::new();
    let grants = network(&["127.0.0.1:*"]);
    for (kind, open) in [("tcp sockets", 8), ("udp sockets", 8)] {
        let ran = fixture.attack(kind, "10000", &grants, &Limits::default()).await;
        says(
            &ran,
            &["Critical", &format!("{open} open, then"), "was refused more than its 8 sockets", "limits.sockets"],
        );
    }
}

#[tokio::test]
async fn ten_thousand_lookups_end_at_the_limit() {
    let fixture = Fixture::new();
    fixture.names.set("many.example", "127.0.0.1");
    let ran = fixture.attack("names", "10000", &network(&["127.0.0.1:*"]), &Limits::default()).await;
    says(&ran, &["Critical", "16 found, then", "was refused to look up more than 16 names"]);
}
