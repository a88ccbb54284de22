//! `members`: who is in the gossip pool.

use serde_json::Value;

use super::client::Call;
use super::command::{Failure, Invocation, list, text};
use super::table;

/// Consul's numbers for a member's status.
const STATUSES: [&str; 5] = ["none", "alive", "leaving", "left", "failed"];

/// Prints the members, sorted by name; exits 2 when none match.
pub fn run(run: &mut Invocation) -> Result<(), Failure> {
    let pattern = regex::Regex::new(run.flags.last("status").unwrap_or(".*"))
        .map_err(|error| Failure::new(format!("Failed to compile status regexp: {}", reason(&error))))?;
    let segment = run.flags.last("segment").filter(|segment| !segment.is_empty()).unwrap_or("_all").to_owned();
    let mut call = Call::new("GET", "/v1/agent/members").with("segment", segment);
    if run.flags.bool("wan") {
        call = call.with("wan", "1");
    }
    let answer =
        run.client()?.json(call).map_err(|error| Failure::new(format!("Error retrieving members: {error}")))?;
    let mut members: Vec<&Value> = list(&answer).iter().filter(|member| pattern.is_match(status(member))).collect();
    if members.is_empty() {
        return Err(Failure { message: String::new(), code: 2 });
    }
    members.sort_by_key(|member| text(member, "Name"));
    let detailed = run.flags.bool("detailed");
    let titles: &[&str] = if detailed {
        &["Node", "Address", "Status", "Tags"]
    } else {
        &["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"]
    };
    let mut rows = vec![titles.iter().map(|&title| title.to_owned()).collect()];
    rows.extend(members.into_iter().map(|member| if detailed { detailed_row(member) } else { row(member) }));
    run.line(&table::columns(&rows));
    Ok(())
}

/// The last line of a pattern's error, which says what is wrong; the lines before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("error parsing regexp: {}", last.strip_prefix("error: ").unwrap_or(last))
}

fn status(member: &Value) -> &'static str {
    let number = member.get("Status").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.and_then(|number| STATUSES.get(number)).copied().unwrap_or("unknown")
}

fn address(member: &Value) -> String {
    let (host, port) = (text(member, "Addr"), text(member, "Port"));
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn tag(member: &Value, name: &str) -> String {
    member.get("Tags").map(|tags| text(tags, name)).unwrap_or_default()
}

fn segment(member: &Value) -> String {
    match (tag(member, "role").as_str(), tag(member, "segment")) {
        ("consul", _) => "<all>".to_owned(),
        (_, empty) if empty.is_empty() => "<default>".to_owned(),
        (_, segment) => segment,
    }
}

fn row(member: &Value) -> Vec<String> {
    let build = match tag(member, "build") {
        empty if empty.is_empty() => "< 0.3".to_owned(),
        build => build.split(':').next().unwrap_or_default().to_owned(),
    };
    let kind = match tag(member, "role").as_str() {
        "consul" => "server",
        "node" => "client",
        _ => "unknown",
    };
    let (name, status) = (text(member, "Name"), status(member).to_owned());
    vec![name, address(member), status, kind.to_owned(), build, tag(member, "vsn"), tag(member, "dc"), segment(member)]
}

fn detailed_row(member: &Value) -> Vec<String> {
    let mut tags = member.get("Tags").and_then(Value::as_object).cloned().unwrap_or_default();
    tags.insert("segment".to_owned(), Value::String(segment(member)));
    let tags = Value::Object(tags);
    // Sorted here, because the order of a JSON object is not promised.
    let mut pairs: Vec<String> =
        tags.as_object().into_iter().flatten().map(|(name, _)| format!("{name}={}", text(&tags, name))).collect();
    pairs.sort();
    vec![text(member, "Name"), address(member), status(member).to_owned(), pairs.join(",")]
}
