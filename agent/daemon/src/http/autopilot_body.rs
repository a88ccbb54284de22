//! The body of `PUT /v1/operator/autopilot/configuration`, refused in the words of Go's decoder.
//!
//! Names are taken in any case, and one that is not known is refused: a
//! misspelt setting would otherwise become zero. Durations are texts, or
//! numbers of nanoseconds.

use agent_core::duration;
use agent_core::state::tables::AutopilotConfig;
use serde_json::Value;

use super::decode::first_value;

/// Reads the settings. What is absent or null is zero.
///
/// # Errors
/// What Go's decoder says.
pub fn decode(body: &[u8]) -> Result<AutopilotConfig, String> {
    let mut config = AutopilotConfig {
        cleanup_dead_servers: false,
        last_contact_threshold_ns: 0,
        max_trailing_logs: 0,
        min_quorum: 0,
        server_stabilization_time_ns: 0,
        ..AutopilotConfig::default()
    };
    let fields = match first_value(body)? {
        Value::Null => return Ok(config),
        Value::Object(fields) => fields,
        other => {
            let kind = kind(&other);
            return Err(format!("json: cannot unmarshal {kind} into Go value of type api.AutopilotConfiguration"));
        }
    };
    for (name, value) in fields {
        set(&mut config, &name, &value)?;
    }
    Ok(config)
}

fn set(config: &mut AutopilotConfig, name: &str, value: &Value) -> Result<(), String> {
    match name.to_ascii_lowercase().as_str() {
        "cleanupdeadservers" => config.cleanup_dead_servers = flag("CleanupDeadServers", value)?,
        "lastcontactthreshold" => config.last_contact_threshold_ns = nanoseconds(value)?,
        "maxtrailinglogs" => config.max_trailing_logs = number("MaxTrailingLogs", "uint64", value)?,
        "minquorum" => config.min_quorum = number("MinQuorum", "uint", value)?,
        "serverstabilizationtime" => config.server_stabilization_time_ns = nanoseconds(value)?,
        "redundancyzonetag" => config.redundancy_zone_tag = text("RedundancyZoneTag", value)?,
        "disableupgrademigration" => config.disable_upgrade_migration = flag("DisableUpgradeMigration", value)?,
        "upgradeversiontag" => config.upgrade_version_tag = text("UpgradeVersionTag", value)?,
        // They are what the record was read with: the state machine sets them.
        "createindex" => drop(number("CreateIndex", "uint64", value)?),
        "modifyindex" => drop(number("ModifyIndex", "uint64", value)?),
        _ => return Err(format!("json: unknown field {name:?}")),
    }
    Ok(())
}

fn flag(name: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        other => Err(mismatch(name, "bool", other)),
    }
}

fn number(name: &str, wanted: &str, value: &Value) -> Result<u64, String> {
    match value {
        Value::Null => Ok(0),
        other => other.as_u64().ok_or_else(|| mismatch(name, wanted, other)),
    }
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(mismatch(name, "string", other)),
    }
}

fn nanoseconds(value: &Value) -> Result<i64, String> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => duration::parse(text).map_err(|error| error.to_string()),
        // Fractions of a nanosecond are cut off; what is too large becomes the largest there is.
        Value::Number(number) => Ok(number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)),
        other => Err(format!("strconv.ParseFloat: parsing {:?}: invalid syntax", other.to_string())),
    }
}

fn mismatch(name: &str, wanted: &str, value: &Value) -> String {
    let kind = match value {
        // Of a number that is only not such a number, Go shows the digits.
        Value::Number(number) if wanted.starts_with("uint") => format!("number {number}"),
        other => kind(other).to_owned(),
    };
    format!("json: cannot unmarshal {kind} into Go struct field AutopilotConfiguration.{name} of type {wanted}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_zero() {
        let config =
            decode(br#"{"lastcontactthreshold": "300ms", "ServerStabilizationTime": 1.5e3, "MinQuorum": null}"#);
        let expected = AutopilotConfig {
            cleanup_dead_servers: false,
            last_contact_threshold_ns: 300_000_000,
            max_trailing_logs: 0,
            server_stabilization_time_ns: 1500,
            ..AutopilotConfig::default()
        };
        assert_eq!(config, Ok(expected));
    }
}
