//! go-sockaddr expressions: what stands between `{{` and `}}` in an address.
//!
//! Owns the language: a source of addresses, then stages that choose, order and
//! print them. What they mean, down to the order of equals, is go-sockaddr's, as
//! far as an address can be made of it: `choose` has the tests of `include` and
//! `exclude`, `order` sorts. The addresses are [`super::interfaces`]'s.

mod choose;
mod order;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::interfaces::Interface;
use choose::{UP, criteria, is_forwardable, is_special, regex};
use order::{by_default, by_size, by_type, order, sort};

/// Replaces every `{{ ... }}` in an address; several results are separated by spaces.
///
/// # Errors
/// The expression, and which part of it is not known or makes no sense.
pub(super) fn expand(text: &str, host: &[Interface]) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, behind) = after.split_once("}}").ok_or_else(|| format!("{text:?} has no \"}}}}\""))?;
        let expression = expression.trim();
        expanded.push_str(before);
        let explain = |reason: String| format!("address expression {expression:?}: {reason}");
        expanded.push_str(&evaluate(expression, host).map_err(explain)?);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// What one stage hands to the next.
enum Value<'a> {
    Interfaces(Vec<&'a Interface>),
    Text(String),
}

fn evaluate(expression: &str, host: &[Interface]) -> Result<String, String> {
    let stages = stages(expression)?;
    let mut stages = stages.iter().map(|stage| stage.iter().map(String::as_str).collect::<Vec<&str>>());
    let mut value = source(&stages.next().unwrap_or_default(), host)?;
    for stage in stages {
        value = match value {
            Value::Interfaces(found) => apply(&stage, found)?,
            Value::Text(_) => return Err(format!("{:?} follows a text", stage.join(" "))),
        };
    }
    match value {
        Value::Text(text) => Ok(text),
        Value::Interfaces(_) => Err("it ends without attr or join".to_owned()),
    }
}

/// The words of each stage. Quotes hold a word together.
fn stages(expression: &str) -> Result<Vec<Vec<String>>, String> {
    let mut stages = Vec::new();
    let mut words = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '|' => {
                stages.push(std::mem::take(&mut words));
                rest = rest[1..].trim_start();
                continue;
            }
            '"' => quoted(&rest[1..]).ok_or_else(|| format!("{rest} is no text in quotes"))?,
            '`' => {
                let (word, after) = rest[1..].split_once('`').ok_or_else(|| format!("{rest} is no text in quotes"))?;
                (word.to_owned(), after)
            }
            _ => {
                let end = rest.find(|next: char| next.is_whitespace() || "|\"`".contains(next)).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    stages.push(words);
    Ok(stages)
}

/// The text up to a closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((word, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\') => word.push(escaped),
                _ => return None,
            },
            other => word.push(other),
        }
    }
    None
}

/// Where an expression begins.
fn source<'a>(words: &[&str], host: &'a [Interface]) -> Result<Value<'a>, String> {
    let all = |wanted: &dyn Fn(&Interface) -> bool| host.iter().filter(|found| wanted(found)).collect::<Vec<_>>();
    let named = |pattern: &str| regex(pattern).map(|name| all(&|found| name.is_match(&found.name)));
    Ok(match words {
        ["GetAllInterfaces"] => Value::Interfaces(host.iter().collect()),
        ["GetDefaultInterfaces"] => Value::Interfaces(all(&|found| found.default_route)),
        ["GetPrivateInterfaces"] => Value::Interfaces(routed(all(&is_special))),
        ["GetPublicInterfaces"] => Value::Interfaces(routed(all(&|found| !is_special(found)))),
        ["GetPrivateIP"] => Value::Text(first(&routed(all(&is_special)), address)),
        ["GetPublicIP"] => Value::Text(first(&routed(all(&|found| !is_special(found))), address)),
        ["GetPrivateIPs"] => {
            Value::Text(join(&by_type_and_size(all(&|found| is_special(found) && is_forwardable(found))), address, " "))
        }
        ["GetPublicIPs"] => Value::Text(join(&by_type_and_size(all(&|found| !is_special(found))), address, " ")),
        ["GetInterfaceIP", pattern] => {
            let mut found = named(pattern)?;
            found.retain(|found| is_forwardable(found));
            Value::Text(first(&by_type_and_size(found), address))
        }
        ["GetInterfaceIPs", pattern] => Value::Text(join(&by_type_and_size(named(pattern)?), address, " ")),
        [] => return Err("it is empty".to_owned()),
        other => return Err(format!("{:?} is not supported: write the address", other.join(" "))),
    })
}

/// What others can reach, that of the default route first.
fn routed(mut found: Vec<&Interface>) -> Vec<&Interface> {
    found.retain(|found| is_forwardable(found) && found.flags & UP != 0);
    sort(&mut found, &[(by_default, false), (by_type, false), (by_size, false)]);
    found
}

fn by_type_and_size(mut found: Vec<&Interface>) -> Vec<&Interface> {
    sort(&mut found, &[(by_type, false), (by_size, false)]);
    found
}

/// One stage behind the source.
fn apply<'a>(words: &[&str], mut found: Vec<&'a Interface>) -> Result<Value<'a>, String> {
    match words {
        ["include", key, wanted] => {
            let tests = criteria(key, wanted)?;
            let chosen = tests.iter().flat_map(|test| found.iter().copied().filter(move |one| test(one)));
            return Ok(Value::Interfaces(chosen.collect()));
        }
        ["exclude", key, wanted] => {
            let tests = criteria(key, wanted)?;
            found.retain(|one| !tests.iter().any(|test| test(one)));
        }
        ["sort", keys] => {
            let orders = keys.split(',').map(order).collect::<Result<Vec<_>, String>>()?;
            sort(&mut found, &orders);
        }
        ["limit", count] => found.truncate(number(count)?),
        ["offset", count] => skip(&mut found, number(count)?)?,
        ["unique", "address"] => found.dedup_by(|one, before| one.with_prefix() == before.with_prefix()),
        ["unique", "name"] => found.dedup_by(|one, before| one.name == before.name),
        ["attr", key] => return Ok(Value::Text(first(&found, attribute(key)?))),
        ["join", key, separator] => return Ok(Value::Text(join(&found, attribute(key)?, separator))),
        other => return Err(format!("{:?} is not supported: write the address", other.join(" "))),
    }
    Ok(Value::Interfaces(found))
}

/// Drops so many from the front; a negative count keeps so many at the end.
fn skip(found: &mut Vec<&Interface>, count: isize) -> Result<(), String> {
    let places = count.unsigned_abs();
    let front = if count < 0 { found.len().checked_sub(places) } else { Some(places) };
    let front = front.filter(|front| *front <= found.len());
    let front = front.ok_or_else(|| format!("offset {count} is past the {} addresses there are", found.len()))?;
    found.drain(..front);
    Ok(())
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} is no number that fits here"))
}

/// What is printed of an address.
type Attribute = fn(&Interface) -> String;

fn attribute(key: &str) -> Result<Attribute, String> {
    match key.to_ascii_lowercase().as_str() {
        "address" => Ok(address),
        "name" => Ok(|found| found.name.clone()),
        "network" => Ok(|found| network(found).to_string()),
        "type" => Ok(|found| if found.address.is_ipv4() { "IPv4".to_owned() } else { "IPv6".to_owned() }),
        _ => Err(format!("{key:?} is nothing to print")),
    }
}

fn address(found: &Interface) -> String {
    found.address.to_string()
}

/// The lowest address of its network.
fn network(found: &Interface) -> IpAddr {
    let prefix = u32::from(found.prefix);
    match found.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
        }
    }
}

/// Of nothing, nothing.
fn first(found: &[&Interface], print: Attribute) -> String {
    found.first().map(|found| print(found)).unwrap_or_default()
}

fn join(found: &[&Interface], print: Attribute, separator: &str) -> String {
    found.iter().map(|found| print(found)).collect::<Vec<_>>().join(separator)
}
