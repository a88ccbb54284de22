//! What is done with news: a script that reads them on its standard input, or an HTTP request that carries them.
//!
//! Owns how handlers are written and how scripts run. A handler runs to its
//! end before the watch asks again. The agent kills one whose watch is dropped;
//! the command `watch` leaves one behind that does not end with it.

use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agent_core::duration;
use agent_core::health::spec::{CheckKind, CheckSpec, TlsOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Fields;

/// The most of a script's output that is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 4 * 1024;

/// How long an HTTP handler may take, unless configured.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// What is done with news.
#[derive(Clone, Debug, PartialEq)]
pub enum Handler {
    /// Runs a script.
    Script(Script),
    /// Sends an HTTP request.
    Http(HttpTarget),
}

/// A process to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Lets a shell read them.
    pub shell: bool,
}

/// Where an HTTP request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpTarget {
    /// The URL.
    pub url: String,
    /// The method; `POST` unless configured.
    pub method: String,
    /// More headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// How long it may take.
    pub timeout: Duration,
    /// Accepts any certificate.
    pub skip_verify: bool,
}

impl Handler {
    /// Takes the fields of a handler.
    ///
    /// # Errors
    /// In Consul's words: none or two of them, one of an unknown type, or one that lacks something.
    pub fn take(fields: &mut Fields) -> Result<Handler, String> {
        let (kind, line, args) = (fields.text("handler_type")?, fields.text("handler")?, fields.texts("args")?);
        match (kind.as_str(), line, args) {
            ("" | "script", line, Some(_)) if !line.is_empty() => Err("Only one watch handler allowed".to_owned()),
            ("" | "script", line, None) if !line.is_empty() => {
                Ok(Handler::Script(Script { args: vec![line], shell: true }))
            }
            ("" | "script", _, Some(args)) if !args.is_empty() => Ok(Handler::Script(Script { args, shell: false })),
            ("" | "script", ..) => Err("Must define a watch handler".to_owned()),
            ("http", ..) => {
                let mut config = fields
                    .object("http_handler_config")
                    .ok_or("Handler type 'http' requires 'http_handler_config' to be set")?;
                let target = HttpTarget::take(&mut config);
                target.map(Handler::Http).map_err(|error| format!("Failed to parse 'http_handler_config': {error}"))
            }
            (other, ..) => Err(format!("Handler type '{other}' not recognized")),
        }
    }

    /// What it is called in the log.
    pub fn name(&self) -> String {
        match self {
            Handler::Script(script) => script.args.join(" "),
            Handler::Http(target) => target.url.clone(),
        }
    }
}

impl HttpTarget {
    fn take(fields: &mut Fields) -> Result<HttpTarget, String> {
        let url = fields.text("path")?;
        if url.is_empty() {
            return Err("Requires 'path' to be set".to_owned());
        }
        let method = Some(fields.text("method")?).filter(|method| !method.is_empty());
        let timeout = fields.text("timeout")?;
        let timeout = match timeout.as_str() {
            "" => HTTP_TIMEOUT,
            text => {
                let ms = duration::parse_ms(text).map_err(|error| format!("timeout {text:?}: {error}"))?;
                Duration::from_millis(ms)
            }
        };
        let mut header = BTreeMap::new();
        if let Some(mut written) = fields.object("header") {
            for name in written.0.keys().cloned().collect::<Vec<_>>() {
                let values = written.texts(&name)?.unwrap_or_default();
                header.insert(name, values);
            }
        }
        let skip_verify = fields.bool("tls_skip_verify")?;
        Ok(HttpTarget { url, method: method.unwrap_or_else(|| "POST".to_owned()), header, timeout, skip_verify })
    }

    /// The request that carries `body`, as a health check: what answers with success has taken it.
    pub fn request(&self, index: u64, body: String) -> CheckSpec {
        let mut header = self.header.clone();
        header.insert("Content-Type".to_owned(), vec!["application/json".to_owned()]);
        header.insert("X-Consul-Index".to_owned(), vec![index.to_string()]);
        let kind = CheckKind::Http {
            url: self.url.clone(),
            method: self.method.clone(),
            header,
            body,
            disable_redirects: false,
            tls: TlsOptions { server_name: String::new(), skip_verify: self.skip_verify },
        };
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        CheckSpec { timeout_ms, output_bytes_max: OUTPUT_BYTES_MAX, ..CheckSpec::new("watch", kind) }
    }
}

/// What became of a script.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The beginning of what it printed, when that was caught.
    pub output: String,
}

impl Ran {
    /// Whether it went well.
    ///
    /// # Errors
    /// `exit status 3`, as Go says it.
    pub fn result(&self) -> Result<(), String> {
        match self.code {
            Some(0) => Ok(()),
            Some(code) => Err(format!("exit status {code}")),
            None => Err("signal: killed".to_owned()),
        }
    }
}

impl Script {
    /// Runs it to its end with `input` on its standard input and `CONSUL_INDEX` in its environment. Catches its output.
    ///
    /// # Errors
    /// It can't be started, in Go's words.
    pub async fn run(&self, index: Option<u64>, input: &[u8]) -> Result<Ran, String> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.start(command, index)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let (status, (), ()) = tokio::join!(
            feed(&mut child, input),
            keep_beginning(stdout, &mut output),
            keep_beginning(stderr, &mut errors)
        );
        output.extend(errors);
        output.truncate(OUTPUT_BYTES_MAX);
        let code = status.map_err(|error| error.to_string())?.code();
        Ok(Ran { code, output: String::from_utf8_lossy(&output).into_owned() })
    }

    /// Starts its process with `CONSUL_INDEX` in its environment, to be fed.
    ///
    /// # Errors
    /// It can't be started, in Go's words.
    pub fn start(&self, mut command: Command, index: Option<u64>) -> Result<Child, String> {
        if let Some(index) = index {
            command.env("CONSUL_INDEX", index.to_string());
        }
        command.stdin(Stdio::piped()).spawn().map_err(|error| self.explain(&error))
    }

    /// The process, not started.
    pub fn command(&self) -> Command {
        if self.shell {
            let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
            let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".to_owned()));
            command.arg("-c").arg(self.args.join(" "));
            return command;
        }
        let (program, args) = self.args.split_first().map_or(("", &[][..]), |(program, args)| (program.as_str(), args));
        let mut command = Command::new(program);
        command.args(args);
        command
    }

    /// Why it did not start, in Go's words.
    pub fn explain(&self, error: &io::Error) -> String {
        let program = self.args.first().map(String::as_str).unwrap_or_default();
        match error.kind() {
            io::ErrorKind::NotFound if !program.contains('/') => {
                format!("exec: {program:?}: executable file not found in $PATH")
            }
            _ => format!("fork/exec {program}: {}", crate::cli::client::go_io_error(error)),
        }
    }
}

/// Hands a script its input, and waits for its end.
///
/// # Errors
/// The system can't tell how it ended.
pub async fn feed(child: &mut Child, input: &[u8]) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let fed = async {
        if let Some(mut stdin) = stdin {
            // A script may end without having read everything.
            let _ = stdin.write_all(input).await;
        }
    };
    let (status, ()) = tokio::join!(child.wait(), fed);
    status
}

/// Reads everything, so that the script never waits, and keeps the beginning.
async fn keep_beginning(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 1024];
    while let Ok(size) = from.read(&mut chunk).await {
        if size == 0 {
            return;
        }
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(size);
        kept.extend_from_slice(&chunk[..room]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(line: &str) -> Script {
        Script { args: ["sh", "-c", line].map(str::to_owned).to_vec(), shell: false }
    }

    #[tokio::test]
    async fn a_script_reads_the_news_and_their_index() {
        let ran = script("echo $CONSUL_INDEX; cat; echo oops >&2; exit 3").run(Some(7), b"news").await;
        let ran = ran.expect("sh is there");
        assert_eq!((ran.output.as_str(), ran.result()), ("7\nnewsoops\n", Err("exit status 3".to_owned())));
    }

    #[tokio::test]
    async fn much_output_and_unread_input_are_no_obstacle() {
        let ran = script("yes | head -c 1000000").run(None, &[b'x'; 1_000_000]).await.expect("sh is there");
        assert_eq!((ran.output.len(), ran.code), (OUTPUT_BYTES_MAX, Some(0)));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_said_in_gos_words() {
        let missing = |program: &str| Script { args: vec![program.to_owned()], shell: false };
        let error = missing("/nope").run(None, b"").await.expect_err("it is not there");
        assert_eq!(error, "fork/exec /nope: no such file or directory");
        let error = missing("no-such-program").run(None, b"").await.expect_err("it is not there");
        assert_eq!(error, "exec: \"no-such-program\": executable file not found in $PATH");
    }
}
