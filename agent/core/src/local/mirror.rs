//! Alias checks: evaluated whenever something changed that one of them mirrors.

use std::collections::BTreeSet;

use super::anti_entropy::Remote;
use super::input::Output;
use super::machine::Local;
use crate::Instant;
use crate::health::alias;
use crate::health::spec::{CheckKind, Outcome};
use crate::health::text;
use crate::state::tables::NodeName;

impl Local {
    /// Notes that a service of this agent (empty for the node) or a check of it changed.
    pub(super) fn touch(&mut self, service_id: &str) {
        self.touched.insert((NodeName::new(), service_id.to_owned()));
    }

    pub(super) fn alias_node(&mut self, node: NodeName, remote: Remote) {
        self.touched.insert((node.clone(), String::new()));
        self.mirrored.insert(node, remote);
    }

    /// Evaluates what may have changed. An alias of an alias takes another round; one round more than there are aliases ends any cycle.
    pub(super) fn mirror(&mut self, now: Instant) {
        for _ in 0..=self.aliases.len() {
            let touched = std::mem::take(&mut self.touched);
            if touched.is_empty() {
                return;
            }
            let results: Vec<_> =
                self.aliases.iter().filter_map(|id| Some((id.clone(), self.look(id, &touched)?))).collect();
            for (id, Outcome { status, output }) in results {
                // Mirrors that face each other must not grow each other's output without end.
                let output = text::cap_note(output, self.settings.output_bytes_max);
                self.set_result(now, &id, Outcome { status, output });
            }
        }
        self.touched.clear();
    }

    /// What the alias check `id` shows now; `None` when nothing it mirrors was touched, or nothing is known of it yet.
    fn look(&self, id: &str, touched: &BTreeSet<(NodeName, String)>) -> Option<Outcome> {
        let local = self.view.checks.get(id)?;
        let CheckKind::Alias { node, service } = &local.spec.kind else { return None };
        let of_node = (node.clone(), String::new());
        let is_itself_new = touched.contains(&(NodeName::new(), local.check.service_id.clone()));
        if !is_itself_new && !touched.contains(&of_node) && !touched.contains(&(node.clone(), service.clone())) {
            return None;
        }
        if node.is_empty() {
            let exists = self.view.services.contains_key(service);
            let checks = self.view.checks.values().map(|c| &c.check);
            Some(alias::evaluate(id, node, service, exists, checks))
        } else {
            let remote = self.mirrored.get(node)?;
            let exists = remote.services.contains_key(service);
            Some(alias::evaluate(id, node, service, exists, remote.checks.values().map(|c| &**c)))
        }
    }

    /// Says which nodes' records are needed.
    pub(super) fn watch_nodes(&mut self) {
        let wanted: BTreeSet<NodeName> = self.aliases.iter().filter_map(|id| self.alias_target(id)).collect();
        let is_same = wanted.iter().eq(self.watched.iter());
        if !is_same {
            self.mirrored.retain(|node, _| wanted.contains(node));
            self.watched.clone_from(&wanted);
            self.emit(Output::WatchNodes(wanted.into_iter().collect()));
        }
    }

    fn alias_target(&self, id: &str) -> Option<NodeName> {
        match &self.view.checks.get(id)?.spec.kind {
            CheckKind::Alias { node, .. } if !node.is_empty() => Some(node.clone()),
            _ => None,
        }
    }
}
