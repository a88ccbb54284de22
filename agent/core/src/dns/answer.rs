//! Answers a question from a state snapshot.
//!
//! Pure: the same view gives the same answer. Names outside the domain that an
//! answer points to can only be resolved by recursors; [`Answer::unresolved`]
//! lists them, and a second call with [`View::resolved`] fills them in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::config::DnsConfig;
use super::name::{Question, parse, strip_domain};
use super::record::{Answer, Code, Data, Kind, Owner, Record};
use super::service;
use crate::state::State;
use crate::state::tables::Node;

/// How many names an answer may go through inside the domain.
const CHASE_DEPTH_MAX: usize = 3;

/// At most so many name servers are listed.
const NAME_SERVERS_MAX: usize = 3;

/// What an answer depends on besides the question.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The catalog.
    pub state: &'a State,
    /// The operator's policy.
    pub config: &'a DnsConfig,
    /// The data centre of the catalog.
    pub datacenter: &'a str,
    /// Seconds since the Unix epoch: the serial number of the SOA record.
    pub unix_s: u32,
    /// Decides the order of instances.
    pub seed: u64,
    /// What recursors said about names outside the domain, lower case.
    pub resolved: &'a BTreeMap<String, Vec<Record>>,
}

/// What to do about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Give this answer.
    Answer(Answer),
    /// Ask the recursors; without any, refuse.
    Recurse,
    /// An address that nobody here has: ask the recursors; without any, fail.
    RecurseReverse,
}

/// Answers the question for `name` (lower case, without the final dot).
pub fn answer(view: &View<'_>, name: &str, kind: Kind) -> Verdict {
    let question = parse(name, kind, view.config);
    if question == Question::Foreign {
        return Verdict::Recurse;
    }
    if let Question::Reverse(ip) = question {
        return reverse(view, ip, kind).map_or(Verdict::RecurseReverse, Verdict::Answer);
    }
    Verdict::Answer(match kind {
        Kind::Axfr => Answer::empty(Code::NotImp),
        Kind::Soa => authority(view),
        Kind::Ns => name_servers(view),
        Kind::A | Kind::Aaaa | Kind::Any | Kind::Srv | Kind::Txt | Kind::Other => lookup(view, question, kind, 0),
    })
}

fn lookup(view: &View<'_>, question: Question<'_>, kind: Kind, depth: usize) -> Answer {
    match question {
        Question::Node { name, datacenter } if is_here(view, datacenter) => node(view, name, kind, depth),
        Question::Service { name, tag, datacenter } if is_here(view, datacenter) => {
            service::answer(view, name, tag, kind, depth)
        }
        Question::Address(ip) => {
            let mut answer = Answer::empty(Code::NoError);
            answer.answers.push(asked(view.config.node_ttl_s, Data::address(ip)));
            answer
        }
        Question::NoAddress => Answer::empty(Code::NoError),
        Question::Node { .. }
        | Question::Service { .. }
        | Question::Reverse(_)
        | Question::Unknown
        | Question::Foreign => missing(view),
    }
}

/// Whether a question is about this data centre.
pub(super) fn is_here(view: &View<'_>, datacenter: Option<&str>) -> bool {
    datacenter.is_none_or(|named| named.eq_ignore_ascii_case(view.datacenter))
}

/// A record of the name that was asked for.
pub(super) fn asked(ttl_s: u32, data: Data) -> Record {
    Record { owner: Owner::Question, ttl_s, data }
}

/// No such name.
pub(super) fn missing(view: &View<'_>) -> Answer {
    let mut answer = Answer::empty(Code::NxDomain);
    answer.authorities.push(soa(view));
    answer
}

pub(super) fn soa(view: &View<'_>) -> Record {
    let domain = &view.config.domain;
    let timers = view.config.soa;
    let data = Data::Soa {
        primary: format!("ns.{domain}"),
        mailbox: format!("hostmaster.{domain}"),
        serial: view.unix_s,
        timers_s: [timers.refresh_s, timers.retry_s, timers.expire_s, timers.min_ttl_s],
    };
    Record { owner: Owner::Name(domain.clone()), ttl_s: timers.min_ttl_s, data }
}

fn authority(view: &View<'_>) -> Answer {
    let mut answer = Answer::empty(Code::NoError);
    let servers = name_servers(view);
    answer.answers.push(soa(view));
    answer.authorities = servers.answers;
    answer.additionals = servers.additionals;
    answer
}

fn name_servers(view: &View<'_>) -> Answer {
    let mut answer = Answer::empty(Code::NoError);
    let ttl_s = view.config.node_ttl_s;
    for instance in service::healthy(view, "consul", None).into_iter().take(NAME_SERVERS_MAX) {
        let name = node_name(view, &instance.node);
        let owner = Owner::Name(view.config.domain.clone());
        answer.answers.push(Record { owner, ttl_s, data: Data::Ns(name.clone()) });
        if let Ok(ip) = instance.node.address.parse::<IpAddr>() {
            answer.additionals.push(Record { owner: Owner::Name(name), ttl_s, data: Data::address(ip) });
        }
    }
    answer
}

/// The full name of a node, always in the main domain.
pub(super) fn node_name(view: &View<'_>, node: &Node) -> String {
    format!("{}.node.{}.{}", node.name, view.datacenter, view.config.domain)
}

fn node(view: &View<'_>, name: &str, kind: Kind, depth: usize) -> Answer {
    let Some(node) = view.state.node(name).value else { return missing(view) };
    let mut answer = Answer::empty(Code::NoError);
    if !matches!(kind, Kind::A | Kind::Aaaa | Kind::Any | Kind::Txt) {
        return answer;
    }
    let ttl_s = view.config.node_ttl_s;
    match node.address.parse::<IpAddr>() {
        Ok(ip) => {
            let wanted = if ip.is_ipv4() { Kind::A } else { Kind::Aaaa };
            if kind == wanted || kind == Kind::Any {
                answer.answers.push(asked(ttl_s, Data::address(ip)));
            }
        }
        Err(_) if kind != Kind::Txt => {
            answer.answers.push(asked(ttl_s, Data::Cname(without_dot(&node.address).to_owned())));
            let records = chase(view, &node.address, depth, &mut answer.unresolved);
            answer.answers.extend(records);
        }
        Err(_) => {}
    }
    match kind {
        Kind::Txt | Kind::Any => answer.answers.extend(metadata(&node, &Owner::Question, ttl_s)),
        _ if view.config.node_meta_txt => {
            answer.additionals.extend(metadata(&node, &Owner::Question, ttl_s));
        }
        _ => {}
    }
    answer
}

/// A node's metadata as TXT records. RFC 1464 keeps the first `=` for itself.
pub(super) fn metadata(node: &Node, owner: &Owner, ttl_s: u32) -> impl Iterator<Item = Record> {
    node.meta.iter().map(move |(key, value)| {
        let text = if key.to_ascii_lowercase().starts_with("rfc1035-") {
            value.clone()
        } else {
            format!("{}={value}", key.replace('`', "``").replace('=', "`="))
        };
        Record { owner: owner.clone(), ttl_s, data: Data::Txt(text) }
    })
}

pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// What is behind a host name that an answer points to: looked up here if it is ours, else what recursors said.
pub(super) fn chase(view: &View<'_>, target: &str, depth: usize, unresolved: &mut Vec<String>) -> Vec<Record> {
    let target = without_dot(target);
    let folded = target.to_ascii_lowercase();
    let ours = [&view.config.domain, &view.config.alt_domain]
        .into_iter()
        .any(|domain| strip_domain(&folded, domain).is_some());
    if ours {
        if depth >= CHASE_DEPTH_MAX {
            return Vec::new();
        }
        let found = lookup(view, parse(&folded, Kind::Any, view.config), Kind::Any, depth + 1);
        for name in found.unresolved {
            note(unresolved, name);
        }
        let points = found.answers.into_iter().filter(|record| !matches!(record.data, Data::Txt(_)));
        return points.map(|record| renamed(record, target)).collect();
    }
    match view.resolved.get(&folded) {
        Some(records) => records.iter().cloned().map(|record| renamed(record, target)).collect(),
        None => {
            note(unresolved, folded);
            Vec::new()
        }
    }
}

fn note(unresolved: &mut Vec<String>, name: String) {
    if !unresolved.contains(&name) {
        unresolved.push(name);
    }
}

/// Seen from the outer answer, the inner question is just another name.
fn renamed(record: Record, asked: &str) -> Record {
    match record.owner {
        Owner::Question => Record { owner: Owner::Name(asked.to_owned()), ..record },
        Owner::Name(_) => record,
    }
}

/// The first node with this address by name, else the first service.
fn reverse(view: &View<'_>, ip: Option<IpAddr>, kind: Kind) -> Option<Answer> {
    let ip = ip?;
    let same = |address: &str| address.parse::<IpAddr>() == Ok(ip);
    let node = view.state.nodes.values().find(|node| same(&node.address));
    let name = node.map(|node| node_name(view, node)).or_else(|| {
        let service = view.state.services.values().find(|service| same(&service.address))?;
        Some(format!("{}.service.{}.{}", service.name, view.datacenter, view.config.domain))
    })?;
    let mut answer = Answer::empty(Code::NoError);
    answer.answers.push(asked(0, Data::Ptr(name)));
    if kind == Kind::Soa {
        answer.authorities.push(soa(view));
    }
    Some(answer)
}
