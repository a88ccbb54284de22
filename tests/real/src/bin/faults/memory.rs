//! What memory each agent takes, as Linux counts it, over all its lives.

use std::fmt;
use std::fs;

use real::pool::Pool;

/// The most a server may ever have had resident, in KiB: the 20 MiB of one that is idle (`just bench pool`), and 8 for what load needs at
/// its highest: the data, the newest part of the log, a batch and a snapshot on their way to the disk, requests being answered.
const SERVER_MAX: u64 = 28 * 1024;

/// The most a client may ever have had resident, in KiB: load adds nothing to what an idle one may have.
const CLIENT_MAX: u64 = 14 * 1024;

/// The most that was seen, an agent each.
pub struct Memory {
    servers: usize,
    most: Vec<Figures>,
}

/// In KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    resident: u64,
    anonymous: u64,
}

impl Memory {
    /// Nothing was looked at yet.
    pub fn new(servers: usize, clients: usize) -> Memory {
        Memory { servers, most: vec![Figures::default(); servers + clients] }
    }

    /// Looks at all agents that run.
    pub fn look(&mut self, pool: &mut Pool) {
        for (place, most) in self.most.iter_mut().enumerate() {
            if !pool.is_up(place) {
                continue;
            }
            // An agent that has just ended has no memory.
            let status = fs::read_to_string(format!("/proc/{}/status", pool.agent(place).id())).unwrap_or_default();
            // Until it has become lictor, the process is `ip`.
            if status.starts_with("Name:\tlictor") {
                most.resident = most.resident.max(figure(&status, "VmHWM:"));
                most.anonymous = most.anonymous.max(figure(&status, "RssAnon:"));
            }
        }
    }

    fn budget(&self, place: usize) -> u64 {
        if place < self.servers { SERVER_MAX } else { CLIENT_MAX }
    }

    fn name(&self, place: usize) -> String {
        if place < self.servers { format!("s{}", place + 1) } else { format!("c{}", place + 1 - self.servers) }
    }

    /// Who took more than it may.
    pub fn over_budget(&self) -> Vec<String> {
        let over = |(place, most): (usize, &Figures)| {
            let (most, budget) = (most.resident, self.budget(place));
            (most > budget).then(|| format!("{} had {most} KiB resident, and {budget} are allowed", self.name(place)))
        };
        self.most.iter().enumerate().filter_map(over).collect()
    }

    /// A line for each agent.
    pub fn report(&self) -> String {
        let line = |(place, most): (usize, &Figures)| {
            let (name, budget) = (self.name(place), self.budget(place));
            let Figures { resident, anonymous } = most;
            format!("{name}: at most {resident} KiB resident of {budget}, {anonymous} KiB of that its own\n")
        };
        self.most.iter().enumerate().map(line).collect()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.most.iter().map(|most| format!("{:.1}", most.resident as f64 / 1024.0)).collect();
        write!(f, "MiB at most: {}", shown.join(" "))
    }
}

fn figure(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
