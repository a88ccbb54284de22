//! gRPC checks: `grpc.health.v1.Health/Check` must say `SERVING`.
//!
//! The two messages are one field each, so they are coded by hand
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>). Errors
//! read as grpc-go words them.

use std::time::Duration;

use agent_core::health::spec::{Outcome, TlsOptions};
use bytes::{BufMut, Bytes, BytesMut};
use hyper::{HeaderMap, Request, Uri};
use tokio::time::{Instant, timeout_at};

use super::h2ping::{OpenError, open};
use super::tls::TlsConnector;
use super::{critical, passing};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// The value of `status` in a `HealthCheckResponse` that means all is well.
const SERVING: u64 = 1;

const UNHEALTHY: &str = "gRPC application didn't report service healthy";

pub(super) async fn probe(target: &str, tls: Option<(&TlsConnector, &TlsOptions)>, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    match timeout_at(deadline, call(address, service, tls, deadline)).await {
        Ok(Ok(SERVING)) => passing(format!("gRPC check {target}: success")),
        Ok(Ok(_)) => critical(UNHEALTHY.to_owned()),
        Ok(Err(error)) => critical(format!("rpc error: {error}")),
        Err(_) => critical("rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()),
    }
}

/// Calls the health service and returns the status it reports.
async fn call(
    address: &str,
    service: &str,
    tls: Option<(&TlsConnector, &TlsOptions)>,
    deadline: Instant,
) -> Result<u64, String> {
    let session = open(address, tls, deadline).await.map_err(|error| unavailable(&error))?;
    let closed = |_| "code = Unavailable desc = connection closed".to_owned();
    let mut requests = session.requests.clone().ready().await.map_err(closed)?;
    let request = compose(address, tls.is_some())?;
    let (response, mut body) = requests.send_request(request, false).map_err(closed)?;
    body.send_data(encode(service), true).map_err(closed)?;
    let response = response.await.map_err(closed)?;
    if response.status() != 200 {
        return Err(format!("code = Unavailable desc = unexpected HTTP status code {}", response.status().as_u16()));
    }
    check_status(response.headers())?;
    let mut stream = response.into_body();
    let mut answer = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.map_err(closed)?;
        // Room for more is given back even though the rest is not kept.
        let _ = stream.flow_control().release_capacity(chunk.len());
        let room = ANSWER_BYTES_MAX - answer.len();
        answer.put_slice(&chunk[..chunk.len().min(room)]);
    }
    let trailers = stream.trailers().await.map_err(closed)?;
    check_status(&trailers.unwrap_or_default())?;
    decode(&answer).ok_or_else(|| "code = Internal desc = malformed health check response".to_owned())
}

fn unavailable(error: &OpenError) -> String {
    let why = match error {
        OpenError::Dial(why) => format!("transport: Error while dialing {why}"),
        OpenError::Tls(why) => format!("transport: authentication handshake failed: {why}"),
        OpenError::Http2(why) => format!("transport: {why}"),
    };
    format!("code = Unavailable desc = connection error: desc = {why:?}")
}

fn compose(address: &str, is_tls: bool) -> Result<Request<()>, String> {
    let uri = Uri::builder()
        .scheme(if is_tls { "https" } else { "http" })
        .authority(address)
        .path_and_query("/grpc.health.v1.Health/Check")
        .build()
        .map_err(|error| format!("code = Internal desc = {error}"))?;
    Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "Consul Health Check")
        .body(())
        .map_err(|error| format!("code = Internal desc = {error}"))
}

/// `HealthCheckRequest { string service = 1 }` in a gRPC frame: a zero byte, four bytes of length, the message.
fn encode(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0A);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a service name is bounded by its definition"));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// `HealthCheckResponse { ServingStatus status = 1 }`; fields we do not know are an error, an absent status is zero.
fn decode(frame: &[u8]) -> Option<u64> {
    let (header, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(header[1..].try_into().ok()?);
    if header[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, rest @ ..] => rest
            .iter()
            .enumerate()
            .try_fold(0, |value, (place, byte)| (place < 9).then(|| value | (u64::from(byte & 0x7F) << (7 * place)))),
        _ => None,
    }
}

/// Reads `grpc-status` and `grpc-message` where there are any; zero and none are well.
fn check_status(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => Err(format!("code = {} desc = {}", code_name(code), text("grpc-message").unwrap_or_default())),
    }
}

/// gRPC's name of a status code (<https://grpc.io/docs/guides/status-codes/>).
fn code_name(code: &str) -> String {
    let names = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let known = code.parse::<usize>().ok().and_then(|place| names.get(place));
    known.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_coded_as_protobuf_has_them() {
        assert_eq!(encode("").as_ref(), b"\0\0\0\0\0");
        assert_eq!(encode("web").as_ref(), b"\0\0\0\0\x05\x0A\x03web");
        let cases: [(&[u8], Option<u64>); 6] = [
            (b"\0\0\0\0\x02\x08\x01", Some(1)),
            (b"\0\0\0\0\x02\x08\x02", Some(2)),
            (b"\0\0\0\0\0", Some(0)),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x09\x08\x01", None),
            (b"", None),
        ];
        for (frame, status) in cases {
            assert_eq!(decode(frame), status, "{frame:?}");
        }
    }
}
