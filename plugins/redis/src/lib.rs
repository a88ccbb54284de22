//! A check that talks to a Redis server: AUTH if there is a password, PING, and a field of INFO held against limits.
//! The protocol is RESP 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), of which it reads four kinds of reply.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use lictor_plugin::{Context, Demands, Outcome, Password, Result, bail, tcp};
use serde::Deserialize;

/// The most one run reads: INFO is some 5 KiB.
const READ_MAX: usize = 256 << 10;

#[derive(Deserialize)]
struct Config {
    address: String,
    username: Option<String>,
    #[serde(flatten)]
    password: Password,
    field: Option<String>,
    #[serde(flatten)]
    demands: Demands,
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
    if let Some(password) = config.password.get()? {
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
        Some(field) => {
            let info = ask(&mut server, &["INFO", "everything"]).context("INFO failed")?;
            config.demands.outcome(field, field_of(&info, field)?)?
        }
        None => Outcome::passing(format!("PONG from {}", config.address)),
    };
    Ok(outcome.gauge("seconds", took))
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

/// A field of INFO.
fn field_of<'a>(info: &'a str, field: &str) -> Result<&'a str> {
    let found = info.lines().find_map(|line| line.trim_end().split_once(':').filter(|(name, _)| *name == field));
    found.map(|(_, value)| value).with_context(|| format!("INFO has no field {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut server = tcp::Bounded::new(tcp::Script::new(said), READ_MAX);
            let found = ask(&mut server, &["PING"]).map_err(|error| error.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{said:?}");
        }
    }
}
