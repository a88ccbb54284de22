//! A renderer for templates in Jinja's language. The template comes with the request, the config's `vars` are its variables, and these
//! functions read the catalog: `service(name, tag="", passing=true, datacenter="")`, `services()`, `nodes()`, `key(path, default)`, `tree(prefix)`.

use std::collections::BTreeMap;

use lictor_plugin::{File, Rendering, Result, catalog};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    vars: serde_json::Map<String, serde_json::Value>,
}

lictor_plugin::renderer! {
    summary: "Renders a template in Jinja's language, with functions for services and keys.",
    schema: include_str!("../config.schema.json"),
    render: render,
}

fn render(config: Config, rendering: Rendering) -> Result<Vec<File>> {
    let environment = environment();
    let variables = context! { node => rendering.node, datacenter => rendering.datacenter, ..to_value(&config.vars) };
    let text = environment.render_str(&rendering.template, variables)?;
    Ok(vec![File::destination(text)])
}

/// A variable that is not there is an error: half a configuration file is worse than the old one.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are those of Jinja"));
    environment.add_function("service", service);
    environment.add_function("services", || {
        read(catalog::services("")).map(|all| list(all, |(name, tags)| context! { name, tags }))
    });
    environment
        .add_function("nodes", || read(catalog::nodes("")).map(|all| list(all, |node| to_value(Node::from(node)))));
    environment.add_function("key", key);
    environment.add_function("tree", |prefix: String| read(catalog::tree(&prefix)).map(|all| list(all, entry)));
    environment
}

#[derive(Serialize)]
struct Node {
    name: String,
    address: String,
    datacenter: String,
    meta: BTreeMap<String, String>,
}

impl From<catalog::Node> for Node {
    fn from(catalog::Node { name, address, datacenter, meta }: catalog::Node) -> Node {
        Node { name, address, datacenter, meta: meta.into_iter().collect() }
    }
}

fn service(name: String, named: Kwargs) -> Result<Value, Error> {
    let tag: Option<String> = named.get("tag")?;
    let datacenter: Option<String> = named.get("datacenter")?;
    let passing: Option<bool> = named.get("passing")?;
    named.assert_all_used()?;
    let (tag, datacenter) = (tag.unwrap_or_default(), datacenter.unwrap_or_default());
    let instances = read(catalog::instances(&name, &tag, passing.unwrap_or(true), &datacenter))?;
    Ok(list(instances, |instance| {
        let catalog::Instance { id, service, node, address, port, tags, meta, weights, health } = instance;
        let meta: BTreeMap<_, _> = meta.into_iter().collect();
        let health = match health {
            catalog::Health::Passing => "passing",
            catalog::Health::Warning => "warning",
            catalog::Health::Critical => "critical",
            catalog::Health::Maintenance => "maintenance",
        };
        let node = to_value(Node::from(node));
        context! { id, service, node, address, port, tags, meta, weight => weights.0, health }
    }))
}

fn key(path: String, default: Option<String>) -> Result<String, Error> {
    match (read(catalog::key(&path))?, default) {
        (Some(entry), _) => Ok(String::from_utf8_lossy(&entry.value).into_owned()),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(Error::new(ErrorKind::InvalidOperation, format!("there is no key {path}, and no default"))),
    }
}

fn entry(catalog::Entry { key, value, flags }: catalog::Entry) -> Value {
    context! { key, value => String::from_utf8_lossy(&value).into_owned(), flags }
}

fn to_value(value: impl Serialize) -> Value {
    Value::from(Serde(value))
}

fn list<T>(items: Vec<T>, each: impl Fn(T) -> Value) -> Value {
    Value::from(items.into_iter().map(each).collect::<Vec<_>>())
}

fn read<T>(result: Result<T>) -> Result<T, Error> {
    result.map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_there_is_an_error() {
        let found =
            |template: &str| environment().render_str(template, context! { here => 1 }).map_err(|error| error.kind());
        assert_eq!(found("a {{ here }}\n"), Ok("a 1\n".to_owned()));
        assert_eq!(found("{{ missing }}"), Err(ErrorKind::UndefinedError));
    }
}
