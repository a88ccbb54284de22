//! Cases of command lines: files of what is typed and what comes back, told to an agent.
//!
//! Owns the format that `tests/cases/cli/README.md` explains: reading it,
//! running it, comparing, and writing a file again with what was answered. It
//! knows no command and decides nothing about which agent is right.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;

use crate::agent::Binary;
use crate::http::Connection;

/// A line of a case file that does something, or a remark between them.
enum Step {
    Remark(String),
    File { name: String, text: Vec<String> },
    Request { line: String },
    Run(Run),
}

/// A command line with what comes back.
struct Run {
    line: String,
    /// Whether Consul is not asked.
    ours_alone: bool,
    /// From Consul, and from lictor too unless `ours` says otherwise.
    expected: Vec<String>,
    /// Why lictor differs, and what comes back from it.
    ours: Option<(String, Vec<String>)>,
}

/// Where cases run: a binary called `consul`, an agent, a folder of their own.
pub struct Bench {
    /// The agent that commands talk to.
    pub address: Ipv4Addr,
    /// Where commands run, and where files of the cases are.
    pub folder: PathBuf,
    binary: Binary,
    variables: Vec<(String, String)>,
}

impl Bench {
    /// A bench in `folder`, which is empty and may be written to.
    pub fn new(binary: Binary, address: Ipv4Addr, folder: &Path) -> Bench {
        let tools = folder.join("bin");
        fs::create_dir(&tools).expect("the folder is empty and writable");
        symlink(binary.path(), tools.join("consul")).expect("the folder is writable");
        let path = format!("{}:/usr/bin:/bin", tools.display());
        let variables = [
            ("PATH", path),
            ("HOME", folder.display().to_string()),
            ("CONSUL_HTTP_ADDR", format!("{address}:8500")),
            ("address", address.to_string()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        Bench { address, folder: folder.to_owned(), binary, variables }
    }

    /// Runs every case of a file; the differences as text, and the file as it should read for this agent.
    pub fn replay(&mut self, text: &str) -> (Vec<String>, String) {
        let (mut differences, mut recorded) = (Vec::new(), String::new());
        for mut step in read(text) {
            match &mut step {
                Step::Remark(_) => {}
                Step::File { name, text } => {
                    let text: String = text.iter().map(|line| format!("{line}\n")).collect();
                    fs::write(self.folder.join(name), text).expect("the folder is writable");
                }
                Step::Request { line } => self.request(line),
                Step::Run(run) => differences.extend(self.check(run)),
            }
            step.write(&mut recorded);
        }
        (differences, recorded)
    }

    fn request(&mut self, line: &str) {
        let (line, variable) = match line.split_once(" -> ") {
            Some((line, variable)) => (line, Some(variable)),
            None => (line, None),
        };
        let mut words = line.splitn(3, ' ');
        let (method, path, body) = (words.next(), words.next(), words.next().unwrap_or_default());
        let (method, path) = method.zip(path).expect("a request has a method and a path");
        let mut connection = Connection::open(self.address).expect("the agent listens");
        let response = connection.request(method, path, body.as_bytes()).expect("the agent answers");
        assert_eq!(response.status, 200, "{line}: {}", response.text());
        if let Some(name) = variable {
            let answer: serde_json::Value = serde_json::from_slice(&response.body).expect("the answer is JSON");
            let id = answer["ID"].as_str().expect("the answer has an ID").to_owned();
            self.variables.push((name.to_owned(), id));
        }
    }

    /// Runs a command line; when something else comes back, the difference, and `run` says from now on what came.
    fn check(&self, run: &mut Run) -> Option<String> {
        if run.ours_alone && self.binary == Binary::Consul {
            return None;
        }
        let got = self.run(&run.line);
        let expected = match (&mut run.ours, self.binary) {
            (Some((_, ours)), Binary::Lictor | Binary::Peer) => ours,
            (Some(_), Binary::Consul) | (None, _) => &mut run.expected,
        };
        if self.matches(expected, &got) {
            return None;
        }
        let (wanted, shown) = (expected.join("\n"), got.join("\n"));
        *expected = got.iter().map(|line| self.generalized(line)).collect();
        Some(format!("$ {}\n--- expected\n{wanted}\n--- got\n{shown}\n", run.line))
    }

    /// Runs a line in a shell; its output in the notation of the case files.
    fn run(&self, line: &str) -> Vec<String> {
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("there is a shell");
        let mut lines = notation("  ", &output.stdout);
        lines.extend(notation("! ", &output.stderr));
        match output.status.code() {
            Some(0) => {}
            Some(code) => lines.push(format!("= {code}")),
            None => lines.push("= signal".to_owned()),
        }
        lines
    }

    fn matches(&self, expected: &[String], got: &[String]) -> bool {
        let patterns: Vec<String> = expected.iter().map(|line| self.pattern(line)).collect();
        let pattern = Regex::new(&format!(r"\A{}\z", patterns.concat())).expect("patterns are escaped");
        let text: String = got.iter().map(|line| format!("{line}\n")).collect();
        pattern.is_match(&text)
    }

    fn pattern(&self, line: &str) -> String {
        let marker = &line[..line.len().min(2)];
        if line[marker.len()..] == *"«lines»" {
            return format!("(?:{}.*\n)*", regex::escape(marker));
        }
        let mut pattern = String::new();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('«') {
            let (name, after) = after.split_once('»').expect("« ends with »");
            pattern.push_str(&regex::escape(before));
            pattern.push_str(&match name {
                "" => String::new(),
                "any" => ".*".to_owned(),
                "number" => "[0-9]+".to_owned(),
                "uuid" => UUID.to_owned(),
                "address" => regex::escape(&self.address.to_string()),
                "folder" => regex::escape(&self.folder.display().to_string()),
                other => panic!("there is no «{other}»: {line}"),
            });
            rest = after;
        }
        format!("{pattern}{}\n", regex::escape(rest))
    }

    /// A line that came, with what differs from run to run replaced.
    fn generalized(&self, line: &str) -> String {
        let line = line.replace(&self.folder.display().to_string(), "«folder»");
        let line = line.replace(&self.address.to_string(), "«address»");
        Regex::new(UUID).expect("the pattern is well formed").replace_all(&line, "«uuid»").into_owned()
    }
}

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

fn notation(marker: &str, output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let mut lines: Vec<String> = text.lines().map(|line| format!("{marker}{line}")).collect();
    if let (Some(last), false) = (lines.last_mut(), text.ends_with('\n')) {
        last.push('\\');
    }
    lines
}

fn read(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let (marker, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        match (marker, steps.last_mut()) {
            ("$ " | "% ", _) => {
                let (line, ours_alone) = (rest.to_owned(), marker == "% ");
                steps.push(Step::Run(Run { line, ours_alone, expected: Vec::new(), ours: None }));
            }
            ("~ ", Some(Step::Run(run))) => run.ours = Some((rest.to_owned(), Vec::new())),
            ("> ", _) => steps.push(Step::Request { line: rest.to_owned() }),
            ("@ ", _) => steps.push(Step::File { name: rest.to_owned(), text: Vec::new() }),
            ("< " | "<", Some(Step::File { text, .. })) => text.push(rest.to_owned()),
            ("  " | "! " | "= ", Some(Step::Run(run))) => {
                run.ours.as_mut().map_or(&mut run.expected, |(_, lines)| lines).push(line.to_owned());
            }
            ("# " | "#" | "", _) => steps.push(Step::Remark(line.to_owned())),
            _ => panic!("not a line of a case: {line:?}"),
        }
    }
    steps
}

impl Step {
    fn write(&self, text: &mut String) {
        match self {
            Step::Remark(line) => text.push_str(&format!("{line}\n")),
            Step::Request { line } => text.push_str(&format!("> {line}\n")),
            Step::File { name, text: lines } => {
                text.push_str(&format!("@ {name}\n"));
                lines.iter().for_each(|line| text.push_str(&format!("< {line}\n")));
            }
            Step::Run(Run { line, ours_alone, expected, ours }) => {
                text.push_str(&format!("{} {line}\n", if *ours_alone { '%' } else { '$' }));
                expected.iter().for_each(|line| text.push_str(&visible(line)));
                if let Some((reason, lines)) = ours {
                    text.push_str(&format!("~ {reason}\n"));
                    lines.iter().for_each(|line| text.push_str(&visible(line)));
                }
            }
        }
    }
}

/// A line of output, its end marked when a blank there could not be seen.
fn visible(line: &str) -> String {
    format!("{line}{}\n", if line.ends_with([' ', '\t']) { "«»" } else { "" })
}
