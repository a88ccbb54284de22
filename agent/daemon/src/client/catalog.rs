//! The catalog as a client's own services need it: written and read by whichever server answers.

use std::sync::Arc;
use std::time::Duration;

use agent_core::local::anti_entropy::Remote;
use agent_core::state::tables::Index;
use agent_core::state::{Command, Reply};
use agent_raft::consensus::{ReadError, WriteError};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Patience, Servers, Unanswered};
use crate::env::BoxFuture;
use crate::rpc::{CatalogHead, Head, Lane};
use crate::sync::Catalog;

/// How long a server may take for a write or a read that does not wait: it holds both while there is no leader.
const LIMIT: Duration = Duration::from_secs(30);

/// The catalog of a client.
pub struct ServersCatalog(pub Arc<Servers>);

impl ServersCatalog {
    async fn ask<T: DeserializeOwned>(
        &self,
        head: CatalogHead,
        payload: Bytes,
        limit: Option<Duration>,
    ) -> Result<T, Unanswered> {
        let servers = &self.0;
        // Registrations say how things are, not how they change: twice is as good as once.
        let patience = Patience { until: Instant::now() + servers.hold_time, repeatable: true, limit };
        let head = Head::Catalog(head);
        let answer = servers.ask(patience, |to| servers.pool.ask(to, Lane::Requests, &head, payload.clone()));
        let answer = answer.await?;
        postcard::from_bytes(&answer).map_err(|error| Unanswered::Unknown(error.to_string()))
    }
}

impl Catalog for ServersCatalog {
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>> {
        Box::pin(async move {
            let payload = postcard::to_allocvec(&command).expect("commands have no type it refuses");
            match self.ask(CatalogHead::Write, payload.into(), Some(LIMIT)).await {
                Ok(answer) => answer,
                Err(Unanswered::NoServers | Unanswered::Unreachable(_)) => Err(WriteError::NoLeader),
                Err(Unanswered::Unknown(_)) => Err(WriteError::Unknown),
            }
        })
    }

    fn read<'a>(&'a self, name: &'a str, past: Index) -> BoxFuture<'a, Result<(Index, Remote), ReadError>> {
        Box::pin(async move {
            let limit = (past == 0).then_some(LIMIT);
            let head = CatalogHead::Read { node: name.to_owned(), past };
            self.ask(head, Bytes::new(), limit).await.unwrap_or(Err(ReadError::NoLeader))
        })
    }

    fn servers_changed<'a>(&'a self, seen: &'a mut u64) -> BoxFuture<'a, ()> {
        let mut appeared = self.0.appeared.subscribe();
        Box::pin(async move {
            let known = *seen;
            let count = appeared.wait_for(|count| *count != known).await.map(|count| *count);
            match count {
                Ok(count) => *seen = count,
                Err(_) => std::future::pending().await,
            }
        })
    }
}
