//! What went wrong, as clients see it: the one place that turns errors into responses.
//!
//! Consul answers errors in plain text, and most of them with 500; clients match on both.

use std::fmt;

use hyper::StatusCode;

use super::response::Response;
use crate::gossip::GossipError;

/// An error with its status. `Display` is the text that the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    text: String,
}

impl ApiError {
    /// An error with this status and text.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        ApiError { status, text: text.into() }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 403: the token may not do that.
    pub fn denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Permission denied")
    }

    /// 404: there is no such thing.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 413: the body is larger than the limit that `setting` sets.
    pub fn too_large(size_bytes: u64, max_bytes: usize, setting: &str) -> Self {
        let text = format!(
            "Request body({size_bytes} bytes) too large, max size: {max_bytes} bytes. \
             See https://www.consul.io/docs/agent/options.html#{setting}."
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// 500: Consul's status for most of what is refused.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The response that says it.
    pub fn response(&self) -> Response {
        Response::text(self.status, self.text.clone())
    }

    /// The same as the last on its connection: nobody reads what else comes on it, the rest of the request included.
    pub fn last_response(&self) -> Response {
        let mut response = self.response();
        response.set_header("connection", "close");
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ApiError {}

impl From<GossipError> for ApiError {
    fn from(error: GossipError) -> Self {
        ApiError::internal(error.to_string())
    }
}
