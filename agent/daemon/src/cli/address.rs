//! Where the agent is: the notations of `-http-addr`, and how URLs to it are written.
//!
//! Owns escaping as Go does it, because the URLs appear in error texts. Opens no socket.

/// Where the agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `host:port`.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(String),
}

/// A target and whether it speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// TLS or plain.
    pub https: bool,
    /// Where.
    pub target: Target,
}

impl Default for Address {
    fn default() -> Self {
        Address { https: false, target: Target::Tcp("127.0.0.1:8500".to_owned()) }
    }
}

impl Address {
    /// Reads `host:port`, `http://…`, `https://…` or `unix://…`; `https` is the default scheme's choice.
    ///
    /// # Errors
    /// Another scheme.
    pub fn parse(text: &str, https: bool) -> Result<Address, String> {
        let (https, target) = match text.split_once("://") {
            None => (https, Target::Tcp(text.to_owned())),
            Some(("http", host)) => (false, Target::Tcp(host.trim_end_matches('/').to_owned())),
            Some(("https", host)) => (true, Target::Tcp(host.trim_end_matches('/').to_owned())),
            Some(("unix", path)) => (false, Target::Unix(path.to_owned())),
            Some((scheme, _)) => return Err(format!("Unknown protocol scheme: {scheme}")),
        };
        Ok(Address { https, target })
    }

    /// The part of a URL before the path, as Go's client prints it.
    pub fn url_root(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        match &self.target {
            Target::Tcp(host) => format!("{scheme}://{host}"),
            Target::Unix(path) => format!("{scheme}://{}", path.replace('/', "%2F")),
        }
    }

    /// What to connect to: the target with the scheme's port if it names none. For a Unix socket, its path.
    pub fn dialled(&self) -> String {
        let port = if self.https { 443 } else { 80 };
        match &self.target {
            Target::Tcp(host)
                if host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':') || name.ends_with(']')) =>
            {
                host.clone()
            }
            Target::Tcp(host) => format!("{host}:{port}"),
            Target::Unix(path) => path.clone(),
        }
    }

    /// The `Host` header.
    pub fn host_header(&self) -> &str {
        match &self.target {
            Target::Tcp(host) => host,
            Target::Unix(_) => "localhost",
        }
    }
}

/// A path with everything escaped that Go escapes in one.
pub fn escape_path(path: &str) -> String {
    escape(path, b"$&+,/:;=@-_.~")
}

/// Query parameters sorted by name, as Go encodes them.
pub fn encode_query(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let escaped = |text: &str| escape(text, b"-_.~ ").replace(' ', "+");
    sorted.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect::<Vec<_>>().join("&")
}

fn escape(text: &str, kept: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_notation() {
        for (text, root) in [
            ("127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("http://h:1", "http://h:1"),
            ("https://h:1", "https://h:1"),
            ("unix:///run/x", "http://%2Frun%2Fx"),
        ] {
            assert_eq!(Address::parse(text, false).unwrap().url_root(), root);
        }
        assert_eq!(Address::parse("ftp://h", false).unwrap_err(), "Unknown protocol scheme: ftp");
    }

    #[test]
    fn escapes_as_go_does() {
        assert_eq!(escape_path("a b/ü?%"), "a%20b/%C3%BC%3F%25");
        let query = [("wan".to_owned(), "1".to_owned()), ("filter".to_owned(), "a == \"b\"".to_owned())];
        assert_eq!(encode_query(&query), "filter=a+%3D%3D+%22b%22&wan=1");
    }
}
