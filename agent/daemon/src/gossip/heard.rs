//! The user events that concern this agent, and the index that clients wait from.
//!
//! Every member passes every event on; one with filters concerns only the
//! members whose node, services and tags match them.

use std::collections::VecDeque;
use std::sync::Arc;

use agent_core::gossip::user_event::RECENT_MAX;
use agent_core::gossip::{Fired, UserEvent};
use agent_core::local::LocalView;
use regex::Regex;

/// The latest events that concern this agent.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// How many there have been.
    pub version: u64,
    /// The latest of them, oldest first; at most as many as Consul keeps.
    pub events: VecDeque<Arc<UserEvent>>,
}

impl Heard {
    /// The same with one more.
    pub(super) fn with(&self, event: Arc<UserEvent>) -> Heard {
        let mut events = self.events.clone();
        if events.len() == RECENT_MAX {
            events.pop_front();
        }
        events.push_back(event);
        Heard { version: self.version + 1, events }
    }

    /// Those of a name, all for an empty one, oldest first.
    pub fn named(&self, name: &str) -> Vec<Arc<UserEvent>> {
        let wanted = |event: &&Arc<UserEvent>| name.is_empty() || event.fired.name == name;
        self.events.iter().filter(wanted).cloned().collect()
    }
}

/// The index of a list that ends with this event: Consul folds the two halves of its id into one number.
pub fn index_of(id: u128) -> u64 {
    ((id >> 64) as u64) ^ (id as u64)
}

/// Decides which events concern this agent.
pub struct Interest {
    node: String,
    local: Box<dyn Fn() -> Arc<LocalView> + Send + Sync>,
}

impl Interest {
    /// The interest of the agent called `node`, with the services of `local`.
    pub fn new(node: &str, local: Box<dyn Fn() -> Arc<LocalView> + Send + Sync>) -> Interest {
        Interest { node: node.to_owned(), local }
    }

    /// Whether an event concerns us. A filter that is no pattern concerns nobody.
    pub fn concerns(&self, fired: &Fired) -> bool {
        let Fired { node_filter, service_filter, tag_filter, id: _, name: _, payload: _ } = fired;
        if !node_filter.is_empty() && !matches(node_filter, &self.node) {
            return false;
        }
        if service_filter.is_empty() {
            return true;
        }
        let (Ok(service), Ok(tag)) = (Regex::new(service_filter), Regex::new(tag_filter)) else { return false };
        let view = (self.local)();
        view.services.values().any(|local| {
            let is_tagged = tag_filter.is_empty() || local.service.tags.iter().any(|text| tag.is_match(text));
            service.is_match(&local.service.name) && is_tagged
        })
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(node: &str, service: &str) -> Fired {
        Fired {
            id: 1,
            name: "deploy".to_owned(),
            payload: Vec::new(),
            node_filter: node.to_owned(),
            service_filter: service.to_owned(),
            tag_filter: String::new(),
        }
    }

    #[test]
    fn the_index_is_the_one_consul_gives() {
        let id = uuid::Uuid::parse_str("20df50c3-4fcd-471d-5fe5-55ea84af4abb").expect("a UUID");
        assert_eq!(index_of(id.as_u128()), 9_167_645_668_530_064_806);
    }

    #[test]
    fn filters_choose_nodes_and_services() {
        let interest = Interest::new("web-1", Box::new(|| Arc::new(LocalView::default())));
        let cases = [("", "", true), ("^web", "", true), ("^db", "", false), ("(", "", false), ("", "web", false)];
        for (node, service, expected) in cases {
            assert_eq!(interest.concerns(&fired(node, service)), expected, "{node} {service}");
        }
    }

    #[test]
    fn the_latest_are_kept() {
        let event =
            |id| Arc::new(UserEvent { time: agent_core::gossip::LamportTime(1), fired: Fired { id, ..fired("", "") } });
        let heard = (0..300).fold(Heard::default(), |heard, id| heard.with(event(id)));
        assert_eq!((heard.version, heard.events.len(), heard.events[0].fired.id), (300, RECENT_MAX, 44));
    }
}
