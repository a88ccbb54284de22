//! The paths that Go's router does not take as they come.
//!
//! Like it we answer 301 to a path with empty or dot segments, naming the clean
//! one, and to a prefix without its slash, naming it with one. Clients built
//! against Consul have come to rely on both.

use hyper::{Method, StatusCode};

use super::request::{Request, encode_path};
use super::response::Response;

/// Where keys begin: below it a path is taken as it is.
const KEYS: &str = "/v1/kv/";

/// The path without `.`, `..` and empty segments; `None` when it is clean already, or names a key: Consul redirects
/// those too, and clients that follow lose the body of their write.
pub fn cleaned(path: &str) -> Option<String> {
    if path.starts_with(KEYS) {
        return None;
    }
    let mut segments = path.split('/').skip(1).peekable();
    let dirty = |segment: &str, last: bool| matches!(segment, "." | "..") || (segment.is_empty() && !last);
    let mut is_clean = path.starts_with('/');
    while let Some(segment) = segments.next() {
        is_clean &= !dirty(segment, segments.peek().is_none());
    }
    if is_clean {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    Some(clean)
}

/// 301 to `path` with the request's query.
pub fn moved(request: &Request, path: &str) -> Response {
    let mut location = encode_path(path);
    if let Some(query) = &request.raw_query {
        location.push('?');
        location.push_str(query);
    }
    let mut response = Response::empty(StatusCode::MOVED_PERMANENTLY);
    if matches!(request.method, Method::GET | Method::HEAD) {
        let shown = location.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
        let body = format!("<a href=\"{shown}\">Moved Permanently</a>.\n\n");
        response = Response::text(StatusCode::MOVED_PERMANENTLY, body);
        response.set_header("content-type", "text/html; charset=utf-8");
    }
    response.set_header("location", &location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (path, clean) in [
            ("/v1/kv/a", None),
            ("/v1/kv/a/", None),
            ("/", None),
            ("/v1/health/x//y", Some("/v1/health/x/y")),
            ("/v1/health//lead", Some("/v1/health/lead")),
            ("/v1/health/x/../up", Some("/v1/health/up")),
            ("/v1/health/x/./", Some("/v1/health/x/")),
            ("/v1/health/x/..", Some("/v1/health")),
            ("//v1/kv/a", Some("/v1/kv/a")),
            ("/v1/health/a//", Some("/v1/health/a/")),
            ("/../..", Some("/")),
            ("/v1/health/...", None),
            ("/v1/kv/x//y", None),
            ("/v1/kv//../.", None),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }
}
