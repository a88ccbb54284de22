//! A check that talks to a Redis server: AUTH if there is a password, PING, and a field of INFO held against limits.
//! The protocol is RESP 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), of which it reads four kinds of reply.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use lictor_plugin::{Context, Outcome, Result, Thresholds, bail, tcp};
use serde::Deserialize;

/// The most one run reads: INFO is some 5 KiB.
const READ_MAX: usize = 256 << 10;

#[derive(Deserialize)]
struct Config {
    address: String,
    username: Option<String>,
    password: Option<String>,
    password_env: Option<String>,
    field: Option<String>,
    equals: Option<String>,
    #[serde(flatten)]
    thresholds: Thresholds,
}

lictor_plugin::check! {
    summary: "Asks a Redis server for a PONG and a field of INFO.",
    schema: include_str!("../config.schema.json"),
    wants: { network: ["the server's address and port"], environment: ["the variable that `password_env` names"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let began = Instant::now();
    let stream = tcp::connect(&config.address, Duration::from_secs(5))?;
    let mut server = tcp::Bounded::new(stream, READ_MAX);
    if let Some(password) = password(&config)? {
        let mut words = vec!["AUTH"];
        words.extend(config.username.as_deref());
        words.push(&password);
        ask(&mut server, &words).context("could not sign in")?;
    }
    let pong = ask(&mut server, &["PING"]).context("PING failed")?;
    if pong != "PONG" {
        bail!("PING was answered with {pong:?}");
    }
    let took = began.elapsed().as_secs_f64();
    let outcome = match &config.field {
        Some(field) => judge(&config, field, &ask(&mut server, &["INFO", "everything"]).context("INFO failed")?)?,
        None => Outcome::passing(format!("PONG from {}", config.address)),
    };
    Ok(outcome.gauge("seconds", took))
}

fn password(config: &Config) -> Result<Option<String>> {
    match &config.password_env {
        Some(name) => {
            Ok(Some(std::env::var(name).with_context(|| format!("variable {name} is not set or not granted"))?))
        }
        None => Ok(config.password.clone()),
    }
}

/// Sends a command and reads its reply as text.
fn ask<S: Read + Write>(server: &mut tcp::Bounded<S>, words: &[&str]) -> Result<String> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    server.write_all(command.as_bytes())?;
    let line = server.line()?;
    let Some((kind, rest)) = line.split_at_checked(1) else { bail!("the server sent an empty line") };
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "-" => bail!("the server said {rest}"),
        "$" => {
            let length: usize =
                rest.parse().ok().filter(|length| *length < READ_MAX).context("the reply has no valid length")?;
            let bytes = server.exactly(length + 2)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        _ => bail!("what the server sent is not Redis's protocol"),
    }
}

/// Holds a field of INFO against what the config demands.
fn judge(config: &Config, field: &str, info: &str) -> Result<Outcome> {
    let found = info.lines().find_map(|line| line.trim_end().split_once(':').filter(|(name, _)| *name == field));
    let (_, value) = found.with_context(|| format!("INFO has no field {field}"))?;
    if config.equals.as_ref().is_some_and(|wanted| wanted != value) {
        bail!("{field} is {value}, not {}", config.equals.as_deref().unwrap_or_default());
    }
    match value.parse::<f64>() {
        Ok(number) => Ok(config.thresholds.outcome(field, number).gauge("value", number)),
        Err(_) if config.equals.is_some() => Ok(Outcome::passing(format!("{field} is {value}"))),
        Err(_) => bail!("{field} is {value:?}, which is no number: compare it with `equals`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(std::io::Cursor<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn replies_are_read_and_nonsense_is_refused() {
        let cases: [(&str, Result<&str, &str>); 6] = [
            ("+PONG\r\n", Ok("PONG")),
            ("$2\r\nab\r\n", Ok("ab")),
            ("-NOAUTH no\r\n", Err("the server said NOAUTH no")),
            ("$99999999999\r\n", Err("the reply has no valid length")),
            ("$-1\r\n", Err("the reply has no valid length")),
            ("HTTP/1.1 400\r\n", Err("what the server sent is not Redis's protocol")),
        ];
        for (said, expected) in cases {
            let mut server = tcp::Bounded::new(Script(std::io::Cursor::new(said.into())), READ_MAX);
            let found = ask(&mut server, &["PING"]).map_err(|error| error.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{said:?}");
        }
    }
}
