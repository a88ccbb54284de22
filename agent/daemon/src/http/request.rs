//! A request, taken apart: path, query parameters, token, body.
//!
//! Percent-encoding is undone once, here, as Go's `net/url` does: in the path a
//! plus sign is a plus sign, in the query it is a space.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};
use hyper::{Method, Uri};

use super::AgentApi;
use super::authorize::{Access, Authorizer, Resource};
use super::error::ApiError;

/// A request as handlers see it.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The decoded path.
    pub path: String,
    /// Decoded query parameters in their order.
    pub query: Vec<(String, String)>,
    /// The query as it came, for redirects.
    pub raw_query: Option<String>,
    /// The body, within the route's limit.
    pub body: Bytes,
    /// Who sent it; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where in the path the route's pattern ends.
    pub rest_at: usize,
    /// What its token may do.
    pub authorizer: Authorizer,
    /// The node of the agent that passed it on; `None` when it came in here.
    pub agent: Option<Box<str>>,
}

impl Request {
    /// Takes a request apart. Nothing of `headers` is kept: they are slices of the connection's buffer, and a query
    /// that waits would hold all of it.
    ///
    /// # Errors
    /// 400 when the path is not properly encoded or holds a control character, 500 when the query is not.
    pub fn new(
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        peer: Option<SocketAddr>,
    ) -> Result<Self, ApiError> {
        let path = decode(uri.path(), false).ok_or_else(|| ApiError::bad_request("400 Bad Request"))?;
        // Most paths are plain, and a look at the bytes is many times quicker than one at the characters.
        if !path.bytes().all(|byte| matches!(byte, b' '..=b'~')) && path.contains(char::is_control) {
            return Err(ApiError::bad_request(""));
        }
        let query = parse_query(uri.query().unwrap_or_default()).ok_or_else(|| ApiError::internal(""))?;
        let token = token(headers, &query);
        Ok(Request {
            method,
            path,
            query,
            raw_query: uri.query().map(str::to_owned),
            body,
            peer,
            rest_at: 0,
            authorizer: Authorizer::new(token),
            agent: None,
        })
    }

    /// The node of the agent that was asked: that is what `_agent` means, and the node of a session that names none.
    pub fn agent_name<'a>(&'a self, api: &'a AgentApi) -> &'a str {
        self.agent.as_deref().unwrap_or(&api.identity.node_name)
    }

    /// What followed the route's pattern: a key, a service name, an id.
    pub fn rest(&self) -> &str {
        self.path.get(self.rest_at..).unwrap_or_default()
    }

    /// The first value of a query parameter; empty when it has none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter, in their order.
    pub fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a query parameter is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    /// Fails unless the request's token may do it.
    ///
    /// # Errors
    /// 403.
    pub fn require(&self, access: Access, resource: Resource<'_>) -> Result<(), ApiError> {
        if self.authorizer.allows(access, resource) { Ok(()) } else { Err(ApiError::denied()) }
    }

    /// The URL for the log, without the token.
    pub fn shown_url(&self) -> String {
        let mut url = self.path.clone();
        for (place, (name, value)) in self.query.iter().enumerate() {
            let value = if name == "token" { "<hidden>" } else { value };
            url.push(if place == 0 { '?' } else { '&' });
            url.push_str(name);
            if !value.is_empty() {
                url.push('=');
                url.push_str(value);
            }
        }
        url
    }

    /// The sender for the log.
    pub fn shown_peer(&self) -> String {
        self.peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())
    }
}

/// The token of a request: header, bearer, query, in this order.
fn token(headers: &HeaderMap, query: &[(String, String)]) -> String {
    static CONSUL_TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header(&AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let parameter = || query.iter().find(|(name, _)| name == "token").map(|(_, value)| value.as_str());
    header(&CONSUL_TOKEN).or(bearer).or_else(parameter).unwrap_or_default().to_owned()
}

/// Undoes percent-encoding. `None` when it is malformed or not UTF-8.
pub fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    String::from_utf8(unescape(text, plus_is_space)?).ok()
}

/// The same of a query, where others than UTF-8 are as good as any other wrong value.
fn decode_parameter(text: &str) -> Option<String> {
    let bytes = unescape(text, true)?;
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn unescape(text: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(text.as_bytes().to_vec());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                decoded.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits fit into a byte"));
            }
            b'+' if plus_is_space => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    Some(decoded)
}

/// Splits a query string; a semicolon separates as well, as in the Go that Consul 1.8 was made with. `None` when a pair
/// is malformed: without its condition, a write would mean something else.
pub fn parse_query(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(['&', ';']).filter(|pair| !pair.is_empty());
    // As long as it needs to be: thousands of queries wait with theirs.
    let mut query = Vec::with_capacity(pairs.clone().count());
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push((decode_parameter(name)?, decode_parameter(value)?));
    }
    Some(query)
}

/// A query as Go prints it: parameters sorted by name, values in their order.
pub fn encode_query(query: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = query.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = String::new();
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push('&');
        }
        escape(name, "-_.~", &mut text);
        text.push('=');
        escape(value, "-_.~", &mut text);
    }
    text.replace("%20", "+")
}

/// A path with the characters escaped that Go escapes in one.
pub fn encode_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    escape(path, "-_.~$&+,/:;=@", &mut text);
    text
}

fn escape(text: &str, plain: &str, out: &mut String) {
    for byte in text.bytes() {
        let character = char::from(byte);
        if byte.is_ascii_alphanumeric() || plain.contains(character) {
            out.push(character);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// An unsigned integer.
///
/// # Errors
/// What Go's `strconv` says.
pub fn parse_uint(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fault = if digits { "value out of range" } else { "invalid syntax" };
    match text.parse() {
        Ok(number) if digits => Ok(number),
        Ok(_) | Err(_) => Err(format!("strconv.ParseUint: parsing {text:?}: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header value"));
        }
        let uri = uri.parse().expect("a URI");
        Request::new(Method::GET, &uri, &map, Bytes::new(), None).expect("a good request")
    }

    #[test]
    fn paths_and_queries_are_decoded_apart() {
        let request = request("/v1/kv/a%20b+c%2Fd//e?flags=1&dc=x+y;recurse&&cas=%ff;", &[]);
        assert_eq!(request.path, "/v1/kv/a b+c/d//e");
        assert_eq!(request.parameter("dc"), Some("x y"));
        assert_eq!(request.parameter("recurse"), Some(""));
        assert_eq!(request.parameter("cas"), Some("\u{fffd}"));
        assert_eq!(request.query.len(), 4);
    }

    #[test]
    fn bad_encodings_and_control_characters_are_refused() {
        let cases = [
            ("/v1/kv/%zz", 400),
            ("/v1/kv/%4", 400),
            ("/v1/kv/%ff", 400),
            ("/v1/kv/a%0ab", 400),
            ("/v1/kv/a?cas=%zz", 500),
            ("/v1/kv/a?raw&%", 500),
        ];
        for (path, status) in cases {
            let uri = path.parse().expect("a URI");
            let refused =
                Request::new(Method::GET, &uri, &HeaderMap::new(), Bytes::new(), None).map(|request| request.path);
            assert_eq!(refused.map_err(|error| error.status().as_u16()), Err(status), "{path}");
        }
    }

    #[test]
    fn a_token_comes_by_header_then_bearer_then_query() {
        let all = [("x-consul-token", "one"), ("authorization", "Bearer two")];
        assert_eq!(request("/?token=three", &all).authorizer.token(), "one");
        assert_eq!(request("/?token=three", &all[1..]).authorizer.token(), "two");
        assert_eq!(request("/?token=three", &[]).authorizer.token(), "three");
        assert_eq!(request("/", &[]).authorizer.token(), "");
    }

    #[test]
    fn the_log_never_shows_a_token() {
        assert_eq!(request("/v1/kv/a?token=secret&raw", &[]).shown_url(), "/v1/kv/a?token=<hidden>&raw");
    }

    #[test]
    fn queries_are_printed_as_in_go() {
        let query = parse_query("foo=b%20c&foo=d&acquire=y%2F&cas").expect("well formed");
        assert_eq!(encode_query(&query), "acquire=y%2F&cas=&foo=b+c&foo=d");
    }

    #[test]
    fn integers_are_refused_as_in_go() {
        assert_eq!(parse_uint("18446744073709551615"), Ok(u64::MAX));
        for (text, fault) in [
            ("", "invalid syntax"),
            ("x", "invalid syntax"),
            ("-1", "invalid syntax"),
            ("+1", "invalid syntax"),
            ("18446744073709551616", "value out of range"),
        ] {
            assert_eq!(parse_uint(text), Err(format!("strconv.ParseUint: parsing \"{text}\": {fault}")));
        }
    }
}
