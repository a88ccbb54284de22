//! `/v1/acl` while access control is off: Consul's refusal, which clients tell from a missing endpoint.

use hyper::StatusCode;

use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response};

pub(super) const ROUTES: &[Route] = &[
    route!(PUT "/v1/acl/bootstrap" => disabled),
    route!(GET "/v1/acl/replication" => disabled),
    route!(POST "/v1/acl/login" => disabled),
    route!(POST "/v1/acl/logout" => disabled),
    route!(GET "/v1/acl/tokens" => disabled),
    route!(PUT "/v1/acl/token" => disabled),
    route!(GET "/v1/acl/token/self" => disabled),
    route!(GET "/v1/acl/token/" => disabled),
    route!(PUT "/v1/acl/token/" => disabled),
    route!(DELETE "/v1/acl/token/" => disabled),
    route!(GET "/v1/acl/policies" => disabled),
    route!(PUT "/v1/acl/policy" => disabled),
    route!(GET "/v1/acl/policy/" => disabled),
    route!(PUT "/v1/acl/policy/" => disabled),
    route!(DELETE "/v1/acl/policy/" => disabled),
    route!(GET "/v1/acl/policy/name/" => disabled),
    route!(GET "/v1/acl/roles" => disabled),
    route!(PUT "/v1/acl/role" => disabled),
    route!(GET "/v1/acl/role/" => disabled),
    route!(PUT "/v1/acl/role/" => disabled),
    route!(DELETE "/v1/acl/role/" => disabled),
    route!(GET "/v1/acl/role/name/" => disabled),
    route!(GET "/v1/acl/auth-methods" => disabled),
    route!(PUT "/v1/acl/auth-method" => disabled),
    route!(GET "/v1/acl/auth-method/" => disabled),
    route!(PUT "/v1/acl/auth-method/" => disabled),
    route!(DELETE "/v1/acl/auth-method/" => disabled),
    route!(GET "/v1/acl/binding-rules" => disabled),
    route!(PUT "/v1/acl/binding-rule" => disabled),
    route!(GET "/v1/acl/binding-rule/" => disabled),
    route!(PUT "/v1/acl/binding-rule/" => disabled),
    route!(DELETE "/v1/acl/binding-rule/" => disabled),
    // Consul 1.8 still answers the endpoints of its first ACL system.
    route!(PUT "/v1/acl/create" => disabled),
    route!(PUT "/v1/acl/update" => disabled),
    route!(PUT "/v1/acl/destroy/" => disabled),
    route!(PUT "/v1/acl/clone/" => disabled),
    route!(GET "/v1/acl/info/" => disabled),
    route!(GET "/v1/acl/list" => disabled),
    route!(POST "/v1/acl/rules/translate" => disabled),
    route!(GET "/v1/acl/rules/translate/" => disabled),
    route!(POST "/v1/internal/acl/authorize" => disabled),
    route!(PUT "/v1/agent/token/" => disabled),
];

async fn disabled(_api: &Api, _request: &Request) -> Result<Response, ApiError> {
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}
