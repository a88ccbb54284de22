//! `lock`: runs a program while a lock is held.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agent_core::duration;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

use super::client::Client;
use super::command::{Failure, Invocation};
use super::lock_keys::LockKeys;
use crate::watch::Script;

/// How long a program gets to end by itself when its lock is lost.
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

/// `lock`.
pub fn lock(run: &mut Invocation) -> Result<(), Failure> {
    let wish = wish(run)?;
    let client = run.client()?;
    let ended = client.wait_for(hold_and_run(run, &client, &wish))?;
    match ended {
        Err(error) => {
            run.remark(&error);
            let code = if run.flags.bool("child-exit-code") { 2 } else { 0 };
            if code == 0 { Ok(()) } else { Err(Failure { message: String::new(), code }) }
        }
        Ok(()) => Ok(()),
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

/// Takes the lock, runs the program, gives the lock back. What went wrong with the program comes back as a text.
async fn hold_and_run(run: &mut Invocation<'_>, client: &Client, wish: &Wish) -> Result<Result<(), String>, Failure> {
    let mut say = |text: String| {
        if wish.verbose {
            run.line(&text);
        }
    };
    let failed = |error: String| Failure::new(format!("Lock acquisition failed: {error}"));
    let keys = LockKeys::open(client, &wish.prefix, wish.limit, &wish.name).await.map_err(failed)?;
    match wish.limit {
        1 => say(format!("Setting up lock at path: {}", keys.key())),
        limit => say(format!("Setting up semaphore (limit {limit}) at prefix: {}", wish.prefix)),
    }
    say("Attempting lock acquisition".to_owned());
    if let Err(failure) = acquire(&keys, wish.timeout).await {
        // The session ends by itself if this fails.
        let _ = keys.release().await;
        return Err(failure);
    }
    say("Starting handler".to_owned());
    let ended = run_child(&keys, wish).await;
    say("Child terminated, releasing lock".to_owned());
    if let Err(error) = keys.release().await {
        return Err(Failure::new(format!("Lock release failed: {error}")));
    }
    say("Cleanup succeeded".to_owned());
    Ok(ended)
}

async fn acquire(keys: &LockKeys<'_>, timeout: Option<Duration>) -> Result<(), Failure> {
    let too_late = || Failure::new("Shutdown triggered or timeout during lock acquisition");
    let limit = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = asked_to_stop() => Err(too_late()),
        acquired = keys.acquire() => acquired.map_err(|error| Failure::new(format!("Lock acquisition failed: {error}"))),
        () = limit => Err(too_late()),
        () = keys.keep_alive() => Err(Failure::new("Lock acquisition failed: the session has ended")),
    }
}

/// Runs the program until it ends, the lock is lost, or we are asked to stop.
async fn run_child(keys: &LockKeys<'_>, wish: &Wish) -> Result<(), String> {
    let mut command = wish.script.command();
    command.env("CONSUL_LOCK_HELD", "true").kill_on_drop(true);
    command.stdin(if wish.pass_stdin { Stdio::inherit() } else { Stdio::null() });
    let mut child =
        command.spawn().map_err(|error| format!("Error starting handler: {}", wish.script.explain(&error)))?;
    let status = tokio::select! {
        biased;
        status = child.wait() => Some(status),
        () = keys.lost(wish.retries) => None,
        () = keys.keep_alive() => None,
        () = asked_to_stop() => None,
    };
    let status = match status {
        Some(status) => status,
        None => end(&mut child).await,
    };
    let status = status.map_err(|error| format!("Error running handler: {error}"))?;
    explain(status).map_or(Ok(()), |reason| Err(format!("Error running handler: {reason}")))
}

/// Asks a program to end, and ends it when it takes too long.
async fn end(child: &mut Child) -> std::io::Result<ExitStatus> {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It may have ended just now.
        let _ = kill_process(pid, Signal::TERM);
    }
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
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

async fn asked_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
