//! `/v1/catalog/register` and `/v1/catalog/deregister`: changes by hand, without an agent.

use agent_core::state::Command;

use super::authorize::{Access, Resource};
use super::catalog_body::{BodyError, CatalogWrite, decode_deregister, decode_register};
use super::decode::request_body;
use super::query::check_namespace;
use super::routes::{Route, route};
use super::{ApiError, Request, Response, ServerApi};
use crate::definition::DecodeError;

pub(super) const ROUTES: &[Route] =
    &[route!(PUT "/v1/catalog/register" => register), route!(PUT "/v1/catalog/deregister" => deregister)];

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed(text) => ApiError::bad_request(text),
            BodyError::Refused(text) => ApiError::internal(text),
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        ApiError::bad_request(error.http_text())
    }
}

async fn register(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    write(api, request, decode_register(&request_body(&request.body)?)?).await
}

async fn deregister(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    write(api, request, decode_deregister(&request_body(&request.body)?)?).await
}

async fn write(api: &ServerApi, request: &Request, write: CatalogWrite) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let CatalogWrite { command, datacenter } = write;
    if !datacenter.is_empty() && !datacenter.eq_ignore_ascii_case(&api.identity.datacenter) {
        return Err(ApiError::internal("No path to datacenter"));
    }
    authorize(request, &command)?;
    api.write(command).await?;
    Ok(Response::json(request, api.limits.pretty, &true))
}

fn authorize(request: &Request, command: &Command) -> Result<(), ApiError> {
    match command {
        Command::Register(register) => {
            request.require(Access::Write, Resource::Node(&register.node.name))?;
            let service = register.service.as_ref();
            service.map_or(Ok(()), |service| request.require(Access::Write, Resource::Service(&service.name)))
        }
        Command::Deregister { node, .. } => request.require(Access::Write, Resource::Node(node)),
        _ => Ok(()),
    }
}
