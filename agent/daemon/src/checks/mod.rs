//! Probes: one file per kind of check. Each runs once and returns an outcome.
//!
//! [`Prober`] is the door: [`SystemProber`] is the operating system, the
//! simulator brings its own. A probe never fails: whatever goes wrong is the
//! outcome, in the words Consul (and Go below it) would use. It knows nothing
//! of schedules, thresholds or the catalog.

mod dial;
mod grpc;
mod h2ping;
mod http;
mod script;
mod tail;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;

use std::sync::Arc;
use std::time::Duration;

use agent_core::health::spec::{CheckKind, CheckSpec, Outcome};
use agent_core::health::text::OUTPUT_BYTES_MAX;
use agent_core::state::tables::Status;

pub use tls::TlsConnector;

use crate::env::BoxFuture;
use crate::plugin::{Plugins, Run};

/// Runs checks.
pub trait Prober: Send + Sync {
    /// Runs `spec` once, within its timeout. Dropping the future ends the run and what it started.
    fn probe<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, Outcome>;
}

/// The operating system: real sockets and processes; and the agent's plugins.
#[derive(Default)]
pub struct SystemProber {
    tls: TlsConnector,
    plugins: Option<Arc<Plugins>>,
}

impl SystemProber {
    /// A prober that trusts what `tls` trusts.
    pub fn new(tls: TlsConnector) -> Self {
        SystemProber { tls, plugins: None }
    }

    /// A prober that also runs checks with `plugins`.
    #[must_use]
    pub fn with_plugins(self, plugins: Arc<Plugins>) -> Self {
        SystemProber { plugins: Some(plugins), ..self }
    }
}

impl Prober for SystemProber {
    fn probe<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, Outcome> {
        let timeout = timeout_of(spec);
        let output_bytes_max = if spec.output_bytes_max == 0 { OUTPUT_BYTES_MAX } else { spec.output_bytes_max };
        Box::pin(async move {
            match &spec.kind {
                CheckKind::Http { url, method, header, body, disable_redirects, tls } => {
                    let request = http::Request {
                        url,
                        method,
                        header,
                        body,
                        follow_redirects: !disable_redirects,
                        tls_options: tls,
                        output_bytes_max,
                    };
                    http::probe(&request, &self.tls, timeout).await
                }
                CheckKind::Tcp { address, use_tls, tls } => {
                    tcp::probe(address, use_tls.then_some((&self.tls, tls)), timeout).await
                }
                CheckKind::Udp { address } => udp::probe(address, timeout).await,
                CheckKind::Grpc { target, use_tls, tls } => {
                    grpc::probe(target, use_tls.then_some((&self.tls, tls)), timeout).await
                }
                CheckKind::H2ping { address, use_tls, tls } => {
                    h2ping::probe(address, use_tls.then_some((&self.tls, tls)), timeout).await
                }
                CheckKind::Script { args } => script::probe(args, timeout, output_bytes_max).await,
                CheckKind::Plugin { .. } => match (&self.plugins, Run::of(spec)) {
                    (Some(plugins), Some(run)) => plugins.probe(&run).await,
                    _ => critical("this agent has no plugins".to_owned()),
                },
                CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Fixed => {
                    critical(format!("a {} check does not run", spec.kind.as_str()))
                }
            }
        })
    }
}

/// How long one run may take: what the check says, or 30 seconds for scripts and 10 for all others.
fn timeout_of(spec: &CheckSpec) -> Duration {
    match (spec.timeout_ms, &spec.kind) {
        (0, CheckKind::Script { .. }) => Duration::from_secs(30),
        (0, _) => Duration::from_secs(10),
        (ms, _) => Duration::from_millis(ms),
    }
}

fn passing(output: String) -> Outcome {
    Outcome { status: Status::Passing, output }
}

fn critical(output: String) -> Outcome {
    Outcome { status: Status::Critical, output }
}
