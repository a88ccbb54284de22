//! The loop of one watch inside the agent. It asks the agent's own API, without a socket.
//!
//! Ends when it is dropped.

use std::sync::Arc;

use agent_core::state::tables::Status;
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use serde_json::Value;

use super::{Handler, Plan, Progress, Watch};
use crate::checks::Prober;
use crate::cli::address::encode_query;
use crate::http::{self, Api, Request};

static TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// Follows a watch for as long as it is polled.
pub async fn follow(api: Arc<Api>, prober: Arc<dyn Prober>, watch: Watch) {
    let Watch { plan, handler } = watch;
    let mut progress = Progress::default();
    loop {
        match ask(&api, &plan, progress.index()).await {
            Ok((index, value)) => {
                if let Some(news) = progress.answered(index, value) {
                    handle(&*prober, &handler, index, news).await;
                }
            }
            Err(error) => {
                let retry = progress.failed();
                tracing::error!(watch = ?plan.kind, %error, ?retry, "Watch errored");
                tokio::time::sleep(retry).await;
            }
        }
    }
}

/// Asks once; waits for an answer with another index unless `index` is zero.
async fn ask(api: &Api, plan: &Plan, index: u64) -> Result<(u64, Value), String> {
    let (path, query) = plan.request(index);
    let uri: Uri = format!("{path}?{}", encode_query(&query)).parse().map_err(|_| "invalid URL escape".to_owned())?;
    let mut headers = HeaderMap::new();
    if let (false, Ok(token)) = (plan.token.is_empty(), HeaderValue::from_str(&plan.token)) {
        headers.insert(TOKEN.clone(), token);
    }
    let request = Request::new(Method::GET, &uri, &headers, Bytes::new(), None).map_err(|error| error.to_string())?;
    let response = http::handle(api, request).await;
    let found = response.headers.get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
    let value = plan.read(index, response.status.as_u16(), response.whole())?;
    Ok((found.unwrap_or(0), value))
}

/// Hands news over. What goes wrong is the handler's, and is only told.
async fn handle(prober: &dyn Prober, handler: &Handler, index: u64, news: &Value) {
    let name = handler.name();
    let body = news.to_string();
    match handler {
        Handler::Script(script) => match script.run(Some(index), format!("{body}\n").as_bytes()).await {
            Ok(ran) => {
                if let Err(error) = ran.result() {
                    tracing::error!(watch_handler = %name, %error, "Failed to run watch handler");
                }
                tracing::debug!(watch_handler = %name, output = %ran.output, "watch handler output");
            }
            Err(error) => tracing::error!(watch_handler = %name, %error, "Failed to run watch handler"),
        },
        Handler::Http(target) => {
            let outcome = prober.probe(&target.request(index, body)).await;
            match outcome.status {
                Status::Passing => {
                    tracing::trace!(watch = %name, output = %outcome.output, "http watch handler output")
                }
                Status::Warning | Status::Critical => {
                    tracing::error!(watch = %name, error = %outcome.output, "Failed to invoke http watch handler");
                }
            }
        }
    }
}
