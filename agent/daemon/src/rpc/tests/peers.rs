//! Peers that are turned away, speak what makes no sense, or say nothing: what they cannot make us do.

use super::*;

#[tokio::test]
async fn other_data_centres_and_clusters_are_turned_away_before_anything_is_sent() {
    let (address, counts) = start(Echo::default()).await;
    let cases = [
        (identity("dc2", None), "agent n is of data centre dc2, this is dc1"),
        (identity("dc1", Some(8)), "server n belongs to another cluster: start it with an empty -data-dir"),
    ];

    for (identity, why) in cases {
        let pool = Pool::new(Env::real(), identity);
        let refused = pool.ask(address, Lane::Urgent, &Head::Raft(Rpc::Append), Bytes::new()).await;
        assert_eq!(refused, Err(CallError::NotSent(why.to_owned())));
    }
    let ours = Pool::new(Env::real(), identity("DC1", Some(7)));
    assert!(ours.ask(address, Lane::Urgent, &Head::Raft(Rpc::Append), Bytes::new()).await.is_ok());
    assert_eq!((counts.served.load(Ordering::Relaxed), counts.refused.load(Ordering::Relaxed)), (1, 2));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_costs_nothing() {
    let (address, counts) = start(Echo::default()).await;
    let raft = encode(&Head::Raft(Rpc::Append));
    let cases = [
        (Vec::new(), "rpc cannot be read: "),
        (vec![99, 0], "rpc cannot be read: "),
        (hello("x"), "it said already who it is"),
        (
            [encode(&get(&"a".repeat(HEAD_BYTES_MAX - 100))), vec![7; 50]].concat()[..20].to_vec(),
            "rpc cannot be read: ",
        ),
    ];
    let mut raw = Raw::known(address).await;

    for (body, why) in &cases {
        raw.send(Kind::Whole, 2, body).await;
        let refused = raw.answer().await.unwrap_err();
        assert!(refused.starts_with(why), "{refused}");
    }
    assert_eq!(counts.refused.load(Ordering::Relaxed), cases.len() as u64);
    raw.send(Kind::Whole, 3, &raft).await;
    assert_eq!(raw.answer().await, Ok(3));
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_connection() {
    let (address, counts) = start(Echo::default()).await;
    let long = u32::try_from(HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX + 1).unwrap().to_be_bytes();
    let blocks = encode(&get("/blocks"));
    let cases: [&[(Kind, &[u8])]; 9] = [
        &[(Kind::Whole, &[0; wire::BODY_BYTES_MAX + 1])],
        &[(Kind::Begin, &[1, 2, 3])],
        &[(Kind::Begin, &long)],
        &[(Kind::Begin, &[0, 0, 0, 2, 1])],
        &[(Kind::Begin, &[0, 1, 0, 1, 1]), (Kind::More, &[0]), (Kind::More, &[0; wire::BODY_BYTES_MAX])],
        &[(Kind::Begin, &[0, 1, 0, 1, 1]), (Kind::Begin, &[0, 1, 0, 1, 1])],
        &[(Kind::Whole, &blocks), (Kind::Whole, &blocks)],
        &[(Kind::Piece, &[])],
        &[(Kind::Closing, &[])],
    ];

    for (case, frames) in cases.into_iter().enumerate() {
        let mut raw = Raw::known(address).await;
        for (kind, body) in frames {
            raw.send(*kind, 2, body).await;
        }
        assert!(raw.next().await.is_none(), "case {case}");
    }
    assert_eq!(counts.refused.load(Ordering::Relaxed), cases.len() as u64);
}

#[tokio::test]
async fn another_version_is_told_which_one_is_spoken_here() {
    let (address, counts) = start(Echo::default()).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"lictor\n\x03").await.unwrap();
    let mut answer = Vec::new();

    stream.read_to_end(&mut answer).await.unwrap();

    assert_eq!(answer, PREAMBLE);
    assert_eq!(counts.refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_server_of_another_version_is_not_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        stream.write_all(b"lictor\n\x03").await.unwrap();
        std::future::pending::<()>().await;
    });

    let refused = pool().ask(address, Lane::Urgent, &Head::Raft(Rpc::Append), Bytes::new()).await;

    let why = "rpc version 3 is not known, this agent speaks 2: upgrade it";
    assert!(matches!(&refused, Err(CallError::NotSent(text)) if text.ends_with(why)), "{refused:?}");
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    let (address, counts) = start(Echo::default()).await;
    // Who only looks whether somebody listens is not refused.
    drop(tokio::net::TcpStream::connect(address).await.unwrap());
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xff; 4096]] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // However it ends, it ends.
        let _ = stream.read_to_end(&mut answer).await;
    }
    while counts.refused.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    assert!(pool().ask(address, Lane::Bulk, &Head::Raft(Rpc::Append), Bytes::new()).await.is_ok());
    assert_eq!(counts.refused.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent() {
    let (address, counts) = start(Echo::default()).await;
    let large = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);

    let refused = pool().ask(address, Lane::Bulk, &Head::Raft(Rpc::Append), large).await;

    assert!(matches!(refused, Err(CallError::NotSent(_))));
    assert_eq!(counts.served.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nobody_there_is_known_at_once_and_not_tried_again_at_once() {
    // A port that the system never hands out.
    let closed = "127.0.0.1:1".parse().unwrap();
    let pool = pool();
    let ask = || pool.ask(closed, Lane::Urgent, &Head::Raft(Rpc::Heartbeat), Bytes::new());

    let (first, second) = (ask().await, ask().await);

    assert!(matches!(&first, Err(CallError::NotSent(why)) if why.contains("refused")), "{first:?}");
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await);
        }
    });
    let pool = pool();
    let began = tokio::time::Instant::now();
    tokio::time::pause();

    let answer = pool.ask(address, Lane::Urgent, &Head::Raft(Rpc::Heartbeat), Bytes::new()).await;

    assert!(matches!(answer, Err(CallError::NotSent(_))), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    silent.abort();
}

#[tokio::test]
async fn a_peer_that_falls_silent_after_its_greeting_is_given_up() {
    let (address, _) = start(Echo::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let (silence, mut silenced) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let (mut here, mut there) =
            (listener.accept().await.unwrap().0, tokio::net::TcpStream::connect(address).await.unwrap());
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
            _ = silenced.wait_for(|silent| *silent) => {}
        }
        // The connection stays open, and nothing passes any more.
        std::future::pending::<()>().await;
    });
    let pool = pool();
    let ask = || pool.ask(between, Lane::Urgent, &Head::Raft(Rpc::Heartbeat), Bytes::new());
    assert!(ask().await.is_ok());
    silence.send(true).unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();

    let answer = ask().await;

    assert!(matches!(answer, Err(CallError::Lost(_))), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
}

/// Until somebody says who it is, it has one small request.
#[tokio::test]
async fn strangers_get_no_room() {
    let (address, counts) = start(Echo::default()).await;
    let cases =
        [(Kind::Whole, vec![9; 100]), (Kind::Whole, encode(&Head::Raft(Rpc::Append))), (Kind::Begin, vec![0; 9])];

    for (kind, body) in cases {
        let mut raw = Raw::open(address).await;
        raw.send(kind, 1, &body).await;
        assert_eq!(raw.answer().await, Err(ANONYMOUS.to_owned()));
        assert_eq!(raw.next().await, None);
    }
    let mut raw = Raw::open(address).await;
    raw.send(Kind::Whole, 1, &hello(&"n".repeat(5000))).await;
    assert_eq!(raw.next().await, None);
    assert_eq!(counts.refused.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn one_who_does_not_say_who_it_is_is_hung_up_on() {
    let (address, counts) = start(Echo::default()).await;
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    silent.write_all(&PREAMBLE[..7]).await.unwrap();
    tokio::time::pause();
    let mut answer = Vec::new();
    // However it ends, it ends.
    let _ = silent.read_to_end(&mut answer).await;
    while counts.refused.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}
