//! Script checks: a process whose exit code is the result.
//!
//! The process leads a group of its own; at the timeout, or when the run is
//! called off, the whole group is killed. Output of both streams is taken in
//! the order it was written, and only its end is kept.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agent_core::health::spec::Outcome;
use agent_core::health::text;
use agent_core::state::tables::Status;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout_at;

use super::critical;
use super::dial::os_text;
use super::tail::Tail;

/// How long a killed group gets to let go of the output.
const KILLED_GRACE: Duration = Duration::from_secs(1);

pub(super) async fn probe(args: &[String], timeout: Duration, output_bytes_max: usize) -> Outcome {
    let Some(program) = args.first() else { return critical("exec: no command".to_owned()) };
    let (mut child, mut output) = match spawn(args) {
        Ok(started) => started,
        Err(error) => return critical(explain(program, &error)),
    };
    let group = Group::of(&child);
    let deadline = tokio::time::Instant::now() + timeout;
    let mut tail = Tail::new(output_bytes_max);
    match timeout_at(deadline, run(&mut child, &mut output, &mut tail)).await {
        Ok(Ok(exit)) => {
            group.leave_alone();
            Outcome { status: status_of(exit), output: printed(&tail, output_bytes_max) }
        }
        Ok(Err(error)) => critical(explain(program, &error)),
        Err(_) => {
            drop(group);
            // What the process printed before it was killed is still in the pipe.
            let _ = tokio::time::timeout(KILLED_GRACE, run(&mut child, &mut output, &mut tail)).await;
            critical(text::timed_out(timeout, &printed(&tail, output_bytes_max)))
        }
    }
}

fn spawn(args: &[String]) -> io::Result<(Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&args[0]);
    command
        .args(&args[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(writer.try_clone()?)))
        .stderr(Stdio::from(OwnedFd::from(writer)))
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn()?;
    // `command` holds the writing ends: the pipe ends only when they are closed.
    drop(command);
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Waits until nobody can write any more, then for the exit code.
async fn run(child: &mut Child, output: &mut pipe::Receiver, tail: &mut Tail) -> io::Result<ExitStatus> {
    let mut chunk = [0; 4096];
    loop {
        match output.read(&mut chunk).await? {
            0 => break,
            read => tail.push(&chunk[..read]),
        }
    }
    child.wait().await
}

fn status_of(exit: ExitStatus) -> Status {
    match exit.code() {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        Some(_) | None => Status::Critical,
    }
}

fn printed(tail: &Tail, output_bytes_max: usize) -> String {
    text::captured(&tail.text(), output_bytes_max, tail.total())
}

fn explain(program: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        format!("exec: {program:?}: executable file not found in $PATH")
    } else {
        format!("fork/exec {program}: {}", os_text(error))
    }
}

/// Kills a process group when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    fn leave_alone(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // The group may have ended by itself just now: then there is nothing to kill.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
