//! Answers about services: which instances are healthy, in which order, and what is said about each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::answer::{View, asked, chase, metadata, missing, node_name, soa, without_dot};
use super::record::{Answer, Code, Data, Kind, Owner, Record};
use super::share::Sequence;
use crate::state::catalog::HealthInstance;
use crate::state::tables::Status;

pub(super) fn answer(view: &View<'_>, name: &str, tag: Option<&str>, kind: Kind, depth: usize) -> Answer {
    let instances = healthy(view, name, tag);
    if instances.is_empty() {
        return missing(view);
    }
    let ttl_s = view.config.service_ttl_s(name);
    let mut answer = Answer::empty(Code::NoError);
    answer.trims = true;
    match kind {
        Kind::Srv => ports(view, &instances, ttl_s, depth, &mut answer),
        Kind::A | Kind::Aaaa | Kind::Any | Kind::Txt | Kind::Ns | Kind::Soa | Kind::Axfr | Kind::Other => {
            addresses(view, &instances, kind, ttl_s, depth, &mut answer);
        }
    }
    if answer.answers.is_empty() {
        answer.authorities.push(soa(view));
    }
    answer
}

/// The instances that may be answered, in the order of the view's seed.
pub(super) fn healthy(view: &View<'_>, name: &str, tag: Option<&str>) -> Vec<HealthInstance> {
    let tags: Vec<String> = tag.map(str::to_owned).into_iter().collect();
    let worst_allowed = if view.config.only_passing { Status::Passing } else { Status::Warning };
    let mut instances = view.state.health_instances(name, &tags).value;
    instances.retain(|instance| worst(instance) <= worst_allowed);
    shuffle(&mut instances, view.seed);
    instances
}

fn worst(instance: &HealthInstance) -> Status {
    instance.checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing)
}

/// Fisher and Yates.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut sequence = Sequence(seed);
    for last in (1..list.len()).rev() {
        list.swap(last, sequence.below(last + 1));
    }
}

/// The address an instance is reached at.
pub(super) fn address_of(instance: &HealthInstance) -> &str {
    if instance.service.address.is_empty() { &instance.node.address } else { &instance.service.address }
}

fn addresses(view: &View<'_>, instances: &[HealthInstance], kind: Kind, ttl_s: u32, depth: usize, answer: &mut Answer) {
    let mut seen = BTreeSet::new();
    let mut alias = None;
    for instance in instances {
        let address = address_of(instance);
        if !seen.insert(address) {
            continue;
        }
        match address.parse::<IpAddr>() {
            Ok(ip) if gives(kind, ip) => answer.answers.push(asked(ttl_s, Data::address(ip))),
            Ok(_) => continue,
            // A name has one alias and nothing beside it, so it is only given when there are no addresses.
            Err(_) => {
                alias.get_or_insert(address);
                continue;
            }
        }
        if answer.answers.len() == view.config.a_record_limit {
            return;
        }
    }
    if let (Some(host), true) = (alias, answer.answers.is_empty()) {
        answer.answers.push(asked(ttl_s, Data::Cname(without_dot(host).to_owned())));
        let behind = chase(view, host, depth, &mut answer.unresolved);
        answer.answers.extend(behind.into_iter().map(|record| Record { ttl_s, ..record }));
    }
}

/// Whether a question of this kind gets this address. That TXT does is Consul's habit.
pub(super) fn gives(kind: Kind, ip: IpAddr) -> bool {
    match kind {
        Kind::A => ip.is_ipv4(),
        Kind::Aaaa => ip.is_ipv6(),
        Kind::Any | Kind::Txt => true,
        Kind::Srv | Kind::Ns | Kind::Soa | Kind::Axfr | Kind::Other => false,
    }
}

fn ports(view: &View<'_>, instances: &[HealthInstance], ttl_s: u32, depth: usize, answer: &mut Answer) {
    let mut seen = BTreeSet::new();
    for instance in instances {
        if seen.insert((&instance.node.name, address_of(instance), instance.service.port)) {
            let (port, behind) = port(view, instance, ttl_s, depth, &mut answer.unresolved);
            answer.answers.push(port);
            answer.additionals.extend(behind);
        }
    }
}

/// The port of an instance, and what is known of the name it is at.
pub(super) fn port(
    view: &View<'_>,
    instance: &HealthInstance,
    ttl_s: u32,
    depth: usize,
    unresolved: &mut Vec<String>,
) -> (Record, Vec<Record>) {
    let address = address_of(instance);
    let (node, service) = (&instance.node, &instance.service);
    let weight = if worst(instance) == Status::Passing { service.weights.passing } else { service.weights.warning };
    let weight = u16::try_from(weight).unwrap_or(u16::MAX);
    let (target, mut behind) = match address.parse::<IpAddr>() {
        Ok(ip) => {
            let own = !service.address.is_empty();
            let target = if own { address_name(view, ip) } else { node_name(view, node) };
            let owner = Owner::Name(target.clone());
            (target, vec![Record { owner, ttl_s, data: Data::address(ip) }])
        }
        Err(_) => (without_dot(address).to_owned(), chase(view, address, depth, unresolved)),
    };
    behind.iter_mut().for_each(|record| record.ttl_s = ttl_s);
    if view.config.node_meta_txt && !node.meta.is_empty() {
        behind.extend(metadata(node, &Owner::Name(node_name(view, node)), ttl_s));
    }
    (asked(ttl_s, Data::Srv { weight, port: service.port, target }), behind)
}

/// An address as a name: its digits in hexadecimal.
fn address_name(view: &View<'_>, ip: IpAddr) -> String {
    let digits = match ip {
        IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
    };
    format!("{digits}.addr.{}.{}", view.datacenter, view.config.domain)
}
