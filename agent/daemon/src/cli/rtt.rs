//! `rtt`: estimates the round trip between two members.

use agent_core::coordinate::{Coordinate, DIMENSIONS};
use serde_json::Value;

use super::client::Call;
use super::command::{Failure, Invocation, list, text};

/// `rtt`.
pub fn rtt(run: &mut Invocation) -> Result<(), Failure> {
    let (one, other) = match run.args() {
        [one] => (one.clone(), None),
        [one, other] => (one.clone(), Some(other.clone())),
        _ => return Err(Failure::new(format!("One or two node names must be specified\n\n{}", run.help))),
    };
    let is_wan = run.flags.bool("wan");
    if is_wan && ![Some(&one), other.as_ref()].into_iter().flatten().all(|name| name.contains('.')) {
        return Err(Failure::new("Node names must be specified as <node name>.<datacenter> with -wan"));
    }
    let client = run.client()?;
    let other = match other {
        Some(other) => other,
        None => {
            let answer = client.json(Call::new("GET", "/v1/agent/self"));
            let answer = answer.map_err(|error| Failure::new(format!("Unable to look up agent info: {error}")))?;
            let config = &answer["Config"];
            let name = text(config, "NodeName");
            if is_wan { format!("{name}.{}", text(config, "Datacenter")) } else { name }
        }
    };
    let path = if is_wan { "/v1/coordinate/datacenters" } else { "/v1/coordinate/nodes" };
    let answer = client.json(Call::new("GET", path));
    let answer = answer.map_err(|error| Failure::new(format!("Error getting coordinates: {error}")))?;
    let place = |name: &str| {
        let found = if is_wan { in_datacenters(&answer, name) } else { in_list(&answer, name) };
        found.ok_or_else(|| Failure::new(format!("Could not find a coordinate for node {name:?}")))
    };
    let distance = place(&one)?.distance(&place(&other)?);
    let pool = if is_wan { "WAN" } else { "LAN" };
    let ms = distance.as_secs_f64() * 1000.0;
    run.line(&format!("Estimated {one} <-> {other} rtt: {ms:.3} ms (using {pool} coordinates)"));
    Ok(())
}

fn in_datacenters(answer: &Value, name: &str) -> Option<Coordinate> {
    let (node, datacenter) = name.rsplit_once('.')?;
    let found = list(answer).iter().find(|found| text(found, "Datacenter") == datacenter)?;
    in_list(found.get("Coordinates")?, node)
}

fn in_list(places: &Value, node: &str) -> Option<Coordinate> {
    let found = list(places).iter().find(|place| text(place, "Node") == node)?.get("Coord")?;
    let number = |field: &str| found.get(field).and_then(Value::as_f64);
    let mut vector = [0.0; DIMENSIONS];
    for (place, given) in vector.iter_mut().zip(list(found.get("Vec")?)) {
        *place = given.as_f64()?;
    }
    Some(Coordinate { vector, error: number("Error")?, adjustment: number("Adjustment")?, height: number("Height")? })
}
