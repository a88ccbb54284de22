//! `/v1/acl` while access control is off: Consul's refusal, which clients tell from a missing endpoint.

use hyper::StatusCode;

use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response};

pub(super) const ROUTES: &[Route] = &[
    route!(here PUT "/v1/acl/bootstrap" => disabled),
    route!(here GET "/v1/acl/replication" => disabled),
    route!(here POST "/v1/acl/login" => disabled),
    route!(here POST "/v1/acl/logout" => disabled),
    route!(here GET "/v1/acl/tokens" => disabled),
    route!(here PUT "/v1/acl/token" => disabled),
    route!(here GET "/v1/acl/token/self" => disabled),
    route!(here GET "/v1/acl/token/" => disabled),
    route!(here PUT "/v1/acl/token/" => disabled),
    route!(here DELETE "/v1/acl/token/" => disabled),
    route!(here GET "/v1/acl/policies" => disabled),
    route!(here PUT "/v1/acl/policy" => disabled),
    route!(here GET "/v1/acl/policy/" => disabled),
    route!(here PUT "/v1/acl/policy/" => disabled),
    route!(here DELETE "/v1/acl/policy/" => disabled),
    route!(here GET "/v1/acl/policy/name/" => disabled),
    route!(here GET "/v1/acl/roles" => disabled),
    route!(here PUT "/v1/acl/role" => disabled),
    route!(here GET "/v1/acl/role/" => disabled),
    route!(here PUT "/v1/acl/role/" => disabled),
    route!(here DELETE "/v1/acl/role/" => disabled),
    route!(here GET "/v1/acl/role/name/" => disabled),
    route!(here GET "/v1/acl/auth-methods" => disabled),
    route!(here PUT "/v1/acl/auth-method" => disabled),
    route!(here GET "/v1/acl/auth-method/" => disabled),
    route!(here PUT "/v1/acl/auth-method/" => disabled),
    route!(here DELETE "/v1/acl/auth-method/" => disabled),
    route!(here GET "/v1/acl/binding-rules" => disabled),
    route!(here PUT "/v1/acl/binding-rule" => disabled),
    route!(here GET "/v1/acl/binding-rule/" => disabled),
    route!(here PUT "/v1/acl/binding-rule/" => disabled),
    route!(here DELETE "/v1/acl/binding-rule/" => disabled),
    // Consul 1.8 still answers the endpoints of its first ACL system.
    route!(here PUT "/v1/acl/create" => disabled),
    route!(here PUT "/v1/acl/update" => disabled),
    route!(here PUT "/v1/acl/destroy/" => disabled),
    route!(here PUT "/v1/acl/clone/" => disabled),
    route!(here GET "/v1/acl/info/" => disabled),
    route!(here GET "/v1/acl/list" => disabled),
    route!(here POST "/v1/acl/rules/translate" => disabled),
    route!(here GET "/v1/acl/rules/translate/" => disabled),
    route!(here POST "/v1/internal/acl/authorize" => disabled),
    route!(here PUT "/v1/agent/token/" => disabled),
];

async fn disabled(_api: &Api, _request: &Request) -> Result<Response, ApiError> {
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}
