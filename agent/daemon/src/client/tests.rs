//! Whom a client asks, for how long, and what it answers when nobody does. On virtual time, with servers that are closures.

use std::sync::atomic::{AtomicUsize, Ordering};

use agent_core::autopilot::{Candidate, Known};
use agent_core::reconcile::Presence;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use super::*;
use crate::http::query::{Consistency, ReadOptions};
use crate::http::response::names;
use crate::http::routes;
use crate::http::{Request, Response};
use crate::rpc::Identity;
use crate::telemetry::Naming;

const HOLD: Duration = Duration::from_secs(7);

fn nobody() -> Arc<Servers> {
    let env = Env::real();
    let identity = Identity { datacenter: "dc1".into(), node: "c1".into(), cluster: Arc::new(|| None) };
    let metrics = Arc::new(Metrics::new(env.clock.clone(), Naming::default(), routes::names()));
    Servers::new(env.clone(), Pool::new(env, identity), metrics, HOLD, 1 << 20)
}

fn address(place: u8) -> SocketAddr {
    ([10, 0, 0, place], 8300).into()
}

fn candidate(place: u8, presence: Presence) -> Candidate {
    let server = Known { id: format!("id-{place}"), name: format!("s{place}"), address: address(place), presence };
    Candidate { server, expect: 3, bootstrap: false, cluster: Some(7) }
}

fn three() -> Arc<Servers> {
    let servers = nobody();
    servers.step(Input::Servers((1..=3).map(|place| candidate(place, Presence::Alive)).collect()));
    servers
}

fn patience(repeatable: bool) -> Patience {
    Patience { until: Instant::now() + HOLD, repeatable, limit: None }
}

fn unsent() -> CallError {
    CallError::NotSent("refused".into())
}

fn lost() -> CallError {
    CallError::Lost("broken".into())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_passed_over_and_asked_last_from_then_on() {
    let servers = three();
    let first = servers.list().order().next().expect("there are three");
    let ask = async |to| if to == first { Err(unsent()) } else { Ok(to) };
    let answered = servers.ask(patience(false), ask).await;
    assert!(answered.is_ok_and(|by| by != first));
    assert_eq!(servers.list().order().last(), Some(first));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_acted_upon_is_asked_again_only_where_that_does_no_harm() {
    let asked = AtomicUsize::new(0);
    let ask = async |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Err(lost()),
        _ => Ok(()),
    };
    assert_eq!(three().ask(patience(false), ask).await, Err(Unanswered::Unknown("broken".into())));
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
    assert_eq!(three().ask(patience(true), ask).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_held_until_a_server_appears() {
    let (servers, started) = (nobody(), Instant::now());
    let appears = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        servers.step(Input::Servers(vec![candidate(1, Presence::Alive)]));
    };
    let (answered, ()) = tokio::join!(servers.ask(patience(false), async |to| Ok(to)), appears);
    assert_eq!((answered, started.elapsed().as_secs()), (Ok(address(1)), 3));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_not_held_for_ever() {
    let started = Instant::now();
    assert_eq!(nobody().ask(patience(true), async |_| Ok(())).await, Err(Unanswered::NoServers));
    assert_eq!(started.elapsed(), HOLD);
    let answered = three().ask(patience(true), async |_| Err::<(), _>(unsent())).await;
    assert_eq!(answered, Err(Unanswered::Unreachable("refused".into())));
    assert_eq!(started.elapsed(), 2 * HOLD);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_expected_of_a_server_that_the_pool_does_not_hear() {
    let servers = three();
    let first = servers.list().order().next().expect("there are three");
    let falls_silent = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let presence = |place| if address(place) == first { Presence::Failed } else { Presence::Alive };
        servers.step(Input::Servers((1..=3).map(|place| candidate(place, presence(place))).collect()));
    };
    let ask = async |to| match to == first {
        true => std::future::pending().await,
        false => Ok(to),
    };
    let (answered, ()) = tokio::join!(servers.ask(patience(true), ask), falls_silent);
    assert!(answered.is_ok_and(|by| by != first));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_left_after_a_while() {
    let servers = three();
    let first = servers.list().order().next().expect("there are three");
    let ask = async |to| match to == first {
        true => std::future::pending().await,
        false => Ok(to),
    };
    let patience = Patience { limit: Some(Duration::from_secs(2)), ..patience(true) };
    let started = Instant::now();
    assert!(servers.ask(patience, ask).await.is_ok());
    assert_eq!(started.elapsed().as_secs(), 2);
}

fn request(uri: &str) -> Request {
    let uri = uri.parse().expect("a URI");
    Request::new(Method::GET, &uri, &HeaderMap::new(), bytes::Bytes::new(), None).expect("a good request")
}

fn options(consistency: Consistency, index: u64) -> ReadOptions {
    let wait = Duration::from_secs(300);
    ReadOptions { consistency, index, wait, node_meta: [].into(), filter: String::new() }
}

fn answer(index: u64) -> Response {
    let mut response = Response::text(StatusCode::OK, "value");
    response.header(&names::INDEX, index.into());
    response
}

#[tokio::test(start_paused = true)]
async fn a_stale_query_is_answered_with_what_was_seen_and_its_age() {
    let servers = nobody();
    let question = crate::http::question_of(&request("/v1/kv/a"));
    servers.remember(&question, &answer(5));
    tokio::time::advance(Duration::from_millis(2_500)).await;

    let asked = crate::http::question_of(&request("/v1/kv/a?stale&index=3&wait=1s"));
    let (seen, age_ms) = servers.recall(&asked).expect("it was seen");
    let response = seen.response(age_ms);

    let header = |name: &str| response.headers[name].to_str().expect("text").to_owned();
    assert_eq!(response.whole(), b"value");
    assert_eq!((header("x-consul-lastcontact"), header("age")), ("2500".into(), "2".into()));
    assert_eq!((header("x-consul-knownleader"), header("x-consul-index")), ("false".into(), "5".into()));
    assert!(servers.recall(&crate::http::question_of(&request("/v1/kv/b?stale"))).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stale_query_waits_for_servers_only_for_news() {
    let servers = nobody();
    let request = request("/v1/kv/a?stale");
    let question = crate::http::question_of(&request);
    let held = |options: &ReadOptions| {
        let patience = super::http::patience(&servers, &request, Some(options), Some(&question));
        patience.until - Instant::now()
    };
    // Nothing was seen yet, so there is nothing to answer with.
    assert_eq!(held(&options(Consistency::Stale, 0)), HOLD);
    servers.remember(&question, &answer(5));
    assert_eq!(held(&options(Consistency::Stale, 0)), Duration::ZERO);
    assert_eq!(held(&options(Consistency::Stale, 4)), Duration::ZERO);
    assert_eq!(held(&options(Consistency::Stale, 5)), Duration::from_secs(300));
    assert_eq!(held(&options(Consistency::Default, 0)), HOLD);
}

#[tokio::test(start_paused = true)]
async fn failures_of_servers_are_not_remembered() {
    let servers = nobody();
    servers.remember("a", &Response::text(StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader"));
    assert!(servers.recall("a").is_none());
}
