//! `/v1/agent/plugins`: the plugins of this agent and how their replacement goes.

use agent_wasm::Wants;
use serde::Serialize;

use super::authorize::{Access, Resource};
use super::query::check_namespace;
use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response};
use crate::plugin::Slot;
use crate::plugin::settings::Origin;

pub(super) const ROUTES: &[Route] = &[route!(here GET "/v1/agent/plugins" => plugins)];

/// One plugin as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PluginView {
    name: String,
    /// `file`, `digest` or `published`.
    origin: &'static str,
    /// The file's path or the digest, if the declaration names one.
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    serving: Option<VersionView>,
    candidate: Option<CandidateView>,
    refused: Option<RefusedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_error: Option<String>,
    swapped: u64,
    refusals: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionView {
    digest: String,
    name: String,
    version: String,
    summary: String,
    /// What it would like to be granted.
    wants: WantsView,
    /// How long it took to load.
    load_ms: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WantsView {
    network: Vec<String>,
    urls: Vec<String>,
    directories: Vec<String>,
    environment: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CandidateView {
    digest: String,
    trials_passed: u32,
    trials: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RefusedView {
    digest: String,
    reason: String,
}

async fn plugins(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    request.require(Access::Read, Resource::Agent)?;
    let slots = api.plugins.as_ref().map(|plugins| plugins.slots()).unwrap_or_default();
    let views: Vec<PluginView> = slots.values().map(|slot| view(slot)).collect();
    Ok(Response::json(request, api.limits.pretty, &views))
}

fn wants(wants: &Wants) -> WantsView {
    let Wants { network, urls, directories, environment } = wants.clone();
    WantsView { network, urls, directories, environment }
}

fn view(slot: &Slot) -> PluginView {
    let state = slot.state();
    let (origin, source) = match &slot.settings.origin {
        Origin::File(path) => ("file", path.display().to_string()),
        Origin::Digest(digest) => ("digest", digest.to_string()),
        Origin::Published => ("published", String::new()),
    };
    let serving = slot.serving().map(|serving| {
        let description = serving.plugin.description();
        VersionView {
            digest: serving.digest().to_string(),
            name: description.name.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            wants: wants(&description.wants),
            load_ms: (serving.plugin.loaded_in().as_secs_f64() * 1e6).round() / 1e3,
        }
    });
    let trials = slot.settings.trials;
    PluginView {
        name: slot.name.clone(),
        origin,
        source,
        serving,
        candidate: state.candidate.map(|(digest, trials_passed)| CandidateView { digest, trials_passed, trials }),
        refused: state.refused.map(|(digest, reason)| RefusedView { digest, reason }),
        source_error: state.source_error,
        swapped: state.swapped,
        refusals: state.refusals,
    }
}
