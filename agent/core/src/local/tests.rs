//! Stories of local state, with stepped time and a real catalog state to sync with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::anti_entropy::Remote;
use super::*;
use crate::Instant;
use crate::health::spec::{CheckKind, CheckSpec, Outcome, ServiceSpec};
use crate::state::command::Register;
use crate::state::tables::{Check, Node, Service, State, Status};
use crate::state::{Command, Proposal, Reply, apply};

use Status::{Critical, Passing, Warning};

mod log;

const SECOND: Duration = Duration::from_secs(1);

/// An agent with a catalog that answers at once.
struct World {
    local: Local,
    now: Instant,
    catalog: State,
    /// While false, the catalog can neither be read nor written.
    is_reachable: bool,
    writes: Vec<Command>,
    runs: Vec<(String, RunId)>,
    persisted: Vec<String>,
    cancelled: Vec<RunId>,
    watched: Vec<String>,
    log: Vec<String>,
}

impl World {
    fn new() -> Self {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let node = Node { id: "id-1".into(), name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
        let mut settings = Settings::new(node, 7);
        change(&mut settings);
        World {
            local: Local::new(settings),
            now: Instant::START,
            catalog: State::default(),
            is_reachable: true,
            writes: Vec::new(),
            runs: Vec::new(),
            persisted: Vec::new(),
            cancelled: Vec::new(),
            watched: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Steps, performs what is wanted, and returns the reply if there was one.
    fn step(&mut self, input: Input) -> Option<Result<(), Refusal>> {
        let mut inputs = vec![input];
        let mut reply = None;
        while let Some(input) = inputs.pop() {
            for output in self.local.step(self.now, input) {
                match output {
                    Output::Run { spec, run } => self.runs.push((spec.id.clone(), run)),
                    Output::Cancel { run, .. } => self.cancelled.push(run),
                    Output::ReadRemote => inputs.push(Input::RemoteView(self.read())),
                    Output::Sync { id, commands } => {
                        let results = commands.into_iter().map(|command| self.write(command)).collect();
                        inputs.push(Input::SyncDone { id, results });
                    }
                    Output::Persist(record) => self.persisted.push(name_of(&record)),
                    Output::ForgetService(id) => self.persisted.push(format!("-service {id}")),
                    Output::ForgetCheck(id) => self.persisted.push(format!("-check {id}")),
                    Output::WatchNodes(nodes) => self.watched = nodes,
                    Output::Reply(result) => reply = Some(result),
                    Output::Log(line) if line.weight == Weight::Debug => {}
                    Output::Log(line) => self.log.push(described(&line)),
                }
            }
        }
        reply
    }

    fn read(&self) -> Result<Box<Remote>, String> {
        let remote = || Box::new(Remote::of(&self.catalog, "n1"));
        self.is_reachable.then(remote).ok_or_else(|| "No cluster leader".to_owned())
    }

    fn write(&mut self, command: Command) -> SyncResult {
        if !self.is_reachable {
            return SyncResult::Failed("No cluster leader".to_owned());
        }
        self.writes.push(command.clone());
        match self.apply(command) {
            Reply::Refused(refusal) => SyncResult::Failed(refusal.to_string()),
            _ => SyncResult::Done,
        }
    }

    fn apply(&mut self, command: Command) -> Reply {
        let index = self.catalog.index + 1;
        apply(&mut self.catalog, index, &Proposal { id: index.into(), now_ms: 1, command }).reply
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.local.deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    fn finish_run(&mut self, status: Status, output: &str) {
        let (id, run) = self.runs.pop().expect("a run is in flight");
        self.step(Input::ProbeDone { id, run, outcome: Outcome { status, output: output.into() } });
    }

    fn add_service(&mut self, id: &str, checks: Vec<CheckSpec>) {
        let added = self.step(add(id, &[], checks));
        assert_eq!(added, Some(Ok(())));
    }

    fn add_check(&mut self, spec: CheckSpec) -> Option<Result<(), Refusal>> {
        self.step(Input::AddCheck { spec: Box::new(spec), source: Source::Api })
    }

    fn ttl(&mut self, id: &str, status: Status, output: &str) -> Option<Result<(), Refusal>> {
        self.step(Input::TtlUpdate { id: id.into(), status, output: output.into() })
    }

    fn check(&self, id: &str) -> (Status, String) {
        let check = &self.local.view().checks[id].check;
        (check.status, check.output.clone())
    }

    fn in_catalog(&self, id: &str) -> Option<(Status, String)> {
        let check = self.catalog.checks.get(&("n1".to_owned(), id.to_owned()))?;
        Some((check.status, check.output.clone()))
    }

    fn catalog_services(&self) -> Vec<&str> {
        self.catalog.services.keys().map(|(_, id)| id.as_str()).collect()
    }
}

fn described(line: &LogLine) -> String {
    let LogLine { weight, message, service, check, status: _, error } = line;
    let fields = [("service", service), ("check", check), ("error", error)];
    let fields = fields.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
    let fields: String = fields.collect();
    format!("{weight:?} {message}{}{fields}", if fields.is_empty() { "" } else { ":" })
}

fn name_of(record: &Record) -> String {
    match record {
        Record::Service(spec) => format!("+service {}", spec.service.id),
        Record::Check(spec) => format!("+check {}", spec.id),
        Record::Ttl { id, .. } => format!("+ttl {id}"),
    }
}

fn service(id: &str, tags: &[&str]) -> Service {
    Service {
        id: id.into(),
        name: id.into(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..Service::default()
    }
}

fn add(id: &str, tags: &[&str], checks: Vec<CheckSpec>) -> Input {
    let spec = Box::new(ServiceSpec { service: service(id, tags), checks, token: String::new() });
    Input::AddService { spec, source: Source::Api, replace_existing_checks: false }
}

fn ttl(id: &str, seconds: u64) -> CheckSpec {
    CheckSpec::new(id, CheckKind::Ttl { ttl_ms: seconds * 1000 })
}

fn tcp(id: &str) -> CheckSpec {
    let kind = CheckKind::Tcp { address: "a:1".into(), use_tls: false, tls: Default::default() };
    CheckSpec { interval_ms: 10_000, ..CheckSpec::new(id, kind) }
}

fn alias(id: &str, node: &str, service: &str) -> CheckSpec {
    CheckSpec::new(id, CheckKind::Alias { node: node.into(), service: service.into() })
}

#[test]
fn a_registered_service_is_in_the_catalog_at_once_and_a_removed_one_is_not() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("service:web", 10)]);
    assert_eq!(world.catalog_services(), ["web"]);
    assert_eq!(world.in_catalog("service:web"), Some((Critical, String::new())));
    assert_eq!(world.writes.len(), 2, "one write for the node, one for the service with its check");

    world.step(Input::RemoveService { id: "web".into() });

    assert_eq!(world.catalog_services(), [""; 0]);
    assert_eq!(world.in_catalog("service:web"), None);
    assert_eq!(world.writes.len(), 3);
    assert_eq!(world.persisted, ["+service web", "+check service:web", "-check service:web", "-service web"]);
}

#[test]
fn a_ttl_check_speaks_until_it_is_silent_for_too_long() {
    let mut world = World::new();
    world.add_check(ttl("c", 10));
    assert_eq!(world.ttl("c", Passing, "hello"), Some(Ok(())));
    world.pass(9 * SECOND);
    assert_eq!(world.in_catalog("c"), Some((Passing, "hello".into())));
    world.ttl("c", Warning, "hm");
    world.pass(10 * SECOND);
    let expired = (Critical, "TTL expired (last output before timeout follows): hm".to_owned());
    assert_eq!(world.in_catalog("c"), Some(expired));
}

#[test]
fn a_ttl_that_nobody_ever_spoke_for_expires_without_a_note() {
    let mut world = World::new();
    world.add_check(CheckSpec { initial_status: Some(Passing), ..ttl("c", 2) });
    world.pass(2 * SECOND);
    assert_eq!(world.check("c"), (Critical, "TTL expired".into()));
}

#[test]
fn a_long_note_is_cut() {
    let mut world = World::new();
    world.add_check(ttl("c", 10));
    world.ttl("c", Passing, &"x".repeat(5000));
    let (_, output) = world.check("c");
    assert_eq!(output.len(), 4130);
    assert!(output.ends_with("x ... (captured 4096 of 5000 bytes)"));
}

#[test]
fn refusals_read_as_consuls() {
    let script = CheckSpec::new("s", CheckKind::Script { args: vec!["true".into()] });
    let orphan = CheckSpec { service_id: "nope".into(), ..ttl("c", 1) };
    let add_check = |spec: &CheckSpec, source| Input::AddCheck { spec: Box::new(spec.clone()), source };
    let cases = [
        (
            Input::TtlUpdate { id: "x".into(), status: Passing, output: String::new() },
            "CheckID \"x\" does not have associated TTL",
        ),
        (
            Input::TtlUpdate { id: "tcp".into(), status: Passing, output: String::new() },
            "CheckID \"tcp\" does not have associated TTL",
        ),
        (
            Input::ServiceMaintenance { id: "x".into(), enable: true, reason: String::new() },
            "No service registered with ID \"x\"",
        ),
        (add_check(&orphan, Source::Api), "ServiceID \"nope\" does not exist"),
        (
            add_check(&script, Source::Api),
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
        ),
        (
            add_check(&script, Source::Config),
            "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
             'enable_local_script_checks' to true",
        ),
    ];
    let mut world = World::new();
    world.add_check(tcp("tcp"));
    for (input, text) in cases {
        let reply = world.step(input).expect("it replies");
        assert_eq!(reply.unwrap_err().to_string(), text);
    }
    assert_eq!(world.local.view().checks.len(), 1);
}

#[test]
fn local_scripts_may_come_from_files_only() {
    let mut world = World::with(|s| s.scripts = ScriptPolicy { from_config: true, from_api: false });
    let script = CheckSpec::new("s", CheckKind::Script { args: vec!["true".into()] });
    let from = |source| Input::AddCheck { spec: Box::new(script.clone()), source };
    assert_eq!(world.step(from(Source::Config)), Some(Ok(())));
    assert_eq!(world.step(from(Source::Api)), Some(Err(Refusal::ScriptsDisabled(Source::Api))));
}

#[test]
fn a_check_that_is_registered_again_keeps_its_status() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("service:web", 10)]);
    world.ttl("service:web", Passing, "abc");
    let again = CheckSpec { initial_status: Some(Critical), name: "other".into(), ..ttl("service:web", 20) };
    world.step(add("web", &["new"], vec![again]));
    assert_eq!(world.check("service:web"), (Passing, "abc".into()));
    let check = &world.local.view().checks["service:web"].check;
    assert_eq!((check.name.as_str(), check.service_tags.as_slice()), ("other", ["new".to_owned()].as_slice()));
}

#[test]
fn checks_that_are_left_out_go_only_when_asked_for() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("a", 10), ttl("b", 10)]);
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: true, reason: String::new() });
    world.add_service("web", vec![ttl("b", 10)]);
    assert!(world.local.view().checks.contains_key("a"));
    let spec = Box::new(ServiceSpec { service: service("web", &[]), checks: vec![ttl("b", 10)], token: String::new() });
    world.step(Input::AddService { spec, source: Source::Api, replace_existing_checks: true });
    let left: Vec<_> = world.local.view().checks.keys().cloned().collect();
    assert_eq!(left, ["_service_maintenance:web", "b"]);
    assert_eq!(world.in_catalog("a"), None);
}

#[test]
fn a_check_runs_within_its_first_interval_and_then_an_interval_after_each_end() {
    let mut world = World::new();
    world.add_check(tcp("c"));
    world.pass(10 * SECOND);
    assert_eq!(world.runs.len(), 1, "the first run was spread over the interval");
    world.pass(30 * SECOND);
    assert_eq!(world.runs.len(), 1, "one run at a time");
    world.finish_run(Passing, "fine");
    assert_eq!(world.in_catalog("c"), Some((Passing, "fine".into())));
    world.pass(9 * SECOND);
    assert_eq!(world.runs.len(), 0);
    world.pass(SECOND);
    assert_eq!(world.runs.len(), 1);
}

#[test]
fn a_run_of_an_older_definition_is_called_off() {
    let mut world = World::new();
    world.add_check(tcp("c"));
    world.pass(10 * SECOND);
    let (_, run) = world.runs[0].clone();
    world.add_check(CheckSpec { notes: "changed".into(), ..tcp("c") });
    assert_eq!(world.cancelled, [run]);
    world.finish_run(Passing, "late");
    assert_eq!(world.check("c"), (Critical, String::new()));
}

#[test]
fn the_same_definition_again_does_not_disturb_the_schedule() {
    let mut world = World::new();
    for _ in 0..20 {
        world.add_check(tcp("c"));
        world.pass(SECOND);
    }
    assert_eq!((world.runs.len(), world.cancelled.len()), (1, 0));
}

#[test]
fn an_output_that_changes_alone_waits_and_a_status_does_not() {
    let mut world = World::new();
    world.add_check(ttl("c", 10_000));
    world.ttl("c", Passing, "one");
    let writes = world.writes.len();
    world.ttl("c", Passing, "two");
    world.pass(149 * SECOND);
    assert_eq!(world.writes.len(), writes, "full comparisons leave a deferred output alone");
    assert_eq!(world.check("c"), (Passing, "two".into()));
    world.pass(301 * SECOND);
    assert_eq!(world.in_catalog("c"), Some((Passing, "two".into())));
    world.ttl("c", Passing, "three");
    world.ttl("c", Critical, "four");
    assert_eq!(world.in_catalog("c"), Some((Critical, "four".into())));
    assert_eq!(world.writes.len(), writes + 2);
}

#[test]
fn output_can_be_discarded() {
    let mut world = World::with(|s| s.discard_check_output = true);
    world.add_check(ttl("c", 10));
    world.ttl("c", Passing, "secret");
    assert_eq!(world.in_catalog("c"), Some((Passing, String::new())));
}

#[test]
fn a_service_that_is_critical_for_too_long_is_removed() {
    let mut world = World::new();
    let check = CheckSpec { deregister_critical_service_after_ms: 90_000, ..ttl("c", 10_000) };
    world.add_service("web", vec![check]);
    world.pass(200 * SECOND);
    assert!(world.local.view().services.contains_key("web"), "never having run is not being critical");
    world.ttl("c", Critical, "down");
    world.pass(80 * SECOND);
    world.ttl("c", Passing, "up");
    world.ttl("c", Critical, "down again");
    world.pass(89 * SECOND);
    assert_eq!(world.catalog_services(), ["web"]);
    world.pass(31 * SECOND);
    assert_eq!(world.catalog_services(), [""; 0]);
}

#[test]
fn maintenance_is_a_critical_check_with_a_reason() {
    let mut world = World::new();
    world.add_service("web", vec![]);
    world.step(Input::NodeMaintenance { enable: true, reason: String::new() });
    world.step(Input::NodeMaintenance { enable: true, reason: "too late".into() });
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: true, reason: "why".into() });
    let view = world.local.view().clone();
    let node = &view.checks[NODE_MAINTENANCE_ID].check;
    let expected = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
    assert_eq!((node.notes.as_str(), node.kind.as_str(), node.status), (expected, "maintenance", Critical));
    let of_service = &view.checks["_service_maintenance:web"].check;
    assert_eq!((of_service.notes.as_str(), of_service.name.as_str()), ("why", "Service Maintenance Mode"));

    world.step(Input::NodeMaintenance { enable: false, reason: String::new() });
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: false, reason: String::new() });
    assert_eq!((world.local.view().checks.len(), world.catalog.checks.len()), (0, 0));
}

#[test]
fn an_alias_follows_what_it_mirrors_even_through_another_alias() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("w", 1000)]);
    world.add_service("side", vec![alias("s", "", "web")]);
    world.add_service("car", vec![alias("a", "", "side")]);
    assert_eq!(world.check("s"), (Critical, "Aliased check \"w\" failing: ".into()));
    world.ttl("w", Passing, "");
    assert_eq!(world.check("s"), (Passing, "All checks passing.".into()));
    assert_eq!(world.in_catalog("a"), Some((Passing, "All checks passing.".into())));
    world.step(Input::RemoveService { id: "web".into() });
    assert_eq!(world.check("s"), (Critical, "Service web could not be found on node ".into()));
}

#[test]
fn aliases_that_face_each_other_come_to_rest() {
    let mut world = World::new();
    world.add_service("a", vec![]);
    world.add_service("b", vec![]);
    world.add_check(CheckSpec { service_id: "a".into(), ..alias("ca", "", "b") });
    world.add_check(CheckSpec { service_id: "b".into(), ..alias("cb", "", "a") });
    for round in 0..200 {
        world.step(Input::NodeMaintenance { enable: round % 2 == 0, reason: String::new() });
    }
    assert!(world.check("ca").1.len() < 4200);
}

#[test]
fn an_alias_of_another_node_waits_for_the_catalog() {
    let mut world = World::new();
    world.add_check(alias("a", "n2", "db"));
    assert_eq!(world.watched, ["n2"]);
    assert_eq!(world.check("a"), (Critical, String::new()));
    let db = Check { id: "d".into(), name: "d".into(), service_id: "db".into(), status: Warning, ..Check::default() };
    let remote = Remote {
        node: None,
        services: BTreeMap::from([("db".into(), service("db", &[]).into())]),
        checks: BTreeMap::from([("d".into(), db.into())]),
    };
    world.step(Input::AliasNode { node: "n2".into(), remote: Box::new(remote) });
    assert_eq!(world.check("a"), (Warning, "Aliased check \"d\" failing: ".into()));
    world.step(Input::AliasNode { node: "n2".into(), remote: Box::default() });
    assert_eq!(world.check("a").1, "Service db could not be found on node n2");
    world.step(Input::RemoveCheck { id: "a".into() });
    assert_eq!(world.watched, [""; 0]);
}

#[test]
fn what_others_change_in_the_catalog_is_put_right_within_two_minutes() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("w", 10_000)]);
    let node = Node { name: "n1".into(), ..Node::default() };
    let strange = Check { id: "strange".into(), name: "strange".into(), ..Check::default() };
    let foreign = Register {
        node: node.clone(),
        skip_node_update: true,
        service: Some(service("foreign", &[])),
        checks: vec![strange],
    };
    world.apply(Command::Register(Box::new(foreign)));
    let health = Check { id: "serfHealth".into(), name: "h".into(), status: Passing, ..Check::default() };
    let leaders =
        Register { node, skip_node_update: true, service: Some(service("consul", &[])), checks: vec![health] };
    world.apply(Command::Register(Box::new(leaders)));
    let (web, n1) = (Some("web".to_owned()), "n1".to_owned());
    world.apply(Command::Deregister { node: n1, service_id: web, check_id: None });

    world.pass(120 * SECOND);

    assert_eq!(world.catalog_services(), ["consul", "web"]);
    let checks: Vec<_> = world.catalog.checks.keys().map(|(_, id)| id.as_str()).collect();
    assert_eq!(checks, ["serfHealth", "w"]);
    let writes = world.writes.len();
    world.pass(600 * SECOND);
    assert_eq!(world.writes.len(), writes, "a catalog that agrees is not written to");
}

#[test]
fn a_removed_node_comes_back_whole() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("w", 10_000)]);
    world.apply(Command::Deregister { node: "n1".into(), service_id: None, check_id: None });
    assert_eq!(world.catalog.nodes.len(), 0);
    world.pass(120 * SECOND);
    assert_eq!(world.catalog.nodes["n1"].id, "id-1");
    assert_eq!(world.catalog_services(), ["web"]);
}

#[test]
fn the_catalog_decides_the_tags_where_it_may() {
    for (enable_tag_override, expected) in [(true, "theirs"), (false, "ours")] {
        let mut world = World::new();
        let ours = Service { enable_tag_override, ..service("web", &["ours"]) };
        let spec = Box::new(ServiceSpec { service: ours.clone(), checks: vec![], token: String::new() });
        world.step(Input::AddService { spec, source: Source::Api, replace_existing_checks: false });
        let node = Node { name: "n1".into(), ..Node::default() };
        let theirs = Some(Service { tags: vec!["theirs".into()], ..ours });
        let edit = Register { node, skip_node_update: true, service: theirs, checks: vec![] };
        world.apply(Command::Register(Box::new(edit)));
        world.pass(120 * SECOND);
        let tags = [expected.to_owned()];
        assert_eq!(world.catalog.services[&("n1".to_owned(), "web".to_owned())].tags, tags);
        assert_eq!(world.local.view().services["web"].service.tags, tags);
    }
}

#[test]
fn after_a_failure_it_waits_and_then_everything_arrives() {
    let mut world = World::new();
    world.add_service("web", vec![]);
    world.is_reachable = false;
    world.add_service("db", vec![]);
    world.step(Input::RemoveService { id: "web".into() });
    world.is_reachable = true;
    world.pass(14 * SECOND);
    assert_eq!(world.catalog_services(), ["web"], "a failure is waited out");
    world.pass(16 * SECOND);
    assert_eq!(world.catalog_services(), ["db"]);
}

#[test]
fn a_new_leader_ends_the_wait() {
    let mut world = World::new();
    world.is_reachable = false;
    world.add_service("web", vec![]);
    world.is_reachable = true;
    world.step(Input::ServersChanged);
    assert_eq!(world.catalog_services(), ["web"]);
}

#[test]
fn a_leader_that_appears_while_the_catalog_is_read_is_asked_again_at_once() {
    let mut world = World::new();
    let first = world.local.step(world.now, Input::Tick);
    assert_eq!(first, [Output::ReadRemote]);
    world.step(Input::ServersChanged);
    world.step(Input::RemoteView(Err("No cluster leader".into())));
    world.add_service("web", vec![]);
    assert_eq!(world.catalog_services(), ["web"]);
}

#[test]
fn a_change_during_a_write_goes_out_after_it() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("w", 1000)]);
    let now = world.now;
    let update = |status| Input::TtlUpdate { id: "w".into(), status, output: String::new() };
    let outputs = world.local.step(now, update(Passing));
    let Some(Output::Sync { id, commands }) = outputs.last().cloned() else { panic!("no write: {outputs:?}") };
    assert!(!world.local.step(now, update(Warning)).iter().any(|o| matches!(o, Output::Sync { .. })));
    let results = commands.into_iter().map(|command| world.write(command)).collect();
    world.step(Input::SyncDone { id, results });
    assert_eq!(world.in_catalog("w"), Some((Warning, String::new())));
}

#[test]
fn files_win_over_what_was_persisted_and_ttl_states_survive() {
    let mut world = World::new();
    let spec = |id: &str, tag: &str| ServiceSpec { service: service(id, &[tag]), checks: vec![], token: String::new() };
    let of = |service_id: &str, check: CheckSpec| CheckSpec { service_id: service_id.into(), ..check };
    let config = Definitions { services: vec![spec("web", "file")], checks: vec![of("web", ttl("w", 100))] };
    let state = TtlState { status: Passing, output: "kept".into() };
    let persisted = Persisted {
        services: vec![spec("db", "api"), spec("web", "api")],
        checks: vec![
            CheckSpec { initial_status: Some(Passing), ..of("db", tcp("d")) },
            of("web", tcp("w")),
            of("gone", tcp("orphan")),
        ],
        ttl: BTreeMap::from([("w".to_owned(), state)]),
    };
    assert_eq!(world.step(Input::Load { config, persisted }), Some(Ok(())));
    let view = world.local.view();
    assert_eq!(view.services["web"].service.tags, ["file"]);
    assert_eq!((view.services["web"].source, view.services["db"].source), (Source::Config, Source::Api));
    assert_eq!(world.check("w"), (Passing, "kept".into()));
    assert_eq!(world.check("d"), (Critical, String::new()), "what was healthy before may not be so now");
    let forgotten: Vec<_> = world.persisted.iter().filter(|p| p.starts_with('-')).collect();
    assert_eq!(forgotten, ["-service web", "-check w", "-check orphan"]);
}

#[test]
fn a_reload_replaces_what_files_defined_and_keeps_the_rest() {
    let mut world = World::new();
    let spec = |id: &str, checks| ServiceSpec { service: service(id, &[]), checks, token: String::new() };
    let before = Definitions {
        services: vec![spec("old", vec![ttl("o", 100)]), spec("web", vec![ttl("w1", 100), ttl("w2", 100)])],
        checks: vec![ttl("node", 100)],
    };
    world.step(Input::Load { config: before, persisted: Persisted::default() });
    world.add_service("api", vec![]);
    world.ttl("w1", Passing, "fine");
    let after = Definitions { services: vec![spec("web", vec![ttl("w1", 100)])], checks: vec![] };
    assert_eq!(world.step(Input::Reload(after)), Some(Ok(())));
    assert_eq!(world.catalog_services(), ["api", "web"]);
    let checks: Vec<_> = world.local.view().checks.keys().cloned().collect();
    assert_eq!(checks, ["w1"]);
    assert_eq!(world.check("w1"), (Passing, "fine".into()));
}
