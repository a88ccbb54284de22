//! Follows the catalog's records of the nodes that alias checks mirror.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::local::Input;
use agent_core::state::tables::NodeName;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::catalog::Catalog;

/// How long to wait before the catalog is read again after it could not be.
const RETRY: Duration = Duration::from_secs(15);

/// One task per mirrored node. Dropping it ends them.
pub(super) struct Mirrors {
    catalog: Arc<dyn Catalog>,
    reports: mpsc::Sender<Input>,
    tasks: JoinSet<()>,
    handles: BTreeMap<NodeName, AbortHandle>,
}

impl Mirrors {
    pub(super) fn new(catalog: Arc<dyn Catalog>, reports: mpsc::Sender<Input>) -> Self {
        Mirrors { catalog, reports, tasks: JoinSet::new(), handles: BTreeMap::new() }
    }

    /// Follows exactly `nodes` from now on.
    pub(super) fn watch(&mut self, nodes: Vec<NodeName>) {
        self.handles.retain(|node, handle| {
            let stays = nodes.contains(node);
            if !stays {
                handle.abort();
            }
            stays
        });
        while self.tasks.try_join_next().is_some() {}
        for node in nodes {
            if !self.handles.contains_key(&node) {
                let following = follow(self.catalog.clone(), node.clone(), self.reports.clone());
                self.handles.insert(node, self.tasks.spawn(following));
            }
        }
    }
}

async fn follow(catalog: Arc<dyn Catalog>, node: NodeName, reports: mpsc::Sender<Input>) {
    let mut seen = 0;
    loop {
        let Ok((index, remote)) = catalog.read(&node, seen).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        seen = index;
        let input = Input::AliasNode { node: node.clone(), remote: Box::new(remote) };
        if reports.send(input).await.is_err() {
            return;
        }
    }
}
