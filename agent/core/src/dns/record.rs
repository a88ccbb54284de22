//! Answers before they are encoded: the few record types this server gives out.
//!
//! Names are text without the final dot.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of record a question asks for, as far as answers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Whatever there is.
    Any,
    /// Ports with names.
    Srv,
    /// Metadata.
    Txt,
    /// Name servers of the domain.
    Ns,
    /// Start of authority.
    Soa,
    /// A zone transfer, which is not served.
    Axfr,
    /// Any other type, which no name here has.
    Other,
}

/// The result in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The name exists, with or without a record of the type.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// Could not find out.
    ServFail,
    /// Not ours, and nobody to ask.
    Refused,
    /// Not implemented.
    NotImp,
}

/// Whose record it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The name of the question, in its letter case.
    Question,
    /// Another name.
    Name(String),
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// How long it may be kept, in seconds.
    pub ttl_s: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name for it.
    Cname(String),
    /// A port at a name. The priority is always one.
    Srv {
        /// Share among instances of the same priority.
        weight: u16,
        /// Port.
        port: u16,
        /// Where.
        target: String,
    },
    /// Text, at most 255 bytes each on the wire.
    Txt(String),
    /// A name server.
    Ns(String),
    /// Start of authority.
    Soa {
        /// Primary name server.
        primary: String,
        /// Mailbox in name form.
        mailbox: String,
        /// Serial number.
        serial: u32,
        /// Refresh, retry, expire and minimum TTL in seconds.
        timers_s: [u32; 4],
    },
    /// A name for an address.
    Ptr(String),
}

impl Data {
    /// An address.
    pub fn address(ip: IpAddr) -> Data {
        match ip {
            IpAddr::V4(ip) => Data::A(ip),
            IpAddr::V6(ip) => Data::Aaaa(ip),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result.
    pub code: Code,
    /// Whether it comes from the catalog.
    pub authoritative: bool,
    /// Answers were left out.
    pub truncated: bool,
    /// Whether [`super::trim`] applies: answers with many instances, not those about one node.
    pub trims: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
    /// Names outside the domain that answers point to and that only a recursor can resolve.
    pub unresolved: Vec<String>,
}

impl Answer {
    /// An authoritative answer without records.
    pub fn empty(code: Code) -> Answer {
        Answer {
            code,
            authoritative: true,
            truncated: false,
            trims: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            unresolved: Vec::new(),
        }
    }
}
