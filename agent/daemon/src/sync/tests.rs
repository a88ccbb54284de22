//! The loop with everything around it faked: the catalog is a state in memory, the prober says what it is told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use agent_core::health::spec::{CheckKind, CheckSpec, Outcome, ServiceSpec};
use agent_core::local::Source;
use agent_core::local::anti_entropy::Remote;
use agent_core::state::tables::{Index, Node, Service, State, Status};
use agent_core::state::{Command, Proposal, Reply, apply};
use agent_raft::consensus::{ReadError, WriteError};

use super::*;
use crate::env::BoxFuture;

#[derive(Default)]
struct MemoryCatalog {
    state: Mutex<State>,
}

impl Catalog for MemoryCatalog {
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>> {
        let mut state = self.state.lock().unwrap();
        let index = state.index + 1;
        let applied = apply(&mut state, index, &Proposal { id: index.into(), now_ms: 1, command });
        Box::pin(async move { Ok(applied.reply) })
    }

    fn read<'a>(&'a self, name: &'a str, past: Index) -> BoxFuture<'a, Result<(Index, Remote), ReadError>> {
        Box::pin(async move {
            if past > 0 {
                std::future::pending::<()>().await;
            }
            Ok((1, Remote::of(&self.state.lock().unwrap(), name)))
        })
    }

    fn servers_changed<'a>(&'a self, seen: &'a mut u64) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if *seen > 0 {
                std::future::pending::<()>().await;
            }
            *seen = 1;
        })
    }
}

/// Panics on its first run and passes on every later one.
#[derive(Default)]
struct ClumsyProber {
    runs: AtomicU32,
}

impl Prober for ClumsyProber {
    fn probe<'a>(&'a self, _spec: &'a CheckSpec) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            assert!(self.runs.fetch_add(1, Ordering::Relaxed) > 0, "clumsy");
            Outcome { status: Status::Passing, output: "fine".into() }
        })
    }
}

fn deps(catalog: &Arc<MemoryCatalog>, persist: Option<Persist>, config: Definitions) -> Deps {
    let node = Node { id: "id-1".into(), name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
    let (catalog, prober) = (catalog.clone(), Arc::new(ClumsyProber::default()));
    Deps { env: Env::real(), catalog, prober, persist, settings: Settings::new(node, 1), config }
}

async fn launch(persist: Option<Persist>) -> (LocalHandle, JoinHandle<()>, Arc<MemoryCatalog>) {
    let catalog = Arc::new(MemoryCatalog::default());
    let started = start(deps(&catalog, persist, Definitions::default())).await;
    let (handle, task) = started.expect("no file defines anything");
    (handle, task, catalog)
}

fn web() -> Input {
    let kind = CheckKind::Udp { address: "a:1".into() };
    let service = Service { id: "web".into(), name: "web".into(), ..Service::default() };
    let checks = vec![CheckSpec { interval_ms: 10_000, ..CheckSpec::new("c", kind) }];
    let spec = Box::new(ServiceSpec { service, checks, token: String::new() });
    Input::AddService { spec, source: Source::Api, replace_existing_checks: false }
}

async fn wait_for(handle: &LocalHandle, wanted: (Status, &str)) {
    let mut view = handle.view();
    while view.checks.get("c").is_none_or(|c| (c.check.status, c.check.output.as_str()) != wanted) {
        view = handle.changed(view.version).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_a_critical_result_and_the_next_one_counts() {
    let (handle, _task, catalog) = launch(None).await;
    assert_eq!(handle.send(web()).await, Ok(()));
    let defect = "the probe failed: this is a defect of the agent, not of what it checks";
    wait_for(&handle, (Status::Critical, defect)).await;
    wait_for(&handle, (Status::Passing, "fine")).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let check = catalog.state.lock().unwrap().checks[&("n1".to_owned(), "c".to_owned())].clone();
    assert_eq!((check.status, check.service_name.as_str()), (Status::Passing, "web"));
}

#[tokio::test]
async fn what_the_api_registered_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let persist = || Some(Persist::new(folder.path()));
    let (handle, task, _catalog) = launch(persist()).await;
    handle.send(web()).await.unwrap();
    drop(handle);
    task.await.unwrap();

    let (handle, _task, _catalog) = launch(persist()).await;
    let view = handle.changed(0).await;

    assert_eq!(view.services["web"].source, Source::Api);
    assert_eq!(view.checks["c"].check.service_id, "web");
}

#[tokio::test]
async fn a_registration_that_cannot_be_kept_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("services"), "in the way").unwrap();
    let (handle, _task, _catalog) = launch(Some(Persist::new(folder.path()))).await;
    let error = handle.send(web()).await.unwrap_err();
    assert!(matches!(error, LocalError::NotPersisted(_)), "{error}");
    assert!(handle.view().services.contains_key("web"));
}

#[tokio::test]
async fn a_definition_that_is_refused_ends_the_loop() {
    let kind = CheckKind::Ttl { ttl_ms: 1000 };
    let orphan = CheckSpec { name: "orphan".into(), service_id: "nope".into(), ..CheckSpec::new("o", kind) };
    let config = Definitions { services: Vec::new(), checks: vec![orphan] };
    let error = start(deps(&Arc::default(), None, config)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "Failed to register check 'orphan': ServiceID \"nope\" does not exist");
}
