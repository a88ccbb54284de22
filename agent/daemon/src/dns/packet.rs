//! DNS packets: what is read of a request, and how an answer is written.
//!
//! Requests are decoded by hickory; answers are written straight into the
//! loop's buffer. Most records are about the name of the question, which is a
//! two-byte pointer to where it stands in the packet. Names in SRV records are
//! written in full (RFC 2782) and may be pointed to from later records.

use std::collections::BTreeMap;
use std::net::IpAddr;

use agent_core::dns::{Answer, Code, Data, Kind, Owner, Record};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// The bytes of a header.
pub const HEADER_BYTES: usize = 12;

/// The largest DNS message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// A pointer reaches this far into a packet.
const POINTER_MAX: usize = 0x3fff;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;
const OPCODE_NOTIFY: u16 = 4 << 11;

/// A question as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The name, lower case, without the final dot. A dot inside a label stands as a character no name has.
    pub name: String,
    /// What is asked for.
    pub kind: Kind,
    /// The OPT record, if there was one.
    pub edns: Option<Edns>,
    /// Where the question ends in the packet.
    pub question_end: usize,
    flags: u16,
}

/// What a request's OPT record says, as far as the answer repeats it.
#[derive(Clone, Debug)]
pub struct Edns {
    /// The largest UDP packet the client takes, in bytes; less than 512 counts as 512 (RFC 6891).
    pub payload_bytes: u16,
    subnet: Option<(IpAddr, u8)>,
}

/// Why a packet is not answered like a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Too short for a header, or an answer itself: there is nobody to reply to.
    Drop,
    /// Reply with this code (1 format error, 4 not implemented) and nothing else.
    Reply(u8),
}

/// Reads a request.
///
/// # Errors
/// It is no question that could be answered; see [`Unreadable`].
pub fn decode(bytes: &[u8]) -> Result<Request, Unreadable> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(Unreadable::Drop)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    if flags & RESPONSE != 0 {
        return Err(Unreadable::Drop);
    }
    if flags & OPCODE != 0 && flags & OPCODE != OPCODE_NOTIFY {
        return Err(Unreadable::Reply(4));
    }
    // One question, and no more other records than a question can have.
    if word(4) != 1 || word(6) > 1 || word(8) > 1 || word(10) > 2 {
        return Err(Unreadable::Reply(1));
    }
    let question_end = question_end(bytes).ok_or(Unreadable::Reply(1))?;
    if bytes.len() == question_end && [word(6), word(8), word(10)] == [0; 3] {
        return Ok(plain(bytes, flags, question_end));
    }
    let message = Message::from_vec(bytes).map_err(|_| Unreadable::Reply(1))?;
    let query = message.queries.first().ok_or(Unreadable::Reply(1))?;
    let edns = message.edns.as_ref().map(|edns| Edns {
        payload_bytes: edns.max_payload(),
        subnet: edns.option(EdnsCode::Subnet).and_then(|option| match option {
            EdnsOption::Subnet(subnet) => Some((subnet.addr(), subnet.source_prefix())),
            _ => None,
        }),
    });
    Ok(Request { name: folded(query.name().iter()), kind: kind(query.query_type()), edns, question_end, flags })
}

/// A question and nothing else, as most are.
fn plain(bytes: &[u8], flags: u16, question_end: usize) -> Request {
    let mut rest = &bytes[HEADER_BYTES..question_end - 4];
    let labels = std::iter::from_fn(|| {
        let (length, after) = rest.split_first().filter(|(length, _)| **length > 0)?;
        let (label, after) = after.split_at(usize::from(*length));
        rest = after;
        Some(label)
    });
    let name = folded(labels);
    let record_type = u16::from_be_bytes([bytes[question_end - 4], bytes[question_end - 3]]);
    Request { name, kind: kind(record_type.into()), edns: None, question_end, flags }
}

fn folded<'l>(labels: impl Iterator<Item = &'l [u8]>) -> String {
    let mut name = String::with_capacity(64);
    for label in labels {
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            let c = char::from(byte.to_ascii_lowercase());
            name.push(if c == '.' { char::REPLACEMENT_CHARACTER } else { c });
        }
    }
    name
}

fn kind(record_type: RecordType) -> Kind {
    match record_type {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::ANY => Kind::Any,
        RecordType::SRV => Kind::Srv,
        RecordType::TXT => Kind::Txt,
        RecordType::NS => Kind::Ns,
        RecordType::SOA => Kind::Soa,
        RecordType::AXFR => Kind::Axfr,
        _ => Kind::Other,
    }
}

/// Where the first question ends. Its name can't be compressed: nothing stands before it.
pub fn question_end(bytes: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        match length {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    (at - HEADER_BYTES <= 255 && at + 4 <= bytes.len()).then_some(at + 4)
}

/// Writes a reply that is a header with a code and nothing else.
pub fn encode_refusal(request: &[u8], code: u8, out: &mut Vec<u8>) {
    out.clear();
    let Some(header) = request.first_chunk::<HEADER_BYTES>() else { return };
    let opcode = if code == 4 { header[2] & 0x78 } else { 0 };
    out.extend_from_slice(&[header[0], header[1], 0x80 | opcode | (header[2] & 1), code]);
    out.extend_from_slice(&[0; HEADER_BYTES - 4]);
}

/// How an answer is written, besides what it says.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    /// The header's promise to ask elsewhere.
    pub recursion_available: bool,
    /// Point to names that were written before.
    pub compress: bool,
    /// Answer an OPT record with one.
    pub edns: bool,
}

/// Writes the answer to `request`, whose packet is `bytes`, into `out`.
pub fn encode(bytes: &[u8], request: &Request, answer: &Answer, encoding: Encoding, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&bytes[..request.question_end]);
    let mut flags = RESPONSE | (request.flags & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED));
    for (set, flag) in [
        (answer.authoritative, AUTHORITATIVE),
        (answer.truncated, TRUNCATED),
        (encoding.recursion_available, RECURSION_AVAILABLE),
    ] {
        flags |= if set { flag } else { 0 };
    }
    put(out, 2, flags | code(answer.code));
    let mut writer = Writer { out, names: BTreeMap::new(), compress: encoding.compress };
    let counts = [&answer.answers, &answer.authorities, &answer.additionals]
        .map(|section| section.iter().filter(|record| writer.record(record)).count() as u16);
    let edns = request.edns.as_ref().filter(|_| encoding.edns);
    if let Some(edns) = edns {
        write_edns(edns, out);
    }
    for (at, count) in [(4, 1), (6, counts[0]), (8, counts[1]), (10, counts[2] + u16::from(edns.is_some()))] {
        put(out, at, count);
    }
}

fn code(code: Code) -> u16 {
    match code {
        Code::NoError => 0,
        Code::ServFail => 2,
        Code::NxDomain => 3,
        Code::NotImp => 4,
        Code::Refused => 5,
    }
}

fn put(out: &mut [u8], at: usize, word: u16) {
    out[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// RFC 6891, and RFC 7871 for the subnet: repeated with scope zero, since answers are the same for everybody.
fn write_edns(edns: &Edns, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 41]);
    out.extend_from_slice(&edns.payload_bytes.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let Some((address, prefix)) = edns.subnet else { return out.extend_from_slice(&[0; 2]) };
    let (family, octets, bits) = match address {
        IpAddr::V4(ip) => (1_u8, ip.octets().to_vec(), 32),
        IpAddr::V6(ip) => (2, ip.octets().to_vec(), 128),
    };
    let prefix = prefix.min(bits);
    let octets = &octets[..usize::from(prefix.div_ceil(8))];
    let length = 4 + octets.len() as u16;
    out.extend_from_slice(&(length + 4).to_be_bytes());
    out.extend_from_slice(&[0, 8]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0, family, prefix, 0]);
    out.extend_from_slice(octets);
}

struct Writer<'a, 'b> {
    out: &'b mut Vec<u8>,
    /// Where each name and each end of a name stands.
    names: BTreeMap<&'a str, u16>,
    compress: bool,
}

impl<'a> Writer<'a, '_> {
    /// Writes a record, or nothing if a name in it can't be written.
    fn record(&mut self, record: &'a Record) -> bool {
        let start = self.out.len();
        let written = self.try_record(record);
        if written.is_none() {
            self.out.truncate(start);
            self.names.retain(|_, at| usize::from(*at) < start);
        }
        written.is_some()
    }

    fn try_record(&mut self, record: &'a Record) -> Option<()> {
        match &record.owner {
            // The question stands right behind the header. Without compression it is copied.
            Owner::Question if self.compress => self.out.extend_from_slice(&[0xc0, HEADER_BYTES as u8]),
            Owner::Question => self.copy_question(),
            Owner::Name(name) => self.name(name, self.compress)?,
        }
        let record_type: u16 = match record.data {
            Data::A(_) => 1,
            Data::Ns(_) => 2,
            Data::Cname(_) => 5,
            Data::Soa { .. } => 6,
            Data::Ptr(_) => 12,
            Data::Txt(_) => 16,
            Data::Aaaa(_) => 28,
            Data::Srv { .. } => 33,
        };
        self.out.extend_from_slice(&record_type.to_be_bytes());
        self.out.extend_from_slice(&[0, 1]);
        self.out.extend_from_slice(&record.ttl_s.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        self.data(&record.data)?;
        let length = u16::try_from(self.out.len() - length_at - 2).ok()?;
        put(self.out, length_at, length);
        Some(())
    }

    fn data(&mut self, data: &'a Data) -> Option<()> {
        match data {
            Data::A(ip) => self.out.extend_from_slice(&ip.octets()),
            Data::Aaaa(ip) => self.out.extend_from_slice(&ip.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => self.name(name, self.compress)?,
            Data::Srv { weight, port, target } => {
                for word in [1, *weight, *port] {
                    self.out.extend_from_slice(&word.to_be_bytes());
                }
                self.name(target, false)?;
            }
            Data::Txt(text) => {
                for chunk in text.as_bytes().chunks(255) {
                    self.out.push(chunk.len() as u8);
                    self.out.extend_from_slice(chunk);
                }
                if text.is_empty() {
                    self.out.push(0);
                }
            }
            Data::Soa { primary, mailbox, serial, timers_s } => {
                self.name(primary, self.compress)?;
                self.name(mailbox, self.compress)?;
                for word in [&[*serial][..], timers_s].concat() {
                    self.out.extend_from_slice(&word.to_be_bytes());
                }
            }
        }
        Some(())
    }

    fn copy_question(&mut self) {
        let end = question_end(self.out).map_or(HEADER_BYTES, |end| end - 4);
        self.out.extend_from_within(HEADER_BYTES..end);
    }

    /// Writes a name, pointing to an earlier one if `point`. `None` if it is no name DNS could carry.
    fn name(&mut self, name: &'a str, point: bool) -> Option<()> {
        if name.len() > 253 {
            return None;
        }
        let mut rest = name;
        while !rest.is_empty() {
            if let (true, Some(at)) = (point, self.names.get(rest)) {
                self.out.extend_from_slice(&(0xc000 | at).to_be_bytes());
                return Some(());
            }
            if self.compress && self.out.len() <= POINTER_MAX {
                self.names.entry(rest).or_insert(self.out.len() as u16);
            }
            let (label, after) = rest.split_once('.').unwrap_or((rest, ""));
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            self.out.push(length);
            self.out.extend_from_slice(label.as_bytes());
            rest = after;
        }
        self.out.push(0);
        Some(())
    }
}
