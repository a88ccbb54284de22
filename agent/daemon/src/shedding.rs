//! What requests cost of `limits.memory`: which are refused, let go of while they wait, or must wait for others' bodies.
//!
//! The level is [`agent_core::pressure`]'s, set by [`crate::memory`]. An agent without a limit refuses nothing, and pays
//! nothing for it. Refused connections are closed: what they hold is most of what there is to get back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::pressure::Level;
use hyper::{Method, StatusCode};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use crate::http::{ApiError, Request, Response};

/// Paths about the agent itself, which are answered as long as there is a process: who watches it needs them most.
const OWN_PATHS: [&str; 2] = ["/v1/agent/", "/v1/status/"];

/// Paths that take something out of the catalog, beside whatever is done with `DELETE`: the way back to less memory.
const FREEING_PATHS: [&str; 2] = ["/v1/catalog/deregister", "/v1/session/destroy/"];

/// The share of the limit that bodies of requests may take until they are complete: a quarter.
const BODIES_SHARE: u64 = 4;

/// The share of the limit that may come in until memory is measured again, however soon that is: a sixteenth.
const UNSEEN_SHARE: u64 = 16;

/// How long a body may take, since it takes room from others meanwhile.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is given up now. Shared by all who answer requests.
#[derive(Debug, Default)]
pub struct Shedding {
    limited: Option<Limited>,
}

#[derive(Debug)]
struct Limited {
    level: watch::Sender<Level>,
    /// A permit for each byte that bodies may still take.
    bodies: Semaphore,
    bodies_bytes_max: u32,
    /// What came in since memory was measured, in bytes.
    unseen_bytes: AtomicU64,
    unseen_bytes_max: u64,
    too_much_unseen: Notify,
}

impl Shedding {
    /// Of an agent whose memory is limited.
    pub fn below(limit_bytes: u64) -> Self {
        let bodies_bytes_max = u32::try_from(limit_bytes / BODIES_SHARE).unwrap_or(u32::MAX);
        let limited = Limited {
            level: watch::Sender::new(Level::None),
            bodies: Semaphore::new(bodies_bytes_max as usize),
            bodies_bytes_max,
            unseen_bytes: AtomicU64::new(0),
            unseen_bytes_max: limit_bytes / UNSEEN_SHARE,
            too_much_unseen: Notify::new(),
        };
        Shedding { limited: Some(limited) }
    }

    /// Counts what came in, for [`Shedding::much_came_in`].
    pub fn came_in(&self, bytes: u64) {
        let Some(limited) = &self.limited else { return };
        let unseen_bytes = limited.unseen_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if unseen_bytes > limited.unseen_bytes_max {
            limited.too_much_unseen.notify_one();
        }
    }

    /// Resolves when so much came in since it last did that memory is better measured at once.
    pub async fn much_came_in(&self) {
        let Some(limited) = &self.limited else { return std::future::pending().await };
        limited.too_much_unseen.notified().await;
        limited.unseen_bytes.store(0, Ordering::Relaxed);
    }

    /// Gives up what `level` says from now on.
    pub fn set(&self, level: Level) {
        if let Some(limited) = &self.limited {
            limited.level.send_replace(level);
        }
    }

    /// Why a request is not answered now, if it isn't.
    ///
    /// # Errors
    /// 503 with the reason and the setting.
    pub fn admit(&self, request: &Request) -> Result<(), ApiError> {
        let Some(limited) = &self.limited else { return Ok(()) };
        let level = *limited.level.borrow();
        if level >= Level::Waiting && waits(request) {
            return Err(short("blocking queries are refused"));
        }
        if level >= Level::Requests && !is_needed(request) {
            return Err(short("requests are refused"));
        }
        Ok(())
    }

    /// Room for a body of at most so many bytes, until the returned value is dropped. A body that is larger than all the room
    /// there is gets it when it is alone.
    ///
    /// # Errors
    /// 503: other bodies have it.
    pub fn room_for(&self, bytes: u64) -> Result<Option<SemaphorePermit<'_>>, ApiError> {
        let Some(limited) = &self.limited else { return Ok(None) };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(limited.bodies_bytes_max);
        self.came_in(bytes.into());
        let room = limited.bodies.try_acquire_many(bytes);
        room.map(Some).map_err(|_| short("bodies that are still on their way have the room there is"))
    }

    /// Whether the request is one that [`Shedding::or_let_go`] may end.
    pub fn may_let_go(&self, request: &Request) -> bool {
        self.limited.is_some() && waits(request)
    }

    /// The answer of a blocking query, or 503 once those are given up.
    pub async fn or_let_go(&self, answer: impl Future<Output = Response>) -> Response {
        let Some(limited) = &self.limited else { return answer.await };
        let mut level = limited.level.subscribe();
        tokio::select! {
            biased;
            response = answer => response,
            // The sender is ours: there is always a next level.
            _ = level.wait_for(|level| *level >= Level::Waiting) => {
                short("blocking queries are let go of").last_response()
            }
        }
    }
}

fn short(given_up: &str) -> ApiError {
    let text = format!("this agent is short of memory (limits.memory): {given_up} until it has more");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Whether the request asks to be answered when something has changed.
fn waits(request: &Request) -> bool {
    let given = |name, nothing: &[&str]| request.parameter(name).is_some_and(|value| !nothing.contains(&value));
    given("index", &["", "0"]) || given("hash", &[""])
}

fn is_needed(request: &Request) -> bool {
    let is_below = |paths: &[&str]| paths.iter().any(|path| request.path.starts_with(path));
    is_below(&OWN_PATHS) || request.method == Method::DELETE || is_below(&FREEING_PATHS)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::header::HeaderMap;

    use super::*;

    fn request(method: Method, uri: &str) -> Request {
        let uri = uri.parse().expect("a URI");
        Request::new(method, &uri, &HeaderMap::new(), Bytes::new(), None).expect("a good request")
    }

    #[test]
    fn watchers_are_refused_first_then_all_that_is_not_about_the_agent_or_gives_memory_back() {
        let shedding = Shedding::below(1000);
        let requests = [
            (Method::GET, "/v1/kv/a?index=7"),
            (Method::GET, "/v1/agent/service/web?hash=1"),
            (Method::GET, "/v1/kv/a?index=0"),
            (Method::PUT, "/v1/kv/a"),
            (Method::DELETE, "/v1/kv/a?recurse"),
            (Method::PUT, "/v1/session/destroy/1"),
            (Method::PUT, "/v1/agent/check/pass/x"),
            (Method::GET, "/v1/status/leader"),
        ];
        let requests = requests.map(|(method, uri)| request(method, uri));
        for (level, refused) in [(Level::None, 0), (Level::Kept, 0), (Level::Waiting, 2), (Level::Requests, 4)] {
            shedding.set(level);
            for (place, request) in requests.iter().enumerate() {
                assert_eq!(shedding.admit(request).is_err(), place < refused, "{level:?} {request:?}");
            }
        }
        let unlimited = Shedding::default();
        unlimited.set(Level::Requests);
        assert!(unlimited.admit(&requests[0]).is_ok());
    }

    #[test]
    fn bodies_share_a_quarter_of_the_limit() {
        let shedding = Shedding::below(4000);
        let first = shedding.room_for(600).unwrap();
        assert!(shedding.room_for(401).is_err());
        let second = shedding.room_for(400).unwrap();
        drop(first);
        assert!(shedding.room_for(5000).is_err(), "one is left");
        drop(second);
        let all = shedding.room_for(5000).unwrap();
        assert!(shedding.room_for(1).is_err());
        drop(all);
        assert!(Shedding::default().room_for(u64::MAX).unwrap().is_none());
    }

    #[tokio::test]
    async fn much_that_comes_in_asks_for_a_look() {
        let shedding = Shedding::below(1600);
        let asks = async || {
            tokio::select! {
                biased;
                () = shedding.much_came_in() => true,
                () = std::future::ready(()) => false,
            }
        };
        drop(shedding.room_for(60).unwrap());
        assert!(!asks().await);
        shedding.came_in(41);
        assert!(asks().await);
        shedding.came_in(60);
        assert!(!asks().await);
    }

    #[tokio::test]
    async fn a_query_that_waits_is_let_go_of_when_memory_runs_out() {
        let shedding = Shedding::below(1000);
        let query = request(Method::GET, "/v1/kv/a?index=7");
        assert!(shedding.may_let_go(&query) && !shedding.may_let_go(&request(Method::GET, "/v1/kv/a")));

        let waiting = shedding.or_let_go(std::future::pending());
        let others = async {
            shedding.set(Level::Kept);
            tokio::task::yield_now().await;
            shedding.set(Level::Waiting);
        };
        let (response, ()) = tokio::join!(waiting, others);

        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers["connection"], "close");
        let answered = shedding.or_let_go(async { Response::empty(StatusCode::OK) }).await;
        assert_eq!(answered.status, StatusCode::OK, "what is ready is answered");
    }
}
