//! How the catalog follows local state, through failures and what others change.

use super::*;

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
fn new_metadata_of_the_node_go_to_the_catalog_at_once() {
    let mut world = World::new();
    world.add_service("web", vec![]);
    let node_meta = BTreeMap::from([("rack".to_owned(), "2".to_owned())]);
    let adjust = || Input::Adjust { node_meta: node_meta.clone(), discard_check_output: false };
    assert_eq!(world.step(adjust()), Some(Ok(())));
    assert_eq!(world.catalog.nodes["n1"].meta, node_meta);
    let writes = world.writes.len();
    world.step(adjust());
    assert_eq!(world.writes.len(), writes, "metadata that are as they were are not written");
}

#[test]
fn metadata_that_change_while_the_node_is_written_are_written_again() {
    let mut world = World::new();
    world.add_service("web", vec![]);
    let adjust = |rack: &str| Input::Adjust {
        node_meta: BTreeMap::from([("rack".to_owned(), rack.to_owned())]),
        discard_check_output: false,
    };
    let outputs = world.local.step(world.now, adjust("1"));
    let sync = outputs.into_iter().find_map(|output| {
        let Output::Sync { id, commands } = output else { return None };
        Some((id, commands))
    });
    let (id, commands) = sync.expect("the node is written");
    world.step(adjust("2"));
    let results = commands.into_iter().map(|command| world.write(command)).collect();
    world.step(Input::SyncDone { id, results });
    assert_eq!(world.catalog.nodes["n1"].meta["rack"], "2");
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
