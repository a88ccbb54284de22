//! `operator autopilot`: the settings by which the leader cares for the servers.
//!
//! Changing means reading all, replacing what was given, and writing all back
//! on the condition that nobody wrote in between.

use agent_core::duration;
use serde_json::Value;

use super::client::{Call, Client};
use super::command::{Failure, Invocation, text};
use crate::goflag::{Takes, quote};

const PATH: &str = "/v1/operator/autopilot/configuration";

/// The fields in the order in which they are shown.
const FIELDS: [&str; 8] = [
    "CleanupDeadServers",
    "LastContactThreshold",
    "MaxTrailingLogs",
    "MinQuorum",
    "ServerStabilizationTime",
    "RedundancyZoneTag",
    "DisableUpgradeMigration",
    "UpgradeVersionTag",
];

/// What sets each field.
const FLAGS: [(&str, &str, Takes); 8] = [
    ("cleanup-dead-servers", "CleanupDeadServers", Takes::Bool),
    ("disable-upgrade-migration", "DisableUpgradeMigration", Takes::Bool),
    ("last-contact-threshold", "LastContactThreshold", Takes::Value),
    ("max-trailing-logs", "MaxTrailingLogs", Takes::Uint),
    ("min-quorum", "MinQuorum", Takes::Uint),
    ("redundancy-zone-tag", "RedundancyZoneTag", Takes::Value),
    ("server-stabilization-time", "ServerStabilizationTime", Takes::Value),
    ("upgrade-version-tag", "UpgradeVersionTag", Takes::Value),
];

/// `operator autopilot get-config`.
pub fn get_config(run: &mut Invocation) -> Result<(), Failure> {
    let config = read(&run.client()?)?;
    for field in FIELDS {
        let shown = match field {
            "RedundancyZoneTag" | "UpgradeVersionTag" => quote(&text(&config, field)),
            _ => text(&config, field),
        };
        run.line(&format!("{field} = {shown}"));
    }
    Ok(())
}

/// `operator autopilot set-config`.
pub fn set_config(run: &mut Invocation) -> Result<(), Failure> {
    check_durations(run)?;
    let client = run.client()?;
    let mut config = read(&client)?;
    for (flag, field, takes) in FLAGS {
        if !run.flags.is_set(flag) {
            continue;
        }
        config[field] = match takes {
            Takes::Bool => run.flags.bool(flag).into(),
            Takes::Uint => run.flags.uint(flag).into(),
            Takes::Value | Takes::Int | Takes::Pair => run.flags.last(flag).into(),
        };
    }
    let call = Call::new("PUT", PATH).with("cas", text(&config, "ModifyIndex")).body(config.to_string().into_bytes());
    let answer = client.json(call);
    match answer.map_err(|error| Failure::new(format!("Error setting Autopilot configuration: {error}")))? {
        Value::Bool(true) => run.line("Configuration updated!"),
        _ => return Err(Failure::new("Configuration could not be atomically updated, please try again")),
    }
    Ok(())
}

/// Refuses what is no duration before anything is asked.
fn check_durations(run: &Invocation) -> Result<(), Failure> {
    for name in ["last-contact-threshold", "server-stabilization-time"] {
        if let Some(value) = run.flags.last(name) {
            let refused = |error| Failure::new(format!("invalid value {} for flag -{name}: {error}", quote(value)));
            duration::parse(value).map_err(refused)?;
        }
    }
    Ok(())
}

fn read(client: &Client) -> Result<Value, Failure> {
    let config = client.json(Call::new("GET", PATH));
    let failed = |error: String| Failure::new(format!("Error querying Autopilot configuration: {error}"));
    let config = config.map_err(failed)?;
    if config.is_object() { Ok(config) } else { Err(failed("the agent's answer is no object".to_owned())) }
}
