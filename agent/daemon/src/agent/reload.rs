//! What a reload changes of a running agent.
//!
//! Every field of [`Reloadable`] is put to use here, and by being a field of it
//! a value is reloadable: which ones are is decided in [`crate::config`].

use std::sync::Arc;

use agent_core::local::{Definitions, Input};

use super::{Agent, settings};
use crate::config::Reloadable;
use crate::sync::LocalError;

impl Agent {
    /// Runs on with `new` in place of `old`, and with these definitions.
    ///
    /// # Errors
    /// The first definition that was refused. Plugins are declared as in `new` then, and what was not refused is
    /// registered; nothing else has changed.
    pub(super) async fn reload(
        &mut self,
        old: &Reloadable,
        new: Reloadable,
        definitions: Definitions,
    ) -> Result<(), LocalError> {
        let Reloadable {
            node_meta,
            log_level,
            discard_check_output,
            metrics_allow,
            metrics_block,
            http_conns_per_client_max,
            dns,
            plugins,
        } = new;
        // Checks may be of plugins that are new.
        if plugins != old.plugins {
            self.declare_plugins(plugins).await;
        }
        self.local().send(Input::Reload(definitions)).await?;
        let adjustable = settings::adjustable(&node_meta, http_conns_per_client_max);
        self.local().send(Input::Adjust { node_meta: adjustable.meta.clone(), discard_check_output }).await?;
        self.api.adjustable.store(Arc::new(adjustable));
        if let Some(log) = &self.api.log {
            log.set_level(log_level);
        }
        self.metrics().filter(metrics_allow, metrics_block);
        self.dns.reconfigure(dns);
        Ok(())
    }
}
