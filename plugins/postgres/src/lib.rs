//! A check that signs in to PostgreSQL, runs a query if there is one, and holds the first value of its first row against limits.
//! `session.rs` is the conversation (protocol 3.0, without TLS), `scram.rs` the passwords. It never changes data by itself; the query may, so
//! give it a role that can only read.

mod scram;
mod session;

use std::time::{Duration, Instant};

use lictor_plugin::{Context, Demands, Outcome, Password, Result, tcp};
use serde::Deserialize;

/// The most one run reads.
const READ_MAX: usize = 256 << 10;

#[derive(Deserialize)]
struct Config {
    address: String,
    user: String,
    database: Option<String>,
    #[serde(flatten)]
    password: Password,
    query: Option<String>,
    #[serde(flatten)]
    demands: Demands,
}

lictor_plugin::check! {
    summary: "Signs in to PostgreSQL, and compares the first value of a query.",
    schema: include_str!("../config.schema.json"),
    wants: { network: ["the server's address and port"], environment: ["the variable that `password_env` names"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let began = Instant::now();
    let password = config.password.get()?;
    let stream = tcp::connect(&config.address, Duration::from_secs(5))?;
    let database = config.database.as_ref().unwrap_or(&config.user);
    let mut session =
        session::Session::start(stream, &config.user, database, password.as_deref()).context("could not sign in")?;
    let outcome = match &config.query {
        Some(query) => {
            let value = session.first_value(query).context("the query failed")?;
            config.demands.outcome("the query's value", &value.context("the query gave no value")?)?
        }
        None => Outcome::passing(format!("{} let {} in", config.address, config.user)),
    };
    session.end();
    Ok(outcome.gauge("seconds", began.elapsed().as_secs_f64()))
}
