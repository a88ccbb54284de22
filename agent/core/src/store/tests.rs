//! Waking: order, memory of what happened, and no change missed between threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

/// Records its number when woken.
struct Recorder {
    number: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Recorder {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.number);
    }
}

fn poll(watch: &mut Watch, waker: &Waker) -> bool {
    Pin::new(watch).poll(&mut Context::from_waker(waker)).is_ready()
}

fn key(text: &str) -> Topic {
    Topic::KvKey(text.to_string())
}

#[test]
fn waiters_wake_in_the_order_they_began() {
    let store = Store::new(State::default());
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut watches: Vec<Watch> = (0..4).map(|_| store.watch(&[key("a"), Topic::KvPrefix(String::new())])).collect();
    for number in [2, 0, 3, 1] {
        let waker = Waker::from(Arc::new(Recorder { number, woken: woken.clone() }));
        assert!(!poll(&mut watches[number], &waker));
    }
    store.publish(State::default(), &[key("a"), key("b")]);
    assert_eq!(*woken.lock().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn a_change_before_the_first_poll_is_remembered_once() {
    let store = Store::new(State::default());
    let mut watch = store.watch(&[key("a")]);
    store.publish(State::default(), &[key("a")]);
    store.publish(State::default(), &[key("a")]);
    assert!(poll(&mut watch, Waker::noop()));
    assert!(!poll(&mut watch, Waker::noop()));
}

#[test]
fn another_topic_wakes_nobody() {
    let store = Store::new(State::default());
    let mut watch = store.watch(&[key("a")]);
    store.publish(State::default(), &[key("b"), Topic::Nodes]);
    assert!(!poll(&mut watch, Waker::noop()));
}

#[test]
fn replacing_the_state_wakes_everyone() {
    let store = Store::new(State::default());
    let mut watch = store.watch(&[key("a")]);
    store.replace(State::default());
    assert!(poll(&mut watch, Waker::noop()));
}

#[test]
fn a_dropped_watch_is_forgotten() {
    let store = Store::new(State::default());
    let mut watch = store.watch(&[key("a")]);
    poll(&mut watch, Waker::noop());
    drop(watch);
    let waiting = lock(&store.waiting);
    assert!(waiting.watches.is_empty() && waiting.waiters.is_empty());
}

/// Unparks a thread when woken.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The loop of a blocking query: returns once the state has reached `last`.
fn follow(store: &Store, last: u64, wakes: &AtomicUsize) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut watch = store.watch(&[key("a")]);
    while store.snapshot().index < last {
        while !poll(&mut watch, &waker) {
            std::thread::park();
        }
        wakes.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_reader_sleeps_past_the_last_change() {
    const LAST: u64 = 2_000;
    let store = Store::new(State::default());
    let wakes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| follow(&store, LAST, &wakes));
        }
        for index in 1..=LAST {
            store.publish(State { index, ..State::default() }, &[key("a")]);
            if index % 16 == 0 {
                std::thread::yield_now();
            }
        }
    });
    assert!(wakes.load(Ordering::Relaxed) <= 3 * LAST as usize);
}
