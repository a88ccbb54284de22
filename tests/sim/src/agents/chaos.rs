//! What goes wrong in a world of agents.

use std::net::IpAddr;
use std::time::Duration;

use super::World;
use super::net::Weather;
use crate::disk::Speed;

/// How far a wall clock may be wrong, in milliseconds.
const WRONG_BY_MS: u64 = 120_000;

impl World {
    /// Lets things go wrong for as long as the plan says.
    pub(super) fn chaos(&mut self) {
        let ends = self.ground.clock.after(self.plan.chaos);
        while self.ground.clock.us() < ends {
            let pause = Duration::from_millis(150 + self.random.below(1_200));
            self.run_for(pause);
            // What was cut is cut for a second or two.
            if self.random.happens(450) {
                self.ground.net.heal();
            }
            self.something_goes_wrong();
            for place in 0..self.hosts.len() {
                if self.random.happens(750) {
                    self.boot(place);
                }
            }
        }
    }

    fn below(&self, end: usize) -> usize {
        usize::try_from(self.random.below(end as u64)).expect("a small number")
    }

    /// Half the time whoever leads, else anybody.
    fn victim(&self) -> usize {
        let other = self.below(self.hosts.len());
        let leader = (0..self.hosts.len()).find(|place| self.scene.leads(*place));
        leader.filter(|_| self.random.happens(500)).unwrap_or(other)
    }

    fn something_goes_wrong(&mut self) {
        let (place, what) = (self.victim(), self.random.below(24));
        let (ip, ips) = (self.hosts[place].ip, self.ips());
        self.ground.trace.note(format_args!("chaos {what} {}", self.hosts[place].name));
        let power_fails = self.random.happens(400);
        match what {
            0..5 => self.crash(place, power_fails),
            5 => {
                for other in 0..ips.len() {
                    if self.random.happens(600) {
                        self.crash(other, power_fails);
                    }
                }
            }
            6..8 => self.ground.net.cut(&ips, |from, to| from == ip || to == ip),
            8 => self.ground.net.cut(&ips, |from, _| from == ip),
            9 => self.ground.net.cut(&ips, |_, to| to == ip),
            10 => {
                let side: Vec<IpAddr> = ips.iter().copied().filter(|_| self.random.happens(500)).collect();
                self.ground.net.cut(&ips, |from, to| side.contains(&from) != side.contains(&to));
            }
            11..15 => {
                let time = Duration::from_millis(self.random.below(3_000));
                let clock_goes_on = !self.plan.freezes_clocks;
                self.hosts[place].stop(&self.ground, time, clock_goes_on);
            }
            15..18 => self.ground.net.set_weather(Weather::ROUGH),
            18 => self.hosts[place].disks.set_speed(Speed::SLOW),
            19 => self.hosts[place].disks.set_speed(Speed::FAST),
            20 => {
                let wrong_by = i64::try_from(self.random.below(2 * WRONG_BY_MS)).expect("minutes");
                self.hosts[place].wall.set(wrong_by - i64::try_from(WRONG_BY_MS).expect("minutes"));
            }
            _ => self.compact(place),
        }
    }

    /// Takes a snapshot, in the agent's own time.
    fn compact(&mut self, place: usize) {
        let life = self.hosts[place].life.as_ref();
        if let Some((life, consensus)) = life.and_then(|life| Some((life, life.consensus()?))) {
            life.spawn(async move { consensus.compact().await });
        }
    }
}
