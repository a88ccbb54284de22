//! Writes of the catalog: registrations that each change something.

use std::io;

use crate::http::{Turn, load};
use crate::load::Plan;
use crate::options::{Kind, Options};
use crate::parts::key::written;
use crate::report::Figure;
use crate::subject::{Mode, Subject};
use crate::wire;

/// The line of registrations.
pub const REGISTER: &str = "catalog/register";

const CLIENTS: usize = 64;
/// Nodes each client registers in turn; they bound the data.
const NODES_EACH: u64 = 20;

/// A node with a service and a check, whose port and output change from turn to turn.
fn registration(turn: Turn, request: &mut Vec<u8>) {
    let (client, node, round) = (turn.client, turn.turn % NODES_EACH, turn.turn / NODES_EACH);
    let body = format!(
        r#"{{"Node":"node-{client:03}-{node:03}","Address":"10.1.{client}.{node}",
        "Service":{{"ID":"web-1","Service":"web-{client:03}","Tags":["v1","primary"],"Port":{port}}},
        "Check":{{"CheckID":"service:web-1","Name":"answers","Status":"passing","ServiceID":"web-1","Output":"round {round}"}}}}"#,
        port = 1024 + round % 60_000,
    );
    wire::put(request, format_args!("/v1/catalog/register"), body.as_bytes());
}

/// Registrations.
pub fn register(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let subject = Subject::ready(options, kind, Mode::Quick)?;
    let outcome = load(Plan::of(options, CLIENTS), &subject, registration)?.without_errors()?;
    let mut figures = outcome.figures(REGISTER);
    figures.push(written(REGISTER, &outcome));
    Ok(figures)
}
