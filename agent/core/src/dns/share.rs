//! Answers about a service before chance and limits had their say: what each instance would add.
//!
//! As long as the service's index does not move, the same question has the
//! same shares, so they can be kept. An answer made of them is the one of
//! [`super::answer`]: shares in random order, without repetitions, cut to size.
//! Only what depends on nothing but the service and the policy has shares:
//! names without healthy instances, and instances at a host name, have none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::answer::{View, asked, is_here, soa};
use super::name::{Question, parse};
use super::record::{Answer, Code, Data, Kind, Record};
use super::service::{address_of, gives, healthy, port};
use crate::state::tables::{Index, ServiceName, fold};

/// What all answers to one question are made of while the service stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The folded name of the service.
    pub service: ServiceName,
    /// What [`crate::state::tables::State::service_index`] says of it as long as this holds.
    pub index: Index,
    /// One for each instance that has a record of the type.
    pub list: Vec<Share>,
    /// The answer without them.
    pub without: Answer,
    /// The most records in the answer section; zero for no limit.
    pub answers_max: usize,
}

/// What one instance adds to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its record.
    pub answer: Record,
    /// Additional records; the first is about the name that the record points to.
    pub behind: Vec<Record>,
    /// Of shares with the same number a client sees only the first.
    pub same: usize,
}

/// The shares of the question for `name` (lower case, without the final dot), if it has any.
pub fn shares(view: &View<'_>, name: &str, kind: Kind) -> Option<Shares> {
    let Question::Service { name, tag, datacenter } = parse(name, kind, view.config) else { return None };
    if !is_here(view, datacenter) || !matches!(kind, Kind::A | Kind::Aaaa | Kind::Srv) {
        return None;
    }
    let ttl_s = view.config.service_ttl_s(name);
    let instances = healthy(view, name, tag);
    if instances.is_empty() {
        return None;
    }
    let mut numbers = BTreeMap::new();
    let mut list = Vec::with_capacity(instances.len());
    for instance in &instances {
        let address = address_of(instance);
        let ip: IpAddr = address.parse().ok()?;
        let next = numbers.len();
        let mut number = |node, port| *numbers.entry((node, address, port)).or_insert(next);
        if kind == Kind::Srv {
            let (answer, behind) = port(view, instance, ttl_s, 0, &mut Vec::new());
            let same = number(instance.node.name.as_str(), instance.service.port);
            list.push(Share { answer, behind, same });
        } else if gives(kind, ip) {
            list.push(Share { answer: asked(ttl_s, Data::address(ip)), behind: Vec::new(), same: number("", 0) });
        }
    }
    let answers_max = if kind == Kind::Srv { 0 } else { view.config.a_record_limit };
    let service = fold(name);
    let index = view.state.service_index(&service);
    let mut without = Answer::empty(Code::NoError);
    if list.is_empty() {
        without.authorities.push(soa(view));
    }
    Some(Shares { service, index, list, without, answers_max })
}

/// The SplitMix64 sequence of a seed: chance that can be repeated.
#[derive(Clone, Debug)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The next number below `bound`, which is above zero. Bounds are far below 2^32, so the bias of the modulo is
    /// nothing.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits % bound as u64) as usize
    }
}
