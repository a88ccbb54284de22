//! Reads of the catalog: one service with its health, and the list of services.

use std::io;

use crate::http::{each, load};
use crate::load::Plan;
use crate::options::{Kind, Options};
use crate::report::Figure;
use crate::subject::{Mode, Subject};
use crate::wire;

/// The line of one service with its health.
pub const HEALTH: &str = "health/service, 50 instances";
/// The line of the list of services.
pub const SERVICES: &str = "catalog/services, 200 services";

const CLIENTS: usize = 64;
/// Instances of each service in the list of services.
const INSTANCES_EACH: u64 = 10;

/// Registers `count` instances of a service, each on a node of its own with a passing check.
///
/// # Errors
/// A registration fails.
pub fn instances(subject: &Subject, service: &'static str, count: u64) -> io::Result<()> {
    each(subject, CLIENTS, count, move |number, request| instance(service, number, request))
}

fn instance(service: &str, number: u64, request: &mut Vec<u8>) {
    let body = format!(
        r#"{{"Node":"{service}-{number:03}","Address":"10.0.{}.{}","NodeMeta":{{"rack":"r{}"}},
        "Service":{{"ID":"{service}-1","Service":"{service}","Tags":["v1","primary"],"Port":{},"Meta":{{"version":"1.2.3"}}}},
        "Check":{{"CheckID":"service:{service}-1","Name":"answers","Status":"passing","ServiceID":"{service}-1","Output":"HTTP GET: 200 OK"}}}}"#,
        number / 250,
        number % 250 + 1,
        number % 4,
        8000 + number,
    );
    wire::put(request, format_args!("/v1/catalog/register"), body.as_bytes());
}

/// One service with its health.
pub fn health(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let subject = Subject::ready(options, kind, Mode::Quick)?;
    instances(&subject, "web", 50)?;
    let outcome = load(Plan::of(options, CLIENTS), &subject, |_, request| {
        wire::get(request, format_args!("/v1/health/service/web"));
    })?;
    Ok(outcome.without_errors()?.figures(HEALTH))
}

/// The list of services.
pub fn services(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let subject = Subject::ready(options, kind, Mode::Quick)?;
    each(&subject, CLIENTS, 200 * INSTANCES_EACH, |number, request| {
        instance(&format!("service-{:03}", number / INSTANCES_EACH), number % INSTANCES_EACH, request);
    })?;
    let outcome = load(Plan::of(options, CLIENTS), &subject, |_, request| {
        wire::get(request, format_args!("/v1/catalog/services"));
    })?;
    Ok(outcome.without_errors()?.figures(SERVICES))
}
