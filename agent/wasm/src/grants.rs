//! What a plugin is granted: the `allow` block, parsed once. Each kind has a `parse` whose errors show a right one.
//!
//! Grants are closed lists: what no entry names is denied. Nothing here opens anything.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What a plugin is granted. Nothing unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Addresses it may connect or send to.
    pub network: Vec<NetworkGrant>,
    /// URLs it may request.
    pub urls: Vec<UrlGrant>,
    /// Directories it may read.
    pub directories: Vec<DirectoryGrant>,
    /// Environment variables of the agent's process it may read, by exact name; see [`environment`]. Read when a run starts.
    pub environment: Vec<String>,
}

impl Grants {
    /// Whether `to` may be connected to.
    pub fn network_allows(&self, to: SocketAddr) -> bool {
        self.network.iter().any(|grant| grant.allows(to))
    }

    /// Whether this URL may be requested: exact scheme, host and port, and a path below the grant's.
    pub fn url_allows(&self, scheme: &str, host: &str, port: u16, path: &str) -> bool {
        self.urls.iter().any(|grant| grant.allows(scheme, host, port, path))
    }
}

/// Addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGrant {
    network: IpAddr,
    prefix: u8,
    ports: (u16, u16),
}

impl NetworkGrant {
    /// Parses `10.0.0.0/8:6379`, `10.1.2.3:8000-8100`, `[fd00::/8]:443`, `192.0.2.7:*`. Names are not taken: what they mean changes, and
    /// with it what is granted.
    pub fn parse(text: &str) -> Result<NetworkGrant, GrantError> {
        let wrong = |why: &str| {
            GrantError(format!(
                "allow.network {text:?}: {why}; write addresses and ports such as \"10.0.0.0/8:6379\", \"10.1.2.3:8000-8100\", \
                 \"[fd00::/8]:443\" or \"127.0.0.1:*\""
            ))
        };
        let (address, ports) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(|| wrong("the port is missing after ]"))?,
            None => text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?,
        };
        let (address, prefix) = match address.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (address, None),
        };
        if !text.starts_with('[') && address.contains(':') {
            return Err(wrong("an IPv6 address stands in brackets"));
        }
        let network: IpAddr =
            address.parse().map_err(|_| wrong("the address is not an IP address (a name cannot be granted)"))?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => digits(prefix)
                .and_then(|p| u8::try_from(p).ok())
                .filter(|p| *p <= bits)
                .ok_or_else(|| wrong(&format!("the prefix length must be 0 to {bits}")))?,
        };
        let grant = NetworkGrant { network, prefix, ports: ports_of(ports).map_err(|why| wrong(&why))? };
        if mask(bits_of(network), prefix, bits) != bits_of(network) {
            return Err(wrong("the address has bits set beyond its prefix length"));
        }
        Ok(grant)
    }

    /// Whether it grants this address and port. An IPv4 address written as IPv6 counts as IPv4.
    pub fn allows(&self, to: SocketAddr) -> bool {
        let ip = to.ip().to_canonical();
        let network = self.network.to_canonical();
        let (bits, prefix) = match (network, self.network) {
            (IpAddr::V4(_), IpAddr::V6(_)) if self.prefix >= 96 => (32, self.prefix - 96),
            (IpAddr::V4(_), IpAddr::V4(_)) => (32, self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) => return false,
            (IpAddr::V6(_), _) => (128, self.prefix),
        };
        ip.is_ipv4() == network.is_ipv4()
            && mask(bits_of(ip), prefix, bits) == bits_of(network)
            && (self.ports.0..=self.ports.1).contains(&to.port())
    }
}

impl fmt::Display for NetworkGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(ip) => write!(f, "{ip}/{}:", self.prefix)?,
            IpAddr::V6(ip) => write!(f, "[{ip}/{}]:", self.prefix)?,
        }
        match self.ports {
            (1, u16::MAX) => f.write_str("*"),
            (from, to) if from == to => write!(f, "{from}"),
            (from, to) => write!(f, "{from}-{to}"),
        }
    }
}

/// Plain decimal digits: neither a sign nor leading zeros, which people read in two ways.
fn digits(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn ports_of(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        digits(text)
            .and_then(|p| u16::try_from(p).ok())
            .filter(|p| *p != 0)
            .ok_or_else(|| format!("{text:?} is not a port from 1 to 65535"))
    };
    match text.split_once('-') {
        _ if text == "*" => Ok((1, u16::MAX)),
        None => port(text).map(|p| (p, p)),
        Some((from, to)) => match (port(from)?, port(to)?) {
            (from, to) if from <= to => Ok((from, to)),
            _ => Err("the range of ports ends before it begins".to_owned()),
        },
    }
}

fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The first `prefix` of `bits` bits.
fn mask(value: u128, prefix: u8, bits: u8) -> u128 {
    let keep = u128::MAX.checked_shl(u32::from(bits - prefix)).unwrap_or(0);
    value & keep
}

/// A URL and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlGrant {
    scheme: String,
    host: String,
    port: u16,
    path: String,
}

impl UrlGrant {
    /// Parses `https://api.example.com/v1/status` or `http://127.0.0.1:8080`. The path grants itself and what is below it, at whole segments.
    pub fn parse(text: &str) -> Result<UrlGrant, GrantError> {
        let wrong = |why: &str| {
            GrantError(format!(
                "allow.urls {text:?}: {why}; write a URL such as \"https://api.example.com/v1\" or \"http://127.0.0.1:8080\""
            ))
        };
        let uri: hyper::Uri = text.parse().map_err(|e| wrong(&format!("it is not a URL ({e})")))?;
        let scheme = uri.scheme_str().ok_or_else(|| wrong("the scheme is missing"))?.to_owned();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong("the scheme must be http or https")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user or password does not belong here"));
        }
        let host = canonical_host(authority.host());
        if !is_host(&host) {
            return Err(wrong("the host must be one name or address; wildcards are not supported"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("a query or fragment cannot be granted, only a path"));
        }
        let port = port_of(authority, default).ok_or_else(|| wrong("the port must be 1 to 65535"))?;
        let path = canonical_path(uri.path()).ok_or_else(|| wrong("the path must not contain . or .. segments"))?;
        let path = path.trim_end_matches('/').to_owned();
        Ok(UrlGrant { scheme, host, port, path })
    }

    /// Whether it grants this URL; `path` without query. A path with `.` or `..` segments, also encoded, is never granted.
    pub fn allows(&self, scheme: &str, host: &str, port: u16, path: &str) -> bool {
        let Some(path) = canonical_path(path) else { return false };
        self.scheme == scheme
            && self.host == canonical_host(host)
            && self.port == port
            && path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for UrlGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UrlGrant { scheme, host, port, path } = self;
        match host.parse::<Ipv6Addr>() {
            Ok(_) => write!(f, "{scheme}://[{host}]:{port}{path}"),
            Err(_) => write!(f, "{scheme}://{host}:{port}{path}"),
        }
    }
}

/// The port of an authority. hyper's `port_u16` answers none both for no port and for a wrong one, so the text is looked at too.
pub(crate) fn port_of(authority: &hyper::http::uri::Authority, default: u16) -> Option<u16> {
    match authority.port_u16() {
        Some(0) => None,
        Some(port) => Some(port),
        None if authority.as_str().rsplit('@').next() == Some(authority.host()) => Some(default),
        None => None,
    }
}

/// A host in one spelling: lower case, no brackets, no dot at the end.
pub(crate) fn canonical_host(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.parse::<IpAddr>().map_or(host, |ip| ip.to_string())
}

/// Whether a [`canonical_host`] is an address or a name (RFC 1123, 2.1): labels of letters, digits, `-` and, as many networks have it, `_`.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

/// A path with letters, digits and `-._~` decoded, as RFC 3986 (6.2.2.2) has it, so that one path has one spelling here. None if a segment is
/// `.` or `..`, or if it holds what servers read in two ways: an encoded slash or backslash, a backslash, an encoding of no byte.
pub(crate) fn canonical_path(path: &str) -> Option<String> {
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        canonical.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(code, 16).ok()?;
        match byte {
            b'/' | b'\\' | 0 => return None,
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => canonical.push(char::from(b)),
            b => canonical.push_str(&format!("%{b:02X}")),
        }
        rest = &rest[at + 3..];
    }
    canonical.push_str(rest);
    // Some servers take what follows a semicolon for parameters, and `..;` for `..`.
    let name = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    let dotted = canonical.split('/').any(|segment| matches!(name(segment).as_str(), "." | ".."));
    (!dotted && !canonical.contains('\\')).then_some(canonical)
}

/// A directory, read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryGrant {
    /// On this host; absolute.
    pub host: PathBuf,
    /// As the plugin sees it; absolute.
    pub guest: String,
}

impl DirectoryGrant {
    /// Parses `/etc/ssl/certs` (the plugin sees it under the same path) or `/srv/data=/data` (it sees `/data`). Need not exist yet: it is
    /// opened when a run starts.
    pub fn parse(text: &str) -> Result<DirectoryGrant, GrantError> {
        let wrong = |why: &str| {
            GrantError(format!(
                "allow.directories {text:?}: {why}; write a path such as \"/etc/ssl/certs\", or \"/srv/data=/data\" to show it as /data"
            ))
        };
        let (host, guest) = text.split_once('=').unwrap_or((text, text));
        for (path, whose) in [(host, "the path"), (guest, "the path the plugin sees")] {
            if !path.starts_with('/') {
                return Err(wrong(&format!("{whose} must be absolute")));
            }
            if path.split('/').any(|segment| segment == "..") || path.contains('\0') {
                return Err(wrong(&format!("{whose} must not contain ..")));
            }
        }
        Ok(DirectoryGrant { host: host.into(), guest: guest.to_owned() })
    }
}

/// Checks the name of an environment variable to grant: 1 to 255 characters of `A-Z`, `a-z`, `0-9` and `_`.
pub fn environment(name: &str) -> Result<String, GrantError> {
    let plain = (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match plain {
        true => Ok(name.to_owned()),
        false => Err(GrantError(format!(
            "allow.environment {name:?}: not the name of a variable; write one whole name such as \"REDIS_PASSWORD\" (no patterns)"
        ))),
    }
}

/// What is wrong with a grant, and what a right one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantError(pub(crate) String);

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GrantError {}

#[cfg(test)]
mod tests;
