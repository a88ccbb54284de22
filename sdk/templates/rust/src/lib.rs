//! A health check: connects to an address, and warns when that takes long.

use std::time::{Duration, Instant};

use lictor_plugin::{Outcome, Result, tcp};

/// What the check's `config` block holds. config.schema.json says the same to the agent; keep them together.
#[derive(serde::Deserialize)]
struct Config {
    address: String,
    #[serde(default)]
    warning_above_ms: Option<u64>,
}

lictor_plugin::check! {
    summary: "Connects to an address, and warns when that takes long.",
    schema: include_str!("../config.schema.json"),
    wants: { network: ["the address it connects to"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let began = Instant::now();
    // An error is a critical check whose output says what went wrong.
    tcp::connect(&config.address, Duration::from_secs(5))?;
    let took = began.elapsed().as_millis() as u64;
    let text = format!("connected to {} in {took} ms", config.address);
    let slow = config.warning_above_ms.is_some_and(|most| took > most);
    let outcome = if slow {
        Outcome::warning(text)
    } else {
        Outcome::passing(text)
    };
    Ok(outcome.gauge("connect_ms", took as f64))
}
