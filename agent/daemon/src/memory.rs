//! This process's memory under `limits.memory`: what is given up before the kernel ends the process.
//!
//! Looks once a second and whenever much came in, only where there is a limit. When to give up what is
//! [`agent_core::pressure`]'s rule; this file measures, forgets what is kept, and tells [`crate::shedding`], which
//! requests are judged by.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use agent_core::pressure::{Level, Pressure};
use tokio::time::{MissedTickBehavior, interval};

use crate::http::Api;

/// How often memory is measured.
const PERIOD: Duration = Duration::from_secs(1);

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
        tokio::select! {
            _ = ticks.tick() => {}
            () = api.shedding.much_came_in() => {}
        }
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
    use super::*;

    #[test]
    fn a_process_that_runs_has_memory() {
        assert!(resident_bytes(&File::open("/proc/self/status").unwrap()).unwrap() > 100 << 10);
    }
}
