//! `/v1/agent/health/service`: the health of this agent's own services, told by the status code.

use std::sync::Arc;

use agent_core::local::{LocalService, LocalView};
use hyper::StatusCode;
use serde::Serialize;

use super::agent_verdict::{Verdict, deciding_checks};
use super::authorize::{Access, Resource};
use super::query::check_namespace;
use super::routes::{Route, route};
use super::view::{AgentCheckView, AgentServiceView};
use super::{Api, ApiError, Request, Response};

pub(super) const ROUTES: &[Route] = &[
    route!(here GET "/v1/agent/health/service/id/" => by_id),
    route!(here GET "/v1/agent/health/service/name/" => by_name),
];

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report<'a> {
    aggregated_status: &'static str,
    service: Option<AgentServiceView<'a>>,
    checks: Option<Vec<AgentCheckView<'a>>>,
}

fn report<'a>(view: &'a LocalView, local: &'a LocalService) -> (Verdict, Report<'a>) {
    let checks = deciding_checks(view, &local.service.id);
    let verdict = Verdict::over(checks.iter().copied());
    let report = Report {
        aggregated_status: verdict.as_str(),
        service: Some(AgentServiceView::new(&local.service, None)),
        checks: Some(checks.into_iter().map(AgentCheckView::new).collect()),
    };
    (verdict, report)
}

fn wants_text(request: &Request) -> bool {
    request.parameter("format") == Some("text")
}

/// An answer whose status code and reason say the same as its body.
fn answer(api: &Api, request: &Request, code: u16, reason: &str, body: &impl Serialize) -> Response {
    let mut response = match wants_text(request) {
        true => {
            let mut response = Response::text(StatusCode::OK, reason.to_owned());
            response.set_header("content-type", "text/plain");
            response
        }
        false => Response::json(request, api.limits.pretty, body),
    };
    response.status = StatusCode::from_u16(code).expect("200, 404, 429 and 503 are status codes");
    response.set_header("x-consul-reason", reason);
    response
}

async fn by_id(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let id = request.rest();
    if id.is_empty() {
        return Err(ApiError::internal("Bad request: Missing serviceID"));
    }
    let view = api.local.view();
    let Some(local) = view.services.get(id) else {
        let reason = format!("ServiceId {id} not found");
        let nothing = Report { aggregated_status: "critical", service: None, checks: None };
        if wants_text(request) {
            // Consul answers JSON here even when asked for text.
            let mut response = Response::json(request, api.limits.pretty, &reason);
            response.status = StatusCode::NOT_FOUND;
            response.set_header("x-consul-reason", &reason);
            return Ok(response);
        }
        return Ok(answer(api, request, 404, &reason, &nothing));
    };
    request.require(Access::Read, Resource::Service(&local.service.name))?;
    let (verdict, report) = report(&view, local);
    Ok(answer(api, request, verdict.code(), verdict.as_str(), &report))
}

/// All instances of a name; the worst of them decides.
async fn by_name(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let name = request.rest();
    if name.is_empty() {
        return Err(ApiError::internal("Bad request: Missing service Name"));
    }
    request.require(Access::Read, Resource::Service(name))?;
    let view = api.local.view();
    let named = view.services.values().filter(|local: &&Arc<LocalService>| local.service.name == name);
    let (verdicts, reports): (Vec<_>, Vec<_>) = named.map(|local| report(&view, local)).unzip();
    Ok(match verdicts.into_iter().max() {
        Some(worst) => answer(api, request, worst.code(), worst.as_str(), &reports),
        None => answer(api, request, 404, &format!("ServiceName {name} Not Found"), &reports),
    })
}
