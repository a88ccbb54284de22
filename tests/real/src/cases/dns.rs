//! DNS cases: a catalog, questions, and every record of their answers.

use std::collections::BTreeMap;
use std::fmt::Write;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Whoever is asked.
pub trait World {
    /// Takes a body for `PUT /v1/catalog/register`.
    fn register(&mut self, json: &str);

    /// Answers a packet, over UDP or TCP.
    fn ask(&mut self, packet: &[u8], tcp: bool) -> Vec<u8>;
}

/// The `dns_config` a case asks for, as JSON.
pub fn config(case: &str) -> Option<&str> {
    case.lines().find_map(|line| line.strip_prefix("config "))
}

/// The case with the answers of `world` in place of the recorded ones.
pub fn answered(case: &str, world: &mut impl World) -> String {
    let mut out = String::new();
    for line in case.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").expect("a String takes all that is written");
        if let Some(json) = line.strip_prefix("register ") {
            world.register(json);
        } else if let Some(question) = line.strip_prefix("? ") {
            for line in ask(question, world) {
                writeln!(out, "  {line}").expect("a String takes all that is written");
            }
        }
    }
    out
}

/// The answer to one question, both in the notation of the case files.
pub fn ask(question: &str, world: &mut impl World) -> Vec<String> {
    let reply = world.ask(&packet(question), question.contains(" tcp"));
    describe(&reply, question.ends_with(" count"))
}

/// The questions whose answers differ, with both of them; empty when the texts are equal.
pub fn differences(recorded: &str, answered: &str) -> String {
    let split = |text: &str| text.split("\n? ").map(str::to_owned).collect::<Vec<_>>();
    let (recorded, answered) = (split(recorded), split(answered));
    let differing =
        recorded.iter().zip(&answered).filter(|(recorded, answered)| recorded.trim_end() != answered.trim_end());
    differing.map(|(recorded, answered)| format!("recorded ? {recorded}\nanswered ? {answered}\n")).collect()
}

/// A question such as `web.service.consul SRV edns=4096` as a packet.
///
/// # Panics
/// When it is none.
pub fn packet(question: &str) -> Vec<u8> {
    let mut words = question.split(' ');
    let name = words.next().expect("a name").trim_end_matches('.');
    let kind: RecordType = words.next().expect("a type").parse().expect("a known type");
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).expect("a name"), kind));
    for payload in words.filter_map(|word| word.strip_prefix("edns=")) {
        let mut edns = Edns::new();
        edns.set_max_payload(payload.parse().expect("a number"));
        message.set_edns(edns);
    }
    message.to_vec().expect("it fits")
}

/// A reply in the notation of the case files.
///
/// # Panics
/// When it is no DNS message.
pub fn describe(reply: &[u8], count: bool) -> Vec<String> {
    let message = Message::from_vec(reply).expect("the reply is a DNS message");
    let sections =
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)];
    let records = sections.iter().flat_map(|(section, records)| records.iter().map(move |record| (section, record)));
    let mut lines: Vec<String> = match count {
        false => records.map(|(section, record)| format!("{section} {}", describe_record(record))).collect(),
        true => {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for (section, record) in records {
                *counts.entry(format!("{section} {}", record.record_type())).or_default() += 1;
            }
            counts.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect()
        }
    };
    if message.edns.is_some() {
        // The payload size as sent: the library raises small ones.
        let at = reply.len() - 8;
        lines.push(format!("edns {}", u16::from_be_bytes([reply[at], reply[at + 1]])));
    }
    lines.sort();
    lines.insert(0, describe_head(&message));
    lines
}

fn describe_head(message: &Message) -> String {
    let metadata = &message.metadata;
    let code = match metadata.response_code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::Refused => "REFUSED",
        _ => "another code",
    };
    let flags = [(metadata.authoritative, " aa"), (metadata.truncation, " tc"), (metadata.recursion_available, " ra")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    format!("{code}{flags}")
}

fn describe_record(record: &Record) -> String {
    let data = match &record.data {
        RData::SOA(soa) => {
            format!("{} {} * {} {} {} {}", soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum)
        }
        RData::TXT(txt) => {
            let texts = txt.txt_data.iter().map(|text| format!("\"{}\"", String::from_utf8_lossy(text)));
            texts.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    format!("{} {} {} {data}", record.name, record.ttl, record.record_type())
}
