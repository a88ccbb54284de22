//! Log lines: one format for people, one for machines, one writer thread.
//!
//! `2026-01-02T15:04:05.000Z [INFO]  agent: message: key=value`, or one JSON
//! object a line with `@level`, `@message`, `@module`, `@timestamp`, as Consul
//! writes them. Lines go to standard output, to a file with rotation, and to
//! whoever follows `/v1/agent/monitor`. A writer that can't keep up costs lines
//! (they are counted and reported), never time.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use serde_json::{Map, Value};
use tokio::sync::mpsc::error::TrySendError;
use tracing::field::{Field, Visit};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::log_file::LogFile;
use crate::env::Clock;

/// Lines waiting for the writer thread before new ones are dropped.
const QUEUE_LINES: usize = 4096;

/// Lines waiting for one follower of the monitor before new ones are dropped (Consul's figure).
const FOLLOWER_LINES: usize = 512;

/// How much is logged. Ordered from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Odd but working.
    Warn,
    /// An operator would want to know.
    Info,
    /// For finding out why.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Reads a level as flags and files write it, whatever the case (`err` is Consul's old word).
    pub fn parse(text: &str) -> Option<Level> {
        match text.to_ascii_uppercase().as_str() {
            "TRACE" => Some(Level::Trace),
            "DEBUG" => Some(Level::Debug),
            "INFO" => Some(Level::Info),
            "WARN" => Some(Level::Warn),
            "ERR" | "ERROR" => Some(Level::Error),
            _ => None,
        }
    }

    fn of(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        }
    }

    /// The level in brackets, padded so that messages line up.
    fn tag(self) -> &'static str {
        match self {
            Level::Error => "[ERROR]",
            Level::Warn => "[WARN] ",
            Level::Info => "[INFO] ",
            Level::Debug => "[DEBUG]",
            Level::Trace => "[TRACE]",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// Where lines go and which.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The least important level that is written.
    pub level: Level,
    /// One JSON object a line.
    pub json: bool,
    /// Also write to files called after this one and the time they were begun; a path that ends in `/` is a folder.
    pub file: Option<PathBuf>,
    /// What files are called when only their folder is given.
    pub stem: String,
    /// Start a new file past this size in bytes, zero for never.
    pub rotate_bytes: u64,
    /// Start a new file after this time, in milliseconds; zero for never.
    pub rotate_ms: u64,
    /// How many old files to keep: negative for all but the current, zero for all.
    pub rotate_files_max: i64,
}

/// The log of this process: changes its level and follows it.
#[derive(Clone)]
pub struct LogStream {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    level: AtomicU8,
    /// The most that the console or a follower wants, so that lines nobody wants cost one load.
    most: AtomicU8,
    json: bool,
    writer: mpsc::SyncSender<Line>,
    dropped: AtomicU64,
    followers: Mutex<Vec<Follower>>,
}

struct Follower {
    level: Level,
    json: bool,
    lines: tokio::sync::mpsc::Sender<String>,
}

enum Line {
    Text(String),
    /// Not for the log file.
    Console(String),
    /// Write everything before this, then say so.
    Flush(mpsc::Sender<()>),
}

impl LogStream {
    /// Installs the log for this process. Call once, before the first event.
    ///
    /// # Errors
    /// The log file can't be opened, or a log is already installed.
    pub fn install(options: &LogOptions, clock: Arc<dyn Clock>) -> io::Result<LogStream> {
        let (stream, layer) = LogStream::build(options, clock, Box::new(io::stdout()))?;
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(stream)
    }

    fn build(
        options: &LogOptions,
        clock: Arc<dyn Clock>,
        console: Box<dyn io::Write + Send>,
    ) -> io::Result<(LogStream, LogLayer)> {
        let file = options.file.as_deref().map(|path| LogFile::open(path, options, &*clock)).transpose()?;
        let (writer, lines) = mpsc::sync_channel(QUEUE_LINES);
        let shared = Arc::new(Shared {
            clock: Arc::clone(&clock),
            level: AtomicU8::new(options.level as u8),
            most: AtomicU8::new(options.level as u8),
            json: options.json,
            writer,
            dropped: AtomicU64::new(0),
            followers: Mutex::new(Vec::new()),
        });
        if let Some(record) = shared.left_out(options.level, STATIC_MAX_LEVEL) {
            shared.write(Line::Text(record.line(options.json, "    ")));
        }
        let writer = Writer { console, file, clock };
        thread::Builder::new().name("log".to_owned()).stack_size(128 * 1024).spawn(move || writer.run(&lines))?;
        Ok((LogStream { shared: Arc::clone(&shared) }, LogLayer { shared }))
    }

    /// Changes what is written from now on.
    pub fn set_level(&self, level: Level) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
        self.shared.weigh(&mut self.shared.followers());
    }

    /// Lines from now on at `level` and above. Dropping the receiver stops following.
    pub fn follow(&self, level: Level, json: bool) -> tokio::sync::mpsc::Receiver<String> {
        let (lines, receiver) = tokio::sync::mpsc::channel(FOLLOWER_LINES);
        if let Some(record) = self.shared.left_out(level, STATIC_MAX_LEVEL) {
            // A new channel has room.
            lines.try_send(record.line(json, "")).ok();
        }
        let mut followers = self.shared.followers();
        followers.push(Follower { level, json, lines });
        self.shared.weigh(&mut followers);
        drop(followers);
        receiver
    }

    /// Writes a text as it is, and to the console alone: the start-up banner is no line of the log.
    pub fn print(&self, text: &str) {
        self.shared.write(Line::Console(text.to_owned()));
    }

    /// Returns when every line so far has been written.
    pub fn flush(&self) {
        let (done, written) = mpsc::channel();
        if self.shared.writer.send(Line::Flush(done)).is_ok() {
            // An error means the writer is gone, and with it anything to wait for.
            let _ = written.recv();
        }
    }
}

impl Shared {
    fn wants(&self, level: Level, target: &str) -> bool {
        level as u8 <= self.most.load(Ordering::Relaxed) && is_ours(level, target)
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Follower>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets followers that are gone, and what only they wanted.
    fn weigh(&self, followers: &mut Vec<Follower>) {
        followers.retain(|follower| !follower.lines.is_closed());
        let wanted = followers.iter().map(|follower| follower.level as u8).max().unwrap_or(0);
        self.most.store(wanted.max(self.level.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// What to tell whoever wants lines that this build has not got (the feature `terse`).
    fn left_out(&self, wanted: Level, most: LevelFilter) -> Option<Record> {
        let most = Level::of(most.into_level()?);
        let (wanted, most) = (wanted.word(), (wanted > most).then(|| most.word())?);
        let message =
            format!("log_level is {wanted}, and this build logs nothing below {most}: take a full build for that");
        Some(self.warning(message))
    }

    /// What the log has to say of itself.
    fn warning(&self, message: String) -> Record {
        let fields = Fields { message, pairs: Vec::new() };
        Record { at_ms: self.clock.wall_ms(), level: Level::Warn, module: "agent".to_owned(), fields }
    }

    /// Hands the line to whoever follows at its level.
    fn pass_on(&self, record: &Record) {
        let mut followers = self.followers();
        let mut gone = false;
        for follower in followers.iter().filter(|follower| record.level <= follower.level) {
            // A follower that can't keep up misses lines.
            gone |= matches!(follower.lines.try_send(record.line(follower.json, "")), Err(TrySendError::Closed(_)));
        }
        if gone {
            self.weigh(&mut followers);
        }
    }

    fn write(&self, line: Line) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let notice = self.warning(format!("{dropped} log lines were dropped: the output is too slow"));
            if self.writer.try_send(Line::Text(notice.line(self.json, "    "))).is_err() {
                self.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
        }
        if self.writer.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Other crates log for their own developers: only their warnings are shown, and of openraft, which warns of every
/// ordinary election, only its errors.
fn is_ours(level: Level, target: &str) -> bool {
    let least = if target.starts_with("openraft") { Level::Error } else { Level::Warn };
    target.starts_with("agent") || level <= least
}

struct LogLayer {
    shared: Arc<Shared>,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match is_ours(Level::of(*metadata.level()), metadata.target()) && metadata.is_event() {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shared.wants(Level::of(*metadata.level()), metadata.target())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = Level::of(*event.metadata().level());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let record =
            Record { at_ms: self.shared.clock.wall_ms(), level, module: module(event.metadata().target()), fields };
        if level as u8 <= self.shared.level.load(Ordering::Relaxed) {
            self.shared.write(Line::Text(record.line(self.shared.json, "    ")));
        }
        self.shared.pass_on(&record);
    }
}

/// The module name in a line, from the Rust path of the event: `agent_daemon::http::kv` is `agent.http`.
fn module(target: &str) -> String {
    let mut parts = target.split("::");
    match parts.next() {
        Some("agent_raft" | "openraft") => "agent.server.raft".to_owned(),
        Some("agent_daemon") => match parts.next() {
            None | Some("agent" | "sync" | "persist" | "checks" | "config") => "agent".to_owned(),
            Some("leader") => "agent.server".to_owned(),
            Some(room) => format!("agent.{room}"),
        },
        _ => target.replace("::", "."),
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    pairs: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.pairs.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.pairs.push((name, value.to_owned())),
        }
    }
}

struct Record {
    at_ms: u64,
    level: Level,
    module: String,
    fields: Fields,
}

impl Record {
    fn line(&self, json: bool, indent: &str) -> String {
        if json { self.json() } else { self.text(indent) }
    }

    fn text(&self, indent: &str) -> String {
        let Record { at_ms, level, module, fields } = self;
        let mut line = format!("{indent}{} {} {module}: {}", timestamp(*at_ms), level.tag(), escape(&fields.message));
        for (place, (name, value)) in fields.pairs.iter().enumerate() {
            let quoted = value.is_empty()
                || value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=' || c.is_control());
            let separator = if place == 0 { ":" } else { "" };
            // Writing to a String can't fail.
            let _ = if quoted {
                write!(line, "{separator} {name}={value:?}")
            } else {
                write!(line, "{separator} {name}={value}")
            };
        }
        line.push('\n');
        line
    }

    fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("@level".to_owned(), self.level.word().into());
        object.insert("@message".to_owned(), self.fields.message.as_str().into());
        object.insert("@module".to_owned(), self.module.as_str().into());
        object.insert("@timestamp".to_owned(), timestamp(self.at_ms).into());
        for (name, value) in &self.fields.pairs {
            object.insert((*name).to_owned(), value.as_str().into());
        }
        let mut line = Value::Object(object).to_string();
        line.push('\n');
        line
    }
}

/// A line as the log has it, of a command that has no log.
pub fn line(at_ms: u64, level: Level, module: &str, message: &str, pairs: Vec<(&'static str, String)>) -> String {
    let fields = Fields { message: message.to_owned(), pairs };
    Record { at_ms, level, module: module.to_owned(), fields }.text("")
}

/// Keeps one event on one line, so nothing from outside can forge another.
fn escape(message: &str) -> String {
    message.replace('\n', "\\n").replace('\r', "\\r")
}

fn timestamp(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

struct Writer {
    console: Box<dyn io::Write + Send>,
    file: Option<LogFile>,
    clock: Arc<dyn Clock>,
}

impl Writer {
    fn run(mut self, lines: &mpsc::Receiver<Line>) {
        while let Ok(line) = lines.recv() {
            match line {
                Line::Text(text) => self.write(&text),
                Line::Console(text) => self.show(&text),
                Line::Flush(done) => {
                    // Nobody to tell when the console is gone or the caller gave up.
                    let _ = self.console.flush();
                    let _ = done.send(());
                }
            }
        }
    }

    fn show(&mut self, text: &str) {
        // A closed console must not stop the log file, nor the agent.
        let _ = self.console.write_all(text.as_bytes()).and_then(|()| self.console.flush());
    }

    fn write(&mut self, text: &str) {
        self.show(text);
        if let Some(file) = &mut self.file
            && let Err(error) = file.write(text.trim_start(), &*self.clock)
        {
            let _ = writeln!(self.console, "==> could not write the log file {}: {error}", file.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn wall_ms(&self) -> u64 {
            1_767_366_245_007
        }
    }

    fn options(level: Level, json: bool) -> LogOptions {
        LogOptions {
            level,
            json,
            file: None,
            stem: "lictor".to_owned(),
            rotate_bytes: 0,
            rotate_ms: 0,
            rotate_files_max: 0,
        }
    }

    #[derive(Clone, Default)]
    struct Console(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Console {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test thread panics while writing").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(options: &LogOptions, emit: impl FnOnce(&LogStream)) -> String {
        let console = Console::default();
        let (stream, layer) =
            LogStream::build(options, Arc::new(Fixed), Box::new(console.clone())).expect("no file to open");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || emit(&stream));
        stream.flush();
        let bytes = console.0.lock().expect("no test thread panics while writing").clone();
        String::from_utf8(bytes).expect("lines are UTF-8")
    }

    #[test]
    fn a_line_looks_like_consuls() {
        let text = logged(&options(Level::Info, false), |_| {
            tracing::info!(target: "agent_daemon::agent", network = "tcp", error = "a b", "Started HTTP server");
            tracing::debug!(target: "agent_daemon::agent", "hidden");
        });
        assert_eq!(
            text,
            "    2026-01-02T15:04:05.007Z [INFO]  agent: Started HTTP server: network=tcp error=\"a b\"\n"
        );
    }

    #[test]
    fn a_command_without_a_log_writes_the_same_lines() {
        let pairs = vec![("type", "key".to_owned()), ("error", "no agent".to_owned())];
        let written = line(1_000, Level::Error, "watch.watch", "Watch errored", pairs);
        assert_eq!(
            written,
            "1970-01-01T00:00:01.000Z [ERROR] watch.watch: Watch errored: type=key error=\"no agent\"\n"
        );
    }

    #[test]
    fn a_json_line_has_consuls_keys() {
        let text = logged(&options(Level::Warn, true), |_| tracing::warn!(target: "agent_raft::log", n = 3, "slow"));
        let expected = r#"{"@level":"warn","@message":"slow","@module":"agent.server.raft","@timestamp":"2026-01-02T15:04:05.007Z","n":"3"}"#;
        assert_eq!(text, format!("{expected}\n"));
    }

    #[test]
    fn the_banner_is_for_the_console_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Some(folder.path().join("agent.log"));
        let text = logged(&LogOptions { file, ..options(Level::Info, true) }, |stream| {
            stream.print("==> Starting\n");
            tracing::info!(target: "agent_daemon::agent", "begun");
        });
        let line = r#"{"@level":"info","@message":"begun","@module":"agent","@timestamp":"2026-01-02T15:04:05.007Z"}"#;
        assert_eq!(text, format!("==> Starting\n{line}\n"));
        let file = std::fs::read_dir(folder.path()).expect("the folder").next().expect("a file").expect("an entry");
        assert_eq!(std::fs::read_to_string(file.path()).expect("the file"), format!("{line}\n"));
    }

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let text = logged(&options(Level::Info, false), |_| tracing::info!(target: "agent_daemon", "a\nb"));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_follower_sees_more_than_the_console() {
        let mut seen = None;
        let text = logged(&options(Level::Info, false), |stream| {
            let mut lines = stream.follow(Level::Debug, false);
            tracing::debug!(target: "agent_daemon::http::kv", "request");
            seen = lines.try_recv().ok();
        });
        assert_eq!(text, "");
        assert_eq!(seen.as_deref(), Some("2026-01-02T15:04:05.007Z [DEBUG] agent.http: request\n"));
    }

    #[test]
    fn what_only_a_follower_wanted_is_not_wanted_once_it_is_gone() {
        logged(&options(Level::Info, false), |stream| {
            let lines = stream.follow(Level::Debug, false);
            assert!(stream.shared.wants(Level::Debug, "agent_daemon::http"));
            drop(lines);
            tracing::debug!(target: "agent_daemon::http", "the first that finds nobody");
            assert!(!stream.shared.wants(Level::Debug, "agent_daemon::http"));
        });
    }

    #[test]
    fn a_follower_that_does_not_read_holds_nobody_up() {
        let mut seen = 0;
        let text = logged(&options(Level::Info, false), |stream| {
            let mut lines = stream.follow(Level::Info, false);
            for _ in 0..FOLLOWER_LINES + 10 {
                tracing::info!(target: "agent_daemon", "again");
            }
            while lines.try_recv().is_ok() {
                seen += 1;
            }
        });
        assert_eq!((seen, text.lines().count()), (FOLLOWER_LINES, FOLLOWER_LINES + 10));
    }

    #[test]
    fn absent_fields_leave_no_trace() {
        let text = logged(&options(Level::Info, false), |_| {
            let (service, check) = (None::<&str>, Some("c 1"));
            tracing::info!(target: "agent_daemon::sync", service, check, "Synced check");
        });
        assert_eq!(text.trim_start(), "2026-01-02T15:04:05.007Z [INFO]  agent: Synced check: check=\"c 1\"\n");
    }

    #[test]
    fn a_build_without_the_lines_that_are_wanted_says_so() {
        let (stream, _) =
            LogStream::build(&options(Level::Info, false), Arc::new(Fixed), Box::new(io::sink())).unwrap();
        let left_out = |wanted, most| stream.shared.left_out(wanted, most);

        let said = left_out(Level::Trace, LevelFilter::INFO).unwrap();

        let text = "log_level is trace, and this build logs nothing below info: take a full build for that";
        assert_eq!(said.line(false, ""), format!("2026-01-02T15:04:05.007Z [WARN]  agent: {text}\n"));
        let json: Value = serde_json::from_str(&said.line(true, "")).unwrap();
        assert_eq!((&json["@level"], &json["@message"]), (&"warn".into(), &text.into()));
        assert!(left_out(Level::Info, LevelFilter::INFO).is_none());
        assert!(left_out(Level::Trace, LevelFilter::TRACE).is_none());
    }
}
