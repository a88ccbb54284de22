//! This process's memory under `limits.memory`: what is given up before the kernel ends the process.
//!
//! Looks once a second, only where there is a limit. When to give up what is [`agent_core::pressure`]'s rule; this
//! file measures, forgets what is kept, and holds the level that requests are judged by.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use agent_core::pressure::{Level, Pressure};
use hyper::StatusCode;
use tokio::time::{MissedTickBehavior, interval};

use crate::http::{Api, ApiError, Request};

/// How often memory is measured.
const PERIOD: Duration = Duration::from_secs(1);

/// Paths about the agent itself, which are answered as long as there is a process: who watches it needs them most.
const OWN_PATHS: [&str; 2] = ["/v1/agent/", "/v1/status/"];

/// What is given up now. Shared with whoever admits requests.
#[derive(Debug, Default)]
pub struct Shedding {
    level: AtomicU8,
}

impl Shedding {
    fn set(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Why a request is not answered now, if it isn't.
    ///
    /// # Errors
    /// 503 with the reason and the setting.
    pub fn admit(&self, request: &Request) -> Result<(), ApiError> {
        let level = self.level.load(Ordering::Relaxed);
        if level < Level::Waiting as u8 {
            return Ok(());
        }
        let waits = request.parameter("index").is_some_and(|index| !matches!(index, "" | "0"));
        let is_own = OWN_PATHS.iter().any(|path| request.path.starts_with(path));
        let given_up = match (waits, is_own) {
            (true, _) => "blocking queries are",
            (false, false) if level >= Level::Requests as u8 => "requests are",
            _ => return Ok(()),
        };
        let text = format!("this agent is short of memory (limits.memory): {given_up} refused until it has more");
        Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text))
    }
}

/// Keeps the agent of `api` below `limit_bytes`. Runs until it is dropped.
pub async fn keep_below(limit_bytes: u64, api: &Api, forget_dns: impl Fn()) {
    let status = match File::open("/proc/self/status") {
        Ok(status) => status,
        Err(error) => {
            tracing::error!(%error, "limits.memory has no effect: /proc/self/status can't be read");
            return;
        }
    };
    let mut pressure = Pressure::new(limit_bytes);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let resident_bytes = match resident_bytes(&status) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "could not measure memory");
                continue;
            }
        };
        if let Some(level) = pressure.step(resident_bytes) {
            api.shedding.set(level);
            tracing::warn!(resident_bytes, limit_bytes, given_up = ?level, "Memory nears its limit, or no longer");
        }
        if pressure.level() >= Level::Kept {
            api.forget();
            forget_dns();
        }
    }
}

/// What is in memory of this process. The file is the kernel's tables, not a disk's: reading it waits for nothing.
fn resident_bytes(status: &File) -> io::Result<u64> {
    let mut text = [0; 4096];
    let length = status.read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::Method;
    use hyper::header::HeaderMap;

    use super::*;

    fn refused(shedding: &Shedding, uri: &str) -> bool {
        let uri = uri.parse().expect("a URI");
        let request = Request::new(Method::GET, &uri, &HeaderMap::new(), Bytes::new(), None).expect("a good request");
        shedding.admit(&request).is_err()
    }

    #[test]
    fn watchers_are_refused_first_then_all_that_is_not_about_the_agent() {
        let shedding = Shedding::default();
        let uris = ["/v1/kv/a?index=7", "/v1/kv/a?index=0", "/v1/kv/a", "/v1/agent/check/pass/x", "/v1/status/leader"];
        for (level, expected) in [
            (Level::None, [false; 5]),
            (Level::Kept, [false; 5]),
            (Level::Waiting, [true, false, false, false, false]),
            (Level::Requests, [true, true, true, false, false]),
        ] {
            shedding.set(level);
            assert_eq!(uris.map(|uri| refused(&shedding, uri)), expected, "{level:?}");
        }
    }

    #[test]
    fn a_process_that_runs_has_memory() {
        assert!(resident_bytes(&File::open("/proc/self/status").unwrap()).unwrap() > 100 << 10);
    }
}
