//! `lock`: runs a program while a lock is held.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agent_core::duration;
use rustix::process::Signal;
use tokio::process::Child;

use super::client::Client;
use super::command::{Failure, Invocation};
use super::lock_keys::LockKeys;
use super::signals::{Signals, pass_on};
use crate::watch::Script;

/// How long a program gets to end by itself when its lock is lost, or we are asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What the flags ask for.
struct Wish {
    prefix: String,
    script: Script,
    limit: usize,
    timeout: Option<Duration>,
    name: String,
    retries: u32,
    pass_stdin: bool,
    verbose: bool,
}

/// Why a program is no longer left alone.
enum Event {
    Ended(io::Result<ExitStatus>),
    Asked(Signal),
    Lost,
}

/// `lock`.
pub fn lock(run: &mut Invocation) -> Result<(), Failure> {
    let wish = wish(run)?;
    let client = run.client()?;
    let has_failed = client.wait_for(hold_and_run(run, &client, &wish))?;
    match has_failed && run.flags.bool("child-exit-code") {
        true => Err(Failure { message: String::new(), code: 2 }),
        false => Ok(()),
    }
}

fn wish(run: &Invocation) -> Result<Wish, Failure> {
    let [prefix, child @ ..] = run.args() else { return Err(missing()) };
    if child.is_empty() {
        return Err(missing());
    }
    let number = |name: &str, default: i64| run.flags.last(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let limit = usize::try_from(number("n", 1)).ok().filter(|limit| *limit > 0);
    let limit = limit.ok_or_else(|| Failure::new("Lock holder limit must be positive"))?;
    let text = |name: &str| run.flags.last(name).filter(|text| !text.is_empty());
    let timeout = match text("timeout").or_else(|| text("try")) {
        None => None,
        Some(text) => {
            let ms = duration::parse_ms(text)
                .map_err(|error| Failure::new(format!("Error parsing -timeout option: {error}")))?;
            Some(ms).filter(|ms| *ms > 0).map(Duration::from_millis)
        }
    };
    let prefix = prefix.trim_start_matches('/').to_owned();
    let default_name = format!("Consul lock for '{}' at '{prefix}'", child.join(" "));
    Ok(Wish {
        script: Script { args: child.to_vec(), shell: run.flags.last("shell") != Some("false") },
        limit,
        timeout,
        name: text("name").map_or(default_name, str::to_owned),
        retries: u32::try_from(number("monitor-retry", 3)).unwrap_or(0),
        pass_stdin: run.flags.bool("pass-stdin"),
        verbose: run.flags.bool("verbose"),
        prefix,
    })
}

fn missing() -> Failure {
    Failure::new("Key prefix and child command must be specified")
}

/// Takes the lock, runs the program, gives the lock back. Returns whether the program failed by itself.
async fn hold_and_run(run: &mut Invocation<'_>, client: &Client, wish: &Wish) -> Result<bool, Failure> {
    let mut signals = Signals::listen()?;
    let opened = signals.unless_asked(LockKeys::open(client, &wish.prefix, wish.limit, &wish.name)).await;
    let keys = opened.map_err(|_| too_late())?.map_err(refused)?;
    match wish.limit {
        1 => say(run, wish, &format!("Setting up lock at path: {}", keys.key())),
        limit => say(run, wish, &format!("Setting up semaphore (limit {limit}) at prefix: {}", wish.prefix)),
    }
    say(run, wish, "Attempting lock acquisition");
    if let Err(failure) = acquire(&keys, &mut signals, wish.timeout).await {
        // The session ends by itself if this fails.
        let _ = keys.abandon().await;
        return Err(failure);
    }
    let has_failed = run_child(run, &keys, &mut signals, wish).await;
    keys.release().await.map_err(|error| Failure::new(format!("Lock release failed: {error}")))?;
    match keys.clean_up().await {
        Ok(true) => say(run, wish, "Cleanup succeeded"),
        Ok(false) => say(run, wish, "Cleanup aborted, lock in use"),
        Err(error) => return Err(Failure::new(format!("Lock cleanup failed: {error}"))),
    }
    Ok(has_failed)
}

fn say(run: &mut Invocation<'_>, wish: &Wish, text: &str) {
    if wish.verbose {
        run.line(text);
    }
}

fn too_late() -> Failure {
    Failure::new("Shutdown triggered or timeout during lock acquisition")
}

fn refused(error: String) -> Failure {
    Failure::new(format!("Lock acquisition failed: {error}"))
}

async fn acquire(keys: &LockKeys<'_>, signals: &mut Signals, timeout: Option<Duration>) -> Result<(), Failure> {
    let limit = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = signals.next() => Err(too_late()),
        acquired = keys.acquire() => acquired.map_err(refused),
        () = limit => Err(too_late()),
        () = keys.keep_alive() => Err(refused("the session has ended".to_owned())),
    }
}

/// Runs the program until it ends, the lock is lost, or we are asked to stop. Returns whether it failed; one that we
/// have ended has not.
async fn run_child(run: &mut Invocation<'_>, keys: &LockKeys<'_>, signals: &mut Signals, wish: &Wish) -> bool {
    say(run, wish, "Starting handler");
    let mut command = wish.script.command();
    command.env("CONSUL_LOCK_HELD", "true").kill_on_drop(true);
    command.stdin(if wish.pass_stdin { Stdio::inherit() } else { Stdio::null() });
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            run.remark(&format!("Error starting handler: {}", wish.script.explain(&error)));
            return true;
        }
    };
    let event = tokio::select! {
        biased;
        status = child.wait() => Event::Ended(status),
        signal = signals.next() => Event::Asked(signal),
        () = keys.lost(wish.retries) => Event::Lost,
        () = keys.keep_alive() => Event::Lost,
    };
    let has_ended = matches!(event, Event::Ended(_));
    let status = match event {
        Event::Ended(status) => {
            say(run, wish, "Child terminated, releasing lock");
            status
        }
        Event::Asked(signal) => {
            say(run, wish, "Shutdown triggered, killing child");
            end(&mut child, signals, signal).await
        }
        Event::Lost => {
            say(run, wish, "Lock lost, killing child");
            end(&mut child, signals, Signal::TERM).await
        }
    };
    let error = match status {
        Ok(status) => explain(status),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = &error {
        run.remark(&format!("Error running handler: {error}"));
    }
    has_ended && error.is_some()
}

/// Asks a program to end by the signal that we were sent, and ends it when it takes too long. What we are sent
/// meanwhile is for the program too.
async fn end(child: &mut Child, signals: &mut Signals, signal: Signal) -> io::Result<ExitStatus> {
    pass_on(child, signal);
    // As Consul does: a program may be deaf to an interrupt.
    if signal != Signal::TERM {
        pass_on(child, Signal::TERM);
    }
    let mut grace = std::pin::pin!(tokio::time::sleep(GRACE));
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status,
            signal = signals.next() => pass_on(child, signal),
            () = &mut grace => break,
        }
    }
    child.start_kill()?;
    child.wait().await
}

/// What Go says of a program that failed.
fn explain(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, Some(15)) => Some("signal: terminated".to_owned()),
        (None, Some(2)) => Some("signal: interrupt".to_owned()),
        (None, _) => Some("signal: killed".to_owned()),
    }
}
