//! How a world ends: everybody agrees, nothing acknowledged is missing, and a loss is noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::gossip;
use agent_core::state::State;
use agent_core::state::tables::Status;

use super::World;
use super::clients::STATUS;
use super::hosts::{Host, Life};

/// The longest a healed world may take until all servers vote and agree.
const CONVERGE: Duration = Duration::from_secs(60);

/// The longest until the catalog says that an agent is gone.
const NOTICE: Duration = Duration::from_secs(30);

/// The check that gossip owns.
const SERF_HEALTH: &str = "serfHealth";

impl World {
    /// Everybody votes, agrees with everybody else, and has what was acknowledged.
    pub(super) fn converge(&mut self) {
        let mut why = String::new();
        let agrees = self.run_until(CONVERGE, |world| match world.disagreement() {
            None => true,
            Some(what) => {
                why = what;
                false
            }
        });
        if !agrees {
            return self.scene.judge(Err(format!("convergence: {why}")));
        }
        self.note("all agree");
        for host in self.servers() {
            self.look_at(host);
            let Some(store) = host.life.as_ref().and_then(Life::store) else { continue };
            let state = store.snapshot();
            self.scene.judge(agent_core::state::invariants::check(&state));
            let missing = self.missing(&state);
            self.scene.judge(missing.map_or(Ok(()), |what| Err(format!("{what}, on {}", host.name))));
        }
    }

    /// An acknowledged record that a state has not.
    fn missing(&self, state: &State) -> Option<String> {
        let checks = self.scene.checks();
        let pages = checks.durability.below("ledger/");
        let has = |page: &str| state.kv.contains_key(page).then_some("1");
        let page = pages.iter().find_map(|page| checks.durability.read(page, has(page)).err());
        let status = statuses(state, "web1").remove("n").map(|status| status.as_str().to_owned());
        page.or_else(|| checks.durability.read(STATUS, status.as_deref()).err())
    }

    /// What is not as it should be after a while, if anything.
    fn disagreement(&self) -> Option<String> {
        let mut states = Vec::new();
        for host in self.servers() {
            let Some(consensus) = host.life.as_ref().and_then(Life::consensus) else {
                return Some(format!("{} is not up", host.name));
            };
            let voters = consensus.servers().iter().filter(|server| server.voter).count();
            if voters != self.plan.servers {
                return Some(format!("{} knows {voters} voters", host.name));
            }
            if consensus.leadership().leader.is_none() {
                return Some(format!("{} knows no leader", host.name));
            }
            states.extend(host.life.as_ref().and_then(Life::store).map(|store| store.snapshot()));
        }
        if let Some(what) = self.hosts.iter().find_map(|host| self.unknown_to(host)) {
            return Some(what);
        }
        let first = states.first()?;
        if let Some(other) = states.iter().find(|state| state.index != first.index) {
            return Some(format!("one server is at {}, another at {}", first.index, other.index));
        }
        let healths = statuses(first, SERF_HEALTH);
        let wrong = self.hosts.iter().find(|host| healths.get(&host.name) != Some(&Status::Passing));
        wrong.map(|host| format!("serfHealth of {} is {:?}", host.name, healths.get(&host.name)))
    }

    /// Whom an agent does not know as a living member of its pool. Those who forgot others in a crash may hear of them only at
    /// the next exchange.
    fn unknown_to(&self, host: &Host) -> Option<String> {
        let roster = host.life.as_ref()?.look(|agent| agent.gossip().roster())?;
        let lives = |name: &str| {
            roster.members.iter().any(|member| &*member.profile.name == name && member.status == gossip::Status::Alive)
        };
        let unknown = self.hosts.iter().find(|other| !lives(&other.name))?;
        Some(format!("{} does not see {} in its pool", host.name, unknown.name))
    }

    /// One agent is gone for good: the catalog says so, and nothing else.
    pub(super) fn lose_one(&mut self) {
        let place = usize::try_from(self.random.below(self.hosts.len() as u64)).expect("a small number");
        let power_failed = self.random.happens(500);
        self.crash(place, power_failed);
        let name = self.hosts[place].name.clone();
        let is_noticed = self.run_until(NOTICE, |world| {
            world.hosts.iter().filter_map(|host| host.life.as_ref()?.store()).all(|store| {
                let healths = statuses(&store.snapshot(), SERF_HEALTH);
                // Whoever is cleaned up is not listed any more.
                healths.get(&name).is_none_or(|status| *status == Status::Critical)
            })
        });
        if !is_noticed {
            return self.scene.judge(Err(format!("catalog: {name} is gone and still passes")));
        }
        for host in self.hosts.iter().filter(|host| host.name != name) {
            let Some(store) = host.life.as_ref().and_then(Life::store) else { continue };
            let healths = statuses(&store.snapshot(), SERF_HEALTH);
            let wrong = self.hosts.iter().map(|host| &host.name).filter(|other| **other != name);
            let wrong: Vec<&String> = wrong.filter(|other| healths.get(*other) != Some(&Status::Passing)).collect();
            if !wrong.is_empty() {
                self.scene.judge(Err(format!("catalog: {wrong:?} are there, but {} does not say so", host.name)));
            }
        }
    }
}

/// The status of a check on every node that has it.
fn statuses(state: &State, id: &str) -> BTreeMap<String, Status> {
    let of_id = state.checks.iter().filter(|((_, check), _)| check.as_str().eq_ignore_ascii_case(id));
    of_id.map(|((node, _), check)| (node.as_str().to_owned(), check.status)).collect()
}
