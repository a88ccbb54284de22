//! `/v1/coordinate` without coordinates: what Consul answers where they are switched off.

use hyper::StatusCode;

use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/coordinate/datacenters" => disabled),
    route!(GET "/v1/coordinate/nodes" => disabled),
    route!(GET "/v1/coordinate/node/" => disabled),
    route!(PUT "/v1/coordinate/update" => disabled),
];

async fn disabled(_api: &Api, _request: &Request) -> Result<Response, ApiError> {
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "Coordinate support disabled"))
}
