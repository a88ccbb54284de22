//! Checks an operator writes: plugins here, scripts in Consul, a hundred runs a second of one that does nothing.
//!
//! What native checks notice of it is seen by the servers they ask. Loading and memory are told by an agent that
//! found compiled code of an earlier start.

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use real::guests::{another_version, guest};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::options::{Kind, Options};
use crate::process::Usage;
use crate::report::{CPU, EACH, Figure, SHARE, TIME, WORST};
use crate::subject::{Mode, Subject, Target, data_folder};

/// The line of the checks.
pub const CHECKS: &str = "100 checks a second that do nothing";
/// The line of checks so many that the agent is awake and its caches are warm.
pub const WARM: &str = "1 000 checks a second that do nothing";
/// The line of native checks beside them.
pub const NATIVE: &str = "10 TCP checks meanwhile, off their interval";
/// The line of loading.
pub const LOAD: &str = "load a plugin that was compiled before";
/// The line of what a loaded plugin takes.
pub const LOADED: &str = "a plugin that is loaded and idle";

/// Checks, each run once in an [`INTERVAL`].
const COUNT: u32 = 100;
/// The same for [`WARM`].
const WARM_COUNT: u32 = 1000;
/// Native checks beside them.
const NATIVE_COUNT: u32 = 10;
/// The shortest that Consul takes for scripts.
const INTERVAL: Duration = Duration::from_secs(1);
/// From the first run of all checks until they are watched.
const WARM_UP: Duration = Duration::from_secs(3);
/// Clock ticks are 10 ms, so a shorter time says little of an agent that uses a hundredth of it.
const WATCHED: Duration = Duration::from_secs(15);
/// Plugins of an agent whose memory is looked at.
const PLUGINS: u8 = 20;

fn figure(line: &'static str, metric: crate::report::Metric, value: f64) -> Figure {
    Figure { line, metric, value }
}

/// Checks with both; a thousand of them and loading are lictor's alone.
pub fn plugin(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut figures = checks(options, kind)?;
    if kind == Kind::Lictor {
        figures.push(warm(options)?);
        figures.extend(loaded(options)?);
    }
    Ok(figures)
}

/// An agent at rest, then the same with its checks.
fn checks(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let files = tempfile::Builder::new().prefix("plugins-").tempdir_in(data_folder()?)?;
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    let (more, check) = match kind {
        Kind::Consul => ("enable_script_checks = true".to_owned(), json!({"Args": ["/bin/true"]})),
        _ => (declared(&files, "trivial", 1)?, json!({"Plugin": "trivial-0"})),
    };
    subject.configure(options, &more)?;
    if kind == Kind::Lictor {
        serving(&mut subject, 1)?;
    }
    subject.settle()?;
    let before = subject.usage()?;
    subject.pause(WATCHED);
    let at_rest = cpu(before, subject.usage()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let servers = runtime.block_on(servers())?;
    for number in 0..COUNT {
        register(&mut subject, &format!("does-nothing-{number}"), &check)?;
    }
    for (number, server) in servers.iter().enumerate() {
        register(&mut subject, &format!("native-{number}"), &json!({"TCP": server.local_addr()?.to_string()}))?;
    }
    let passing = |body: &[u8]| count(body, br#""Status":"passing""#) == (COUNT + NATIVE_COUNT) as usize;
    subject.wait_until("/v1/agent/checks", passing)?;
    let watched = runtime.block_on(watch(servers, &subject))?;
    // Both stand still for a run, which is much shorter than an interval.
    let runs = f64::from(COUNT) * WATCHED.as_secs_f64() / INTERVAL.as_secs_f64();
    let spent = watched.cpu.saturating_sub(at_rest).as_secs_f64();
    Ok(vec![
        figure(CHECKS, CPU, spent * 1e6 / runs),
        figure(CHECKS, SHARE, 100.0 * spent / WATCHED.as_secs_f64()),
        figure(NATIVE, WORST, watched.off.as_secs_f64() * 1e3),
    ])
}

/// An agent with so many checks that one follows the other.
fn warm(options: &Options) -> io::Result<Figure> {
    let files = tempfile::Builder::new().prefix("plugins-").tempdir_in(data_folder()?)?;
    let mut subject = Subject::ready(options, Kind::Lictor, Mode::Quick)?;
    subject.configure(options, &declared(&files, "trivial", 1)?)?;
    serving(&mut subject, 1)?;
    for number in 0..WARM_COUNT {
        register(&mut subject, &format!("does-nothing-{number}"), &json!({"Plugin": "trivial-0"}))?;
    }
    let passing = |body: &[u8]| count(body, br#""Status":"passing""#) == WARM_COUNT as usize;
    subject.wait_until("/v1/agent/checks", passing)?;
    subject.pause(WARM_UP);
    let before = subject.usage()?;
    subject.pause(WATCHED);
    let spent = cpu(before, subject.usage()?).as_secs_f64();
    let runs = f64::from(WARM_COUNT) * WATCHED.as_secs_f64() / INTERVAL.as_secs_f64();
    Ok(figure(WARM, CPU, spent * 1e6 / runs))
}

/// The agent's own time and that of the scripts it started.
fn cpu(before: Usage, after: Usage) -> Duration {
    after.cpu + after.children - before.cpu - before.children
}

fn count(body: &[u8], part: &[u8]) -> usize {
    body.windows(part.len()).filter(|window| *window == part).count()
}

fn register(subject: &mut Subject, name: &str, what: &Value) -> io::Result<()> {
    let mut check = what.clone();
    check["Name"] = name.into();
    check["Interval"] = format!("{}s", INTERVAL.as_secs()).into();
    subject.caller.put("/v1/agent/check/register", check.to_string().as_bytes()).map(drop)
}

/// What native checks connect to.
async fn servers() -> io::Result<Vec<TcpListener>> {
    let mut servers = Vec::new();
    for _ in 0..NATIVE_COUNT {
        servers.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    }
    Ok(servers)
}

/// What was seen while all checks ran.
struct Watched {
    cpu: Duration,
    /// The most by which the time from a native check's run to its next was not its interval.
    off: Duration,
}

async fn watch(servers: Vec<TcpListener>, subject: &Subject) -> io::Result<Watched> {
    let from = Instant::now() + WARM_UP;
    let mut seen = JoinSet::new();
    for server in servers {
        seen.spawn(off_interval(server, from, from + WATCHED));
    }
    tokio::time::sleep_until(from).await;
    let before = subject.usage()?;
    tokio::time::sleep_until(from + WATCHED).await;
    let cpu = cpu(before, subject.usage()?);
    let mut off = Duration::ZERO;
    while let Some(one) = seen.join_next().await {
        off = off.max(one.map_err(io::Error::other)??);
    }
    Ok(Watched { cpu, off })
}

/// Takes connections until a time, and returns the most by which two that follow each other were not an interval apart.
async fn off_interval(server: TcpListener, from: Instant, until: Instant) -> io::Result<Duration> {
    let (mut off, mut runs, mut last) = (Duration::ZERO, 0, None::<Instant>);
    while let Ok(accepted) = timeout_at(until, server.accept()).await {
        drop(accepted?);
        let now = Instant::now();
        if let Some(last) = last.filter(|last| *last >= from) {
            off = off.max((now - last).abs_diff(INTERVAL));
            runs += 1;
        }
        last = Some(now);
    }
    match runs {
        0 => Err(io::Error::other("a TCP check did not run")),
        _ => Ok(off.max(last.map_or(Duration::ZERO, |last| (until - last).saturating_sub(INTERVAL)))),
    }
}

/// Two starts of an agent, without plugins and with some whose code the start before compiled.
fn loaded(options: &Options) -> io::Result<Vec<Figure>> {
    let files = tempfile::Builder::new().prefix("plugins-").tempdir_in(data_folder()?)?;
    let mut subject = Subject::ready(options, Kind::Lictor, Mode::Quick)?;
    subject.configure(options, "")?;
    subject.settle()?;
    let without = subject.usage()?;
    // The largest there is of tests/guests, with more code than a check of that size would have.
    let more = declared(&files, "hostile", PLUGINS)?;
    subject.configure(options, &more)?;
    serving(&mut subject, PLUGINS)?;
    subject.configure(options, &more)?;
    let loads_ms = serving(&mut subject, PLUGINS)?;
    subject.settle()?;
    let with = subject.usage()?;
    let kib = (with.resident as f64 - without.resident as f64) / 1024.0;
    let slowest_ms = loads_ms.into_iter().fold(0.0, f64::max);
    Ok(vec![figure(LOAD, TIME, slowest_ms), figure(LOADED, EACH, kib / f64::from(PLUGINS))])
}

/// Writes different versions of a guest, and the configuration that declares them.
fn declared(files: &TempDir, name: &str, versions: u8) -> io::Result<String> {
    let component = guest(name);
    let mut more = String::new();
    for version in 0..versions {
        let path = files.path().join(format!("{name}-{version}.wasm"));
        std::fs::write(&path, another_version(&component, version))?;
        let path: &Path = &path;
        writeln!(more, "plugin \"{name}-{version}\" {{ path = {path:?} }}")
            .expect("a string takes all that is written");
    }
    Ok(more)
}

/// Waits until all plugins serve; how long each took to load, in milliseconds.
fn serving(subject: &mut Subject, plugins: u8) -> io::Result<Vec<f64>> {
    let loads_ms = |body: &[u8]| -> Option<Vec<f64>> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let each = body.as_array()?.iter().map(|plugin| plugin["Serving"]["LoadMs"].as_f64());
        each.collect::<Option<Vec<f64>>>().filter(|each| each.len() == usize::from(plugins))
    };
    subject.wait_until("/v1/agent/plugins", |body| loads_ms(body).is_some())?;
    let body = subject.caller.get("/v1/agent/plugins")?;
    loads_ms(&body).ok_or_else(|| io::Error::other("a plugin that served does not any more"))
}
