//! Pools over real loopback sockets, and what strangers do to them.

use std::net::Ipv4Addr;

use agent_core::gossip::{Key, KeyOperation, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A member of a pool, and what ends it when dropped.
struct Running {
    handle: GossipHandle,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

async fn start_with(name: &str, change: impl FnOnce(&mut Settings)) -> Running {
    let env = Env::real();
    let id = env.uuid();
    let identity = Identity { name: name.to_owned(), id, datacenter: "dc1".to_owned(), ..Identity::default() };
    let mut settings = Settings::lan(identity, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    change(&mut settings);
    let bound = bind(&env, settings.bind).await.expect("a free port");
    let address = bound.address;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let deps = Deps { env, settings, bound, local: Box::new(|| Arc::new(LocalView::default())) };
    let handle = start(deps, &mut tasks, &stopped).await.expect("a pool in memory starts");
    Running { handle, address, stop, tasks }
}

async fn pool(name: &str) -> Running {
    start_with(name, |_| {}).await
}

/// The statuses of all members once there is one of this name with this status.
async fn until(pool: &GossipHandle, name: &str, status: Status) -> Arc<Roster> {
    let mut roster = pool.roster();
    while !roster.members.iter().any(|member| *member.profile.name == *name && member.status == status) {
        roster = pool.roster_changed(roster.version).await;
    }
    roster
}

#[tokio::test]
async fn one_who_is_alone_waits_for_nothing() {
    let alone = pool("alone").await;
    assert_eq!(alone.handle.look(|pool| pool.deadline()).await, Ok(None));
    assert_eq!(alone.handle.roster().members.len(), 1);
}

#[tokio::test]
async fn members_see_each_other_come_and_leave() {
    let (one, two) = (pool("one").await, pool("two").await);
    assert_eq!(two.handle.join(&[one.address.to_string()]).await, Ok(1));
    until(&one.handle, "two", Status::Alive).await;
    two.handle.leave().await.expect("it is running");
    let roster = until(&one.handle, "two", Status::Left).await;
    assert_eq!(roster.members.len(), 2);
}

#[tokio::test]
async fn nobody_there_is_said_in_consuls_words() {
    let (one, gone) = (pool("one").await, pool("gone").await);
    let address = gone.address;
    drop((gone.stop, gone.tasks));
    let error = one.handle.join(&[address.to_string()]).await.expect_err("nobody is there").to_string();
    let reason = format!("Failed to join 127.0.0.1: dial tcp {address}: connect: connection refused");
    assert_eq!(error, format!("1 error occurred:\n\t* {reason}\n\n"));
}

#[tokio::test]
async fn what_makes_no_sense_is_counted_and_not_answered() {
    let one = pool("one").await;
    let mut stream = TcpStream::connect(one.address).await.expect("it listens");
    stream.write_all(&[0, 0, 0, 4, 1, 2, 3, 4]).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it closes the stream");
    // A stranger is told that it makes no sense, and nothing else.
    assert_eq!(one.handle.look(|pool| pool.counters().malformed).await, Ok(1));
}

#[tokio::test]
async fn a_frame_longer_than_the_pool_may_need_is_not_read() {
    let one = pool("one").await;
    let mut stream = TcpStream::connect(one.address).await.expect("it listens");
    stream.write_all(&u32::MAX.to_be_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it closes the stream");
    assert!(answer.is_empty());
    until_malformed(&one.handle, 1).await;
}

/// Waits until so much made no sense.
async fn until_malformed(pool: &GossipHandle, count: u64) {
    while pool.look(|pool| pool.counters().malformed).await.expect("it is running") < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_frame_that_ends_early_is_counted_and_a_look_at_the_port_is_not() {
    let one = pool("one").await;
    for sent in [b"".as_slice(), b"\0\0", b"\0\0\x01\0half"] {
        let mut stream = TcpStream::connect(one.address).await.expect("it listens");
        stream.write_all(sent).await.expect("it reads");
        stream.shutdown().await.expect("it is open");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it closes the stream");
        assert!(answer.is_empty());
    }
    until_malformed(&one.handle, 2).await;
    assert_eq!(one.handle.look(|pool| pool.counters().malformed).await, Ok(2));
}

#[tokio::test]
async fn a_stream_on_which_nothing_comes_is_given_up() {
    let one = pool("one").await;
    let mut silent = TcpStream::connect(one.address).await.expect("it listens");
    silent.write_all(&[0]).await.expect("it reads");
    tokio::time::pause();
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).await.expect("it closes the stream");
    until_malformed(&one.handle, 1).await;
}

#[tokio::test]
async fn a_datagram_longer_than_ours_may_be_is_refused() {
    let one = pool("one").await;
    let stranger = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    // Without its end, its only message is none.
    let message = [b"L\x01\x00\x07lan.dc1\xff\x00".as_slice(), &[7; 0xff00]].concat();
    stranger.send_to(&message[..9000], one.address).await.expect("it is sent");
    until_malformed(&one.handle, 1).await;
}

#[tokio::test]
async fn one_address_cannot_hold_every_stream() {
    let one = pool("one").await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(one.address).await.expect("it listens"));
    }
    let mut late = TcpStream::connect(one.address).await.expect("it listens");
    let mut answer = Vec::new();
    // Closed by the other side, in whichever way the system says so.
    let _ = late.read_to_end(&mut answer).await;
    assert_eq!((answer.len(), one.handle.refused_streams()), (0, 1));
    drop(silent);
}

#[tokio::test]
async fn keys_are_listed_by_every_member() {
    let key = Key::new(&[1; 16]).expect("16 bytes");
    let with_key = |settings: &mut Settings| settings.key = Some(Key::new(&[1; 16]).expect("16 bytes"));
    let (one, two) = (start_with("one", with_key).await, start_with("two", with_key).await);
    assert_eq!(two.handle.join(&[one.address.to_string()]).await, Ok(1));
    until(&one.handle, "two", Status::Alive).await;
    let report = one.handle.keys(KeyOperation::List).await.expect("it is running");
    assert_eq!((report.members, report.keys.get(&key), report.silent.len()), (2, Some(&2), 0));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let one = pool("one").await;
    let error = bind(&Env::real(), one.address).await.map(|_| ()).expect_err("the port is in use").to_string();
    assert!(error.contains(&one.address.to_string()) && error.contains("ports.serf_lan"), "{error}");
}
