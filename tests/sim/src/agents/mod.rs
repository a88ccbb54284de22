//! Simulated clusters of whole agents: gossip, Raft, RPC, HTTP, the catalog and DNS together.
//!
//! Owns the course of a run: boot, form a cluster by gossip, let things go wrong
//! while clients work, heal, converge, lose one agent for good, check. The
//! agents are started as the process starts them; network, disks, clocks and
//! randomness are simulated.

pub mod chaos;
pub mod clients;
pub mod clock;
pub mod end;
pub mod hosts;
pub mod net;
pub mod observe;
pub mod scene;
pub mod streams;

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use self::clock::{Clock, STEP_US};
use self::hosts::{Ground, Host};
use self::net::Net;
use self::scene::{CLIENTS, Scene};
use crate::outside::SimRandom;
use crate::trace::Trace;
use crate::world::Report;

/// Things that are wrong on purpose: each must be found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs {
    /// Disks acknowledge before they flush.
    pub lying_disks: bool,
    /// Who believes that it leads answers reads without asking anybody.
    pub stale_leader_reads: bool,
    /// Blocking queries miss the change that comes next.
    pub late_subscriptions: bool,
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many servers there are.
    pub servers: usize,
    /// How many clients there are.
    pub clients: usize,
    /// Whether clocks stand still with their processes, as those of suspended machines do. Then leases mean nothing, and
    /// only consistent reads need be linearizable.
    pub freezes_clocks: bool,
    /// How long things go wrong.
    pub chaos: Duration,
    /// Whether one agent is lost for good in the end.
    pub loses_one: bool,
    /// What is wrong on purpose.
    pub bugs: Bugs,
}

impl Plan {
    /// The plan of a seed: most have three servers, few have seven.
    pub fn of(seed: u64) -> Plan {
        let servers = [3, 3, 5, 3, 3, 4, 3, 3, 5, 3, 3, 7][usize::try_from(seed % 12).expect("below 12")];
        Plan {
            servers,
            clients: 1 + usize::from(seed.is_multiple_of(4)),
            freezes_clocks: seed % 5 == 3,
            chaos: Duration::from_secs(6),
            loses_one: seed % 3 == 1,
            bugs: Bugs::default(),
        }
    }
}

/// The longest a cluster may take to form.
const FORM: Duration = Duration::from_secs(30);

/// The longest a request takes that was sent before the clients were told to stop.
const FINISH: Duration = Duration::from_secs(15);

/// The agents, the clients, and everything between them.
pub struct World {
    plan: Plan,
    ground: Ground,
    random: SimRandom,
    hosts: Vec<Host>,
    people: Runtime,
    scene: Scene,
    lives: u64,
}

/// Runs the world that follows from `seed`. Call outside a runtime.
///
/// # Panics
/// When a client panics.
pub fn run(seed: u64, plan: Plan) -> Report {
    agent_raft::runtime::seed(seed);
    let mut world = World::new(seed, plan);
    if world.form() {
        let mut clients = world.clients();
        world.chaos();
        world.heal();
        world.finish(&mut clients);
        world.converge();
        if plan.loses_one {
            world.lose_one();
        }
    }
    world.report()
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let (clock, random) = (Clock::default(), SimRandom::new(seed));
        let trace = Trace::of_world(&clock);
        let net = Net::new(&clock, &random, &trace);
        net.boot(CLIENTS);
        let ground = Ground { clock, net, trace };
        let hosts = (0..plan.servers + plan.clients).map(|number| Host::new(seed, number, plan.servers, &ground));
        let hosts: Vec<Host> = hosts.collect();
        if plan.bugs.lying_disks {
            hosts.iter().for_each(|host| host.disks.lie());
        }
        let doors = hosts.iter().map(Host::http).collect();
        let scene = Scene::new(seed, plan, &ground.net, &ground.trace, doors);
        let people = Builder::new_current_thread().enable_time().start_paused(true).build();
        let people = people.expect("a runtime without I/O asks nothing of the system");
        World { plan, ground, random, hosts, people, scene, lives: 0 }
    }

    /// Lets a millisecond pass.
    fn step(&mut self) {
        self.ground.clock.step();
        self.ground.net.deliver();
        for host in &mut self.hosts {
            host.step(&self.ground.clock);
        }
        self.people.block_on(async { tokio::time::sleep(Duration::from_micros(STEP_US)).await });
        if self.ground.clock.us().is_multiple_of(10 * STEP_US) {
            self.observe();
        }
    }

    /// Lets time pass until `is_done`, which is asked ten times a second, or until `limit` is over. Says whether it is done.
    fn run_until(&mut self, limit: Duration, mut is_done: impl FnMut(&mut World) -> bool) -> bool {
        let ends = self.ground.clock.after(limit);
        while self.ground.clock.us() < ends {
            self.step();
            if self.ground.clock.us().is_multiple_of(100 * STEP_US) && is_done(self) {
                return true;
            }
        }
        false
    }

    fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn note(&self, what: &str) {
        self.ground.trace.note(format_args!("world: {what}"));
    }

    fn servers(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.is_server)
    }

    fn ips(&self) -> Vec<IpAddr> {
        self.hosts.iter().map(|host| host.ip).collect()
    }

    fn boot(&mut self, place: usize) {
        if self.hosts[place].life.is_none() {
            self.lives += 1;
            self.hosts[place].boot(&self.ground, self.lives);
        }
    }

    fn crash(&mut self, place: usize, power_failed: bool) {
        self.hosts[place].crash(&self.ground, power_failed);
    }

    /// Starts everybody at about the same time, and waits for a cluster that has what the clients need.
    fn form(&mut self) -> bool {
        for place in 0..self.hosts.len() {
            self.boot(place);
            let late = Duration::from_millis(self.random.below(300));
            self.run_for(late);
        }
        let is_formed = self.run_until(FORM, |world| {
            world.servers().all(|host| {
                let servers = host.life.as_ref().and_then(|life| life.consensus()).map(|consensus| consensus.servers());
                servers.is_some_and(|servers| servers.len() == world.plan.servers)
            })
        });
        if !is_formed {
            self.scene.judge(Err("convergence: no cluster is formed".to_owned()));
            return false;
        }
        let scene = self.scene.clone();
        let prepared = self.people.spawn(clients::prepare(scene));
        if !self.run_until(FORM, |_| prepared.is_finished()) {
            self.scene.judge(Err("convergence: the cluster takes no write".to_owned()));
            return false;
        }
        let sessions = self.people.block_on(prepared).expect("clients do not panic");
        self.scene.set_sessions(sessions);
        self.note("the cluster is formed");
        true
    }

    fn clients(&self) -> JoinSet<()> {
        let _inside = self.people.enter();
        let (mut clients, scene) = (JoinSet::new(), || self.scene.clone());
        (0..4).for_each(|number| drop(clients.spawn(clients::keys(scene(), number))));
        (0..2).for_each(|number| drop(clients.spawn(clients::ledger(scene(), number))));
        (0..3).for_each(|number| drop(clients.spawn(clients::watcher(scene(), number))));
        clients.spawn(clients::changer(scene()));
        clients.spawn(clients::registrar(scene()));
        clients
    }

    /// Everything works again, and everybody is there.
    fn heal(&mut self) {
        self.note("healed");
        self.ground.net.heal();
        for place in 0..self.hosts.len() {
            self.hosts[place].go_on();
            self.hosts[place].disks.set_speed(crate::disk::Speed::FAST);
            self.boot(place);
        }
    }

    /// Lets the clients end.
    fn finish(&mut self, clients: &mut JoinSet<()>) {
        self.run_for(Duration::from_millis(1_000));
        self.scene.writing.store(false, Ordering::Relaxed);
        self.scene.running.store(false, Ordering::Relaxed);
        let mut panicked = false;
        let all_ended = self.run_until(FINISH, |_| {
            while let Some(ended) = clients.try_join_next() {
                panicked |= ended.is_err();
            }
            clients.is_empty()
        });
        assert!(all_ended && !panicked, "clients end and do not panic");
    }

    fn report(mut self) -> Report {
        let verdict = self.scene.checks().histories.check();
        self.scene.judge(verdict);
        for place in 0..self.hosts.len() {
            self.crash(place, false);
        }
        let (operations, leaders) = {
            let checks = self.scene.checks();
            (checks.histories.count(), checks.leaders.count())
        };
        let summary = format!("{operations} operations were answered, {leaders} terms had a leader");
        self.note(&summary);
        let trace = &self.ground.trace;
        Report { digest: trace.digest(), broken: self.scene.checks().broken.clone(), tail: trace.tail() }
    }
}
