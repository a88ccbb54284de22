//! What goes wrong, and with whom: one fault at a time, chosen by a seed.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use real::pool::Pool;
use rustix::process::Signal;

/// A fault is over after a time between these two, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 2_000..12_000;

/// Something that goes wrong with one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Pause,
    CutOff,
    Mute,
    Deaf,
    NoUdp,
    Loss,
    Restart,
}

const FAULTS: [Fault; 8] =
    [Fault::Kill, Fault::Pause, Fault::CutOff, Fault::Mute, Fault::Deaf, Fault::NoUdp, Fault::Loss, Fault::Restart];

/// Chooses faults, and ends them.
pub struct Trouble {
    random: StdRng,
    now: Option<(Fault, usize, Instant)>,
}

impl Trouble {
    /// None yet.
    pub fn new(seed: u64) -> Trouble {
        Trouble { random: StdRng::seed_from_u64(seed), now: None }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    /// Something goes wrong; says what.
    pub fn begin(&mut self, pool: &mut Pool) -> String {
        // The same draws every time, whoever leads: the same seed brings the same faults.
        let fault = FAULTS[usize::try_from(self.below(FAULTS.len() as u64)).expect("a small number")];
        let (hits_leader, any) = (self.below(2) == 0, self.below(pool.clients().end as u64));
        let lasts = Duration::from_millis(LASTS_MS.start + self.below(LASTS_MS.end - LASTS_MS.start));
        let leader = pool.servers().find_map(|place| pool.leader_seen_by(place));
        let any = usize::try_from(any).expect("a small number");
        let victim = leader.filter(|_| hits_leader).unwrap_or(any);
        match fault {
            Fault::Kill => pool.kill(victim),
            Fault::Pause => pool.signal(victim, Signal::STOP),
            Fault::CutOff => pool.network().cut_off(&[victim]),
            Fault::Mute => pool.network().mute(&[victim]),
            Fault::Deaf => pool.network().deafen(&[victim]),
            Fault::NoUdp => pool.network().block_udp(&[victim]),
            Fault::Loss => pool.network().lose(),
            Fault::Restart => {
                pool.terminate(victim);
                pool.begin(victim);
            }
        }
        self.now = Some((fault, victim, Instant::now() + lasts));
        let leads = if leader == Some(victim) { ", the leader" } else { "" };
        match fault {
            Fault::Loss => format!("{fault:?} {:.1} s", lasts.as_secs_f64()),
            Fault::Restart => format!("{fault:?} {}{leads}", pool.name(victim)),
            _ => format!("{fault:?} {}{leads} {:.1} s", pool.name(victim), lasts.as_secs_f64()),
        }
    }

    /// Ends the fault if its time is over.
    pub fn heal_when_over(&mut self, pool: &mut Pool) -> bool {
        let is_over = self.now.is_none_or(|(_, _, ends)| Instant::now() >= ends);
        if is_over {
            self.heal(pool);
        }
        is_over
    }

    /// Ends the fault.
    pub fn heal(&mut self, pool: &mut Pool) {
        match self.now.take() {
            Some((Fault::Kill, victim, _)) => pool.begin(victim),
            Some((Fault::Pause, victim, _)) => pool.signal(victim, Signal::CONT),
            Some((Fault::CutOff | Fault::Mute | Fault::Deaf | Fault::NoUdp | Fault::Loss, ..)) => pool.network().heal(),
            Some((Fault::Restart, ..)) | None => {}
        }
    }
}
