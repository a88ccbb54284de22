//! What a watch asks for: which read of the API, and which part of its answer.
//!
//! Owns the kinds of watches and their fields, in Consul's words. Sends nothing.

use serde_json::Value;

use super::Fields;
use crate::cli::address::escape_path;
use crate::gossip::index_of;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key.
    Key(String),
    /// All keys that begin with a text.
    KeyPrefix(String),
    /// The names of services.
    Services,
    /// All nodes.
    Nodes,
    /// The instances of a service.
    Service {
        /// Its name.
        name: String,
        /// Tags they must carry.
        tags: Vec<String>,
        /// Only those whose checks pass.
        passing: bool,
    },
    /// The checks of a service.
    ServiceChecks(String),
    /// The checks in a state; `any` for all.
    Checks(String),
    /// User events of a name; all for an empty one.
    Event(String),
}

/// A read, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is watched.
    pub kind: Kind,
    /// The data centre; empty for the agent's own.
    pub datacenter: String,
    /// The token; empty for the anonymous one.
    pub token: String,
    /// Whether any server may answer.
    pub stale: bool,
}

impl Plan {
    /// Takes the fields of a plan.
    ///
    /// # Errors
    /// In Consul's words: what is missing, unknown, or of a wrong kind.
    pub fn take(fields: &mut Fields) -> Result<Plan, String> {
        let (datacenter, token, kind) = (fields.text("datacenter")?, fields.text("token")?, fields.text("type")?);
        let kind = match kind.as_str() {
            "" => return Err("Watch type must be specified".to_owned()),
            "key" => Kind::Key(required(fields, "key", "Must specify a single key to watch")?),
            "keyprefix" => Kind::KeyPrefix(required(fields, "prefix", "Must specify a single prefix to watch")?),
            "services" => Kind::Services,
            "nodes" => Kind::Nodes,
            "service" => Kind::Service {
                name: required(fields, "service", "Must specify a single service to watch")?,
                tags: fields.texts("tag")?.unwrap_or_default().into_iter().filter(|tag| !tag.is_empty()).collect(),
                passing: fields.bool("passingonly")?,
            },
            "checks" => match (fields.text("service")?, fields.text("state")?) {
                (service, state) if !service.is_empty() && !state.is_empty() => {
                    return Err("Cannot specify service and state".to_owned());
                }
                (service, _) if !service.is_empty() => Kind::ServiceChecks(service),
                (_, state) if state.is_empty() => Kind::Checks("any".to_owned()),
                (_, state) => Kind::Checks(state),
            },
            "event" => Kind::Event(fields.text("name")?),
            other => return Err(format!("Unsupported watch type: {other}")),
        };
        let stale = fields.bool("stale")?;
        Ok(Plan { kind, datacenter, token, stale })
    }

    /// The path, escaped, and the query of the read; it waits unless `index` is zero.
    pub fn request(&self, index: u64) -> (String, Vec<(String, String)>) {
        let mut query = Vec::new();
        let mut with = |name: &str, value: &str| query.push((name.to_owned(), value.to_owned()));
        let path = match &self.kind {
            Kind::Key(key) => format!("/v1/kv/{}", escape_path(key)),
            Kind::KeyPrefix(prefix) => {
                with("recurse", "");
                format!("/v1/kv/{}", escape_path(prefix))
            }
            Kind::Services => "/v1/catalog/services".to_owned(),
            Kind::Nodes => "/v1/catalog/nodes".to_owned(),
            Kind::Service { name, tags, passing } => {
                tags.iter().for_each(|tag| with("tag", tag));
                if *passing {
                    with("passing", "1");
                }
                format!("/v1/health/service/{}", escape_path(name))
            }
            Kind::ServiceChecks(service) => format!("/v1/health/checks/{}", escape_path(service)),
            Kind::Checks(state) => format!("/v1/health/state/{}", escape_path(state)),
            Kind::Event(name) => {
                if !name.is_empty() {
                    with("name", name);
                }
                "/v1/event/list".to_owned()
            }
        };
        if !self.datacenter.is_empty() {
            with("dc", &self.datacenter);
        }
        if self.stale {
            with("stale", "");
        }
        if index > 0 {
            with("index", &index.to_string());
        }
        (path, query)
    }

    /// What is watched, from an answer. `seen` is the index of the answer before it, zero for none.
    ///
    /// # Errors
    /// The answer is a refusal or no JSON.
    pub fn read(&self, seen: u64, status: u16, body: &[u8]) -> Result<Value, String> {
        let is_keys = matches!(self.kind, Kind::Key(_) | Kind::KeyPrefix(_));
        match status {
            200 => {}
            404 if is_keys => return Ok(Value::Null),
            _ => {
                let text = String::from_utf8_lossy(body);
                return Err(format!("Unexpected response code: {status} ({})", text.trim_end()));
            }
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
        Ok(match (&self.kind, value) {
            (Kind::Key(_), Value::Array(mut entries)) if entries.len() == 1 => with_session(entries.remove(0)),
            (Kind::KeyPrefix(_), Value::Array(entries)) => entries.into_iter().map(with_session).collect(),
            (Kind::Event(_), Value::Array(events)) => newer_than(seen, events),
            (_, value) => value,
        })
    }
}

fn required(fields: &mut Fields, name: &str, missing: &str) -> Result<String, String> {
    Some(fields.text(name)?).filter(|text| !text.is_empty()).ok_or_else(|| missing.to_owned())
}

/// A key that nobody holds has an empty session for handlers, and none in the API.
fn with_session(mut entry: Value) -> Value {
    if let Some(entry) = entry.as_object_mut() {
        entry.entry("Session").or_insert_with(|| Value::from(""));
    }
    entry
}

/// The events after the one with this index, so that each is handed over once.
fn newer_than(seen: u64, events: Vec<Value>) -> Value {
    let index = |event: &Value| {
        let id = event.get("ID").and_then(Value::as_str).and_then(|id| uuid::Uuid::parse_str(id).ok());
        id.map(|id| index_of(id.as_u128()))
    };
    let known = events.iter().rposition(|event| index(event) == Some(seen));
    events.into_iter().skip(known.map_or(0, |known| known + 1)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Watch;
    use super::*;

    fn plan(written: Value) -> Result<Plan, String> {
        let mut fields = Fields::of(&written)?;
        let plan = Plan::take(&mut fields)?;
        fields.refuse_rest().map(|()| plan)
    }

    #[test]
    fn every_kind_has_its_read() {
        let cases = [
            (json!({"type": "key", "key": "a/b"}), "/v1/kv/a/b?index=7"),
            (json!({"type": "keyprefix", "prefix": "a/"}), "/v1/kv/a/?index=7&recurse="),
            (json!({"type": "services", "stale": true}), "/v1/catalog/services?index=7&stale="),
            (json!({"type": "nodes", "datacenter": "dc2"}), "/v1/catalog/nodes?dc=dc2&index=7"),
            (
                json!({"type": "service", "service": "web", "tag": ["a", "b"], "passingonly": "true"}),
                "/v1/health/service/web?index=7&passing=1&tag=a&tag=b",
            ),
            (json!({"type": "service", "service": "web", "tag": "a"}), "/v1/health/service/web?index=7&tag=a"),
            (json!({"type": "checks"}), "/v1/health/state/any?index=7"),
            (json!({"type": "checks", "state": "critical"}), "/v1/health/state/critical?index=7"),
            (json!({"type": "checks", "service": "web"}), "/v1/health/checks/web?index=7"),
            (json!({"type": "event", "name": "deploy"}), "/v1/event/list?index=7&name=deploy"),
        ];
        for (written, expected) in cases {
            let (path, query) = plan(written).expect(expected).request(7);
            assert_eq!(format!("{path}?{}", crate::cli::address::encode_query(&query)), expected);
        }
    }

    #[test]
    fn mistakes_have_consuls_words() {
        let cases = [
            (json!({}), "Watch type must be specified"),
            (json!({"type": "foo"}), "Unsupported watch type: foo"),
            (json!({"type": "key"}), "Must specify a single key to watch"),
            (json!({"type": "keyprefix"}), "Must specify a single prefix to watch"),
            (json!({"type": "service"}), "Must specify a single service to watch"),
            (json!({"type": "checks", "service": "a", "state": "b"}), "Cannot specify service and state"),
            (json!({"type": "nodes", "key": "a"}), "Invalid parameters: [key]"),
            (json!({"type": "key", "key": 1}), "Expecting key to be a string"),
        ];
        for (written, expected) in cases {
            assert_eq!(plan(written).expect_err(expected), expected);
        }
    }

    #[test]
    fn a_handler_is_needed_and_only_one() {
        let cases = [
            (json!({"type": "nodes"}), "Must define a watch handler"),
            (json!({"type": "nodes", "handler": "a", "args": ["b"]}), "Only one watch handler allowed"),
            (json!({"type": "nodes", "handler_type": "x"}), "Handler type 'x' not recognized"),
            (
                json!({"type": "nodes", "handler_type": "http"}),
                "Handler type 'http' requires 'http_handler_config' to be set",
            ),
            (
                json!({"type": "nodes", "handler_type": "http", "http_handler_config": {}}),
                "Failed to parse 'http_handler_config': Requires 'path' to be set",
            ),
        ];
        for (written, expected) in cases {
            assert_eq!(Watch::parse(&written).expect_err(expected), expected);
        }
    }

    #[test]
    fn keys_that_are_missing_are_null_and_events_come_once() {
        let key = plan(json!({"type": "key", "key": "a"})).expect("a plan");
        assert_eq!(key.read(0, 404, b""), Ok(Value::Null));
        assert_eq!(key.read(0, 200, br#"[{"Key":"a"}]"#), Ok(json!({"Key": "a", "Session": ""})));
        assert_eq!(key.read(0, 500, b"no\n"), Err("Unexpected response code: 500 (no)".to_owned()));
        let event = plan(json!({"type": "event"})).expect("a plan");
        let ids = ["20df50c3-4fcd-471d-5fe5-55ea84af4abb", "1150fba9-d503-86d3-2bf5-87ef60d5263a"];
        let body = json!([{"ID": ids[0]}, {"ID": ids[1]}]).to_string();
        assert_eq!(event.read(9_167_645_668_530_064_806, 200, body.as_bytes()), Ok(json!([{"ID": ids[1]}])));
    }
}
