//! What is looked at all the time: leaders, states, sleepers, DNS, agents that end.

use agent_core::state::State;
use agent_core::state::snapshot::encode;
use agent_core::state::tables::Status;

use super::World;
use super::clients::WATCHED;
use super::hosts::{Host, Life};

/// How long after the agent itself knows of a change a blocking query may go on, in milliseconds of the agent's.
const WAKES_WITHIN_MS: u64 = 2_000;

impl World {
    /// Looks at every agent.
    pub(super) fn observe(&mut self) {
        self.bury();
        let mut leading = Vec::new();
        for host in &self.hosts {
            let leadership = host.life.as_ref().and_then(Life::consensus).map(|consensus| consensus.leadership());
            let leads = leadership.filter(|leadership| leadership.is_self);
            leading.push(leads.is_some());
            if let Some(leadership) = leads {
                let verdict = self.scene.checks().leaders.saw(leadership.term, &host.name);
                self.scene.judge(verdict);
            }
            if self.random.happens(20) {
                self.look_at(host);
            }
        }
        let lives = self.hosts.iter().map(|host| host.life.as_ref().map_or(0, |life| life.number)).collect();
        let mut checks = self.scene.checks();
        (checks.leading, checks.lives) = (leading, lives);
        drop(checks);
        self.look_at_sleepers();
    }

    /// An agent that ended by itself is started again by whoever supervises it; one that does not start is broken.
    fn bury(&mut self) {
        for place in 0..self.hosts.len() {
            let Some(why) = self.hosts[place].life.as_ref().and_then(Life::failure) else { continue };
            self.ground.trace.note(format_args!("{} {why}", self.hosts[place].name));
            if why.starts_with("does not start") {
                self.scene.judge(Err(format!("restart: {} {why}", self.hosts[place].name)));
            }
            self.crash(place, false);
        }
    }

    /// Compares an agent's state with what others had at that index, and its DNS with its state.
    pub(super) fn look_at(&self, host: &Host) {
        let Some(store) = host.life.as_ref().and_then(Life::store) else { return };
        let state = store.snapshot();
        if state.index == 0 {
            return;
        }
        let digest = encode(&state)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let verdict = self.scene.checks().prefixes.saw(&host.name, state.index, digest);
        self.scene.judge(verdict);
        self.scene.judge(lists_no_critical_instance(host, &state));
    }

    /// A blocking query must be answered soon after its own agent knows of the change.
    fn look_at_sleepers(&self) {
        let mut checks = self.scene.checks();
        let mut overslept = None;
        for (number, asleep) in &mut checks.asleep {
            let host = &self.hosts[asleep.door];
            let Some((life, store)) = host.life.as_ref().and_then(|life| Some((life, life.store()?))) else { continue };
            let index = store.snapshot().kv.get(WATCHED).map_or(0, |entry| entry.modify_index);
            // A host that lost its power tells nobody that it has forgotten their questions.
            if index <= asleep.seen || life.number != asleep.life {
                continue;
            }
            let since_ms = *asleep.overdue_since_ms.get_or_insert(life.ran_ms);
            if life.ran_ms - since_ms > WAKES_WITHIN_MS {
                overslept = Some((*number, format!("wake: a query of {} sleeps past {index}", host.name)));
            }
        }
        drop(checks);
        if let Some((number, what)) = overslept {
            self.scene.wakes(number);
            self.scene.judge(Err(what));
        }
    }
}

/// A question for the addresses of `web.service.consul`.
const QUESTION: &[u8] =
    b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07service\x06consul\x00\x00\x01\x00\x01";

/// DNS never lists a critical instance, and always one that is not. There is one instance of `web`, with one check.
fn lists_no_critical_instance(host: &Host, state: &State) -> Result<(), String> {
    let Some(answer) = host.life.as_ref().and_then(|life| life.ask_dns(QUESTION)) else { return Ok(()) };
    let check = state.checks.iter().find(|((_, check), _)| check.as_str() == "web1").map(|(_, check)| check.status);
    let listed = answer.get(6..8).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let expected = u16::from(check.is_some_and(|status| status != Status::Critical));
    if listed == expected {
        return Ok(());
    }
    Err(format!("dns: {} lists {listed} instances while the only check is {check:?}", host.name))
}
