//! Watches: a read that is asked again whenever its answer changes, and what is done with the answers.
//!
//! ```text
//!  plan.rs      what to ask, from flags or from a `watches` block
//!  progress.rs  which answers are news, and how long to wait after a failure
//!  handler.rs   a script with the answer on its standard input, or an HTTP request
//!  follow.rs    the loop of one watch inside the agent, which asks the agent itself
//! ```
//!
//! The command `watch` uses all but the last.

pub mod follow;
pub mod handler;
pub mod plan;
pub mod progress;

use serde_json::{Map, Value};

pub use handler::{Handler, HttpTarget, Script};
pub use plan::Plan;
pub use progress::Progress;

/// A watch of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// What is watched.
    pub plan: Plan,
    /// What is done with it.
    pub handler: Handler,
}

impl Watch {
    /// A watch as it stands in a configuration file.
    ///
    /// # Errors
    /// In Consul's words: what is missing, unknown, or of a wrong kind.
    pub fn parse(written: &Value) -> Result<Watch, String> {
        let mut fields = Fields::of(written)?;
        let handler = Handler::take(&mut fields)?;
        let plan = Plan::take(&mut fields)?;
        fields.refuse_rest()?;
        Ok(Watch { plan, handler })
    }
}

/// The fields of a block, taken out one by one; what is left at the end is unknown.
#[derive(Clone, Debug, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of an object.
    ///
    /// # Errors
    /// It is none.
    pub fn of(written: &Value) -> Result<Fields, String> {
        match only_item(written) {
            Value::Object(fields) => Ok(Fields(fields.clone())),
            _ => Err("a watch must be an object".to_owned()),
        }
    }

    /// Sets a field, as a flag does.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.0.remove(name).as_ref().map(only_item) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("Expecting {name} to be a string")),
        }
    }

    fn bool(&mut self, name: &str) -> Result<bool, String> {
        match self.0.remove(name).as_ref().map(only_item) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(bool)) => Ok(*bool),
            Some(Value::String(text)) => {
                crate::http::catalog_listing::go_bool(text).ok_or_else(|| format!("Expecting {name} to be a boolean"))
            }
            Some(_) => Err(format!("Expecting {name} to be a boolean")),
        }
    }

    /// A list of texts; one text counts as a list.
    fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, String> {
        let refused = || format!("Expecting {name} to be a list of strings");
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(refused));
                texts.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(refused()),
        }
    }

    fn object(&mut self, name: &str) -> Option<Fields> {
        match self.0.remove(name).as_ref().map(only_item) {
            Some(Value::Object(fields)) => Some(Fields(fields.clone())),
            _ => None,
        }
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// The names, in Consul's words.
    pub fn refuse_rest(&self) -> Result<(), String> {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        if names.is_empty() { Ok(()) } else { Err(format!("Invalid parameters: [{}]", names.join(" "))) }
    }
}

/// HCL 1 has no single objects, so a list of one stands for its item.
fn only_item(value: &Value) -> &Value {
    match value {
        Value::Array(items) if items.len() == 1 => &items[0],
        other => other,
    }
}
