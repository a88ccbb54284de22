//! A check that connects to an MQTT 3.1.1 broker and, if there is a topic, sends itself a message through it.
//! Packets are those of the OASIS standard, quality of service 0; of what the broker sends, nothing larger than 64 KiB is read.

use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime};

use lictor_plugin::{Context, Outcome, Password, Result, bail, tcp};
use serde::Deserialize;

const READ_MAX: usize = 64 << 10;
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;

#[derive(Deserialize)]
struct Config {
    address: String,
    client_id: Option<String>,
    username: Option<String>,
    #[serde(flatten)]
    password: Password,
    topic: Option<String>,
    warning_seconds: Option<f64>,
}

lictor_plugin::check! {
    summary: "Sends a message through an MQTT broker and waits until it comes back.",
    schema: include_str!("../config.schema.json"),
    wants: { network: ["the broker's address and port"], environment: ["the variable that `password_env` names"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let began = Instant::now();
    let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let mut broker = tcp::Bounded::new(tcp::connect(&config.address, Duration::from_secs(5))?, READ_MAX);
    sign_in(&mut broker, &config, &stamp)?;
    if let Some(topic) = &config.topic {
        round_trip(&mut broker, topic, stamp.as_bytes()).with_context(|| format!("no message came through {topic}"))?;
    }
    // A broker that is already gone has lost nothing.
    let _ = broker.write_all(&packet(DISCONNECT, &[]));
    let took = began.elapsed().as_secs_f64();
    let what = if config.topic.is_some() { "a message came through" } else { "the broker let us in" };
    let text = format!("{what} in {:.0} ms", took * 1000.0);
    let slow = config.warning_seconds.is_some_and(|most| took > most);
    let outcome = if slow { Outcome::warning(text) } else { Outcome::passing(text) };
    Ok(outcome.gauge("seconds", took))
}

fn sign_in<S: Read + Write>(broker: &mut tcp::Bounded<S>, config: &Config, stamp: &str) -> Result<()> {
    let password = config.password.get()?;
    let id = config.client_id.clone().unwrap_or_else(|| format!("lictor{}", &stamp[stamp.len().saturating_sub(12)..]));
    let named = u8::from(config.username.is_some());
    let secret = u8::from(config.username.is_some() && password.is_some());
    // Protocol level 4, a clean session, half a minute of keep alive.
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, named << 7 | secret << 6 | 2, 0, 30];
    text(&mut body, id.as_bytes())?;
    if let Some(username) = &config.username {
        text(&mut body, username.as_bytes())?;
        if let Some(password) = &password {
            text(&mut body, password.as_bytes())?;
        }
    }
    broker.write_all(&packet(CONNECT, &body))?;
    match receive(broker)? {
        (CONNACK, answer) if answer.len() == 2 && answer[1] == 0 => Ok(()),
        (CONNACK, answer) if answer.len() == 2 => bail!("the broker refused: {}", refusal(answer[1])),
        _ => bail!("what the broker sent is not MQTT"),
    }
}

fn refusal(code: u8) -> String {
    match code {
        1 => "it does not speak MQTT 3.1.1".into(),
        2 => "it does not take this client id".into(),
        3 => "it is not available".into(),
        4 => "bad user name or password".into(),
        5 => "not authorised".into(),
        other => format!("code {other}"),
    }
}

fn round_trip<S: Read + Write>(broker: &mut tcp::Bounded<S>, topic: &str, message: &[u8]) -> Result<()> {
    let mut body = vec![0, 1];
    text(&mut body, topic.as_bytes())?;
    body.push(0);
    broker.write_all(&packet(SUBSCRIBE, &body))?;
    wait_for(broker, |kind, body| (kind == SUBACK).then(|| body.get(2).copied()))?
        .filter(|granted| *granted < 0x80)
        .context("the broker refused the subscription")?;
    let mut publish = Vec::new();
    text(&mut publish, topic.as_bytes())?;
    publish.extend(message);
    broker.write_all(&packet(PUBLISH, &publish))?;
    // Other messages on the topic, such as a retained one, are not ours.
    wait_for(broker, |kind, body| (kind & 0xf0 == PUBLISH && body.ends_with(message)).then_some(()))
}

/// Reads packets until one is what is waited for; the bound of the stream ends it at last.
fn wait_for<S: Read + Write, T>(broker: &mut tcp::Bounded<S>, wanted: impl Fn(u8, &[u8]) -> Option<T>) -> Result<T> {
    loop {
        let (kind, body) = receive(broker)?;
        if let Some(found) = wanted(kind, &body) {
            return Ok(found);
        }
    }
}

fn text(body: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    body.extend(u16::try_from(bytes.len()).context("a text is longer than MQTT allows")?.to_be_bytes());
    body.extend(bytes);
    Ok(())
}

/// A packet: its kind, its length in one to four groups of seven bits, its body.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left & 127) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn receive<S: Read + Write>(broker: &mut tcp::Bounded<S>) -> Result<(u8, Vec<u8>)> {
    let kind = broker.exactly(1)?[0];
    let mut length = 0;
    for place in 0..4 {
        let byte = usize::from(broker.exactly(1)?[0]);
        length |= (byte & 127) << (7 * place);
        if byte < 128 {
            return Ok((kind, broker.exactly(length)?));
        }
    }
    bail!("what the broker sent is not MQTT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_were_sent() {
        for length in [0, 127, 128, 20_000] {
            let body = vec![7; length];
            let mut wire = tcp::Bounded::new(tcp::Script::new(packet(PUBLISH, &body)), READ_MAX);
            assert_eq!(receive(&mut wire).expect("a packet"), (PUBLISH, body));
        }
    }

    #[test]
    fn a_length_without_end_is_refused() {
        let mut wire = tcp::Bounded::new(tcp::Script::new([0xff; 64]), READ_MAX);
        assert!(receive(&mut wire).is_err());
    }
}
