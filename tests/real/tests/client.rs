//! A client agent: it knows its own services, and has servers answer the rest for as long as it can find one.

use std::net::Ipv4Addr;
use std::path::Path;

use real::agent::{Agent, Binary, PATIENCE, config_file, own_address};
use real::http::{Connection, get, get_until, request};
use real::pool::until;
use rustix::process::Signal;
use serde_json::Value;

fn server(folder: &Path, name: &str, address: Ipv4Addr, seeds: &[Ipv4Addr], expect: usize) -> Agent {
    let quick = config_file(folder, "quick.hcl", "performance { raft_multiplier = 1 }");
    let data_dir = format!("-data-dir={}", folder.join(name).display());
    let mut arguments = vec![format!("-node={name}"), format!("-config-file={quick}"), data_dir];
    arguments.extend(["-server".to_owned(), format!("-bootstrap-expect={expect}"), "-retry-interval=1s".to_owned()]);
    arguments.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Agent::start_at(address, Binary::Lictor, &arguments)
}

fn client(folder: &Path, name: &str, seeds: &[Ipv4Addr]) -> Agent {
    let data_dir = format!("-data-dir={}", folder.join(name).display());
    let mut arguments = vec![format!("-node={name}"), data_dir, "-retry-interval=1s".to_owned()];
    arguments.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Agent::start_at(own_address(), Binary::Lictor, &arguments)
}

/// A server and a client that knows it.
fn two(folder: &Path) -> (Agent, Agent) {
    let address = own_address();
    let mut server = server(folder, "s1", address, &[], 1);
    server.wait_for_leadership();
    let mut client = client(folder, "c1", &[address]);
    client.wait_for_line("Adding server");
    (server, client)
}

fn put(agent: &Agent, path: &str, body: &str) -> String {
    let answer = request(agent.address, "PUT", path, body.as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text().trim_end().to_owned()
}

#[test]
fn servers_answer_for_a_client_as_if_they_had_been_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, client) = two(folder.path());

    assert_eq!(put(&client, "/v1/kv/a%2Fb?flags=7", "value"), "true");
    assert_eq!(request(server.address, "GET", "/v1/kv/a/b?raw", b"").text(), "value");
    assert_eq!(get(client.address, "/v1/kv/a/b")[0]["Flags"], 7);
    assert_eq!(request(client.address, "GET", "/v1/kv/none", b"").status, 404);
    assert_eq!(put(&client, "/v1/kv/a/b?cas=1", "other"), "false");
    let refused = request(client.address, "PUT", "/v1/txn", b"no json");
    assert_eq!((refused.status, refused.text().starts_with("Failed to parse body")), (400, true), "{}", refused.text());
    assert_eq!(get(client.address, "/v1/status/leader"), format!("{}:8300", server.address));
    let listed = get(client.address, "/v1/agent/self");
    assert_eq!(
        (&listed["Config"]["Server"], &listed["Stats"]["consul"]["known_servers"]),
        (&false.into(), &"1".into())
    );
}

#[test]
fn what_a_client_registers_is_in_the_catalog_under_its_own_node() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, client) = two(folder.path());

    put(
        &client,
        "/v1/agent/service/register",
        r#"{"Name": "web", "Port": 80, "Check": {"TTL": "1h", "Status": "passing"}}"#,
    );
    let found =
        get_until(server.address, "/v1/health/service/web", |found| !found.as_array().expect("a list").is_empty());
    assert_eq!((&found[0]["Node"]["Node"], &found[0]["Service"]["Port"]), (&"c1".into(), &80.into()));
    get_until(client.address, "/v1/health/service/web", |found| {
        found[0]["Checks"].as_array().is_some_and(|checks| checks.len() == 2)
    });

    put(&client, "/v1/agent/check/fail/service:web", "");
    let critical = |found: &Value| found[0]["Checks"].to_string().contains("critical");
    get_until(client.address, "/v1/health/service/web", critical);

    let session: Value = serde_json::from_str(&put(&client, "/v1/session/create", r#"{"TTL": "60s"}"#)).expect("JSON");
    let id = session["ID"].as_str().expect("an id");
    assert_eq!(get(server.address, &format!("/v1/session/info/{id}"))[0]["Node"], "c1");
    assert_eq!(get(client.address, "/v1/session/node/c1").as_array().map(Vec::len), Some(1));
    assert_eq!(put(&client, &format!("/v1/kv/lock?acquire={id}"), "x"), "true");
    put(&client, &format!("/v1/session/renew/{id}"), "");

    // A wiped catalog heals: when the client compares it, which may be at any moment, and half a minute after a change
    // was refused for want of the service at the latest.
    let created = |found: &Value| found[0]["Service"]["CreateIndex"].as_u64();
    let before = created(&get(server.address, "/v1/health/service/web")).expect("an index");
    put(&server, "/v1/catalog/deregister", r#"{"Node": "c1", "ServiceID": "web"}"#);
    put(&client, "/v1/agent/service/maintenance/web?enable=true", "");
    until(2 * PATIENCE, "service that is back", || {
        created(&get(server.address, "/v1/health/service/web")).filter(|index| *index > before)
    });

    client.signal(Signal::TERM);
    let (code, said) = client.wait();
    assert_eq!(code, 0, "a client leaves when it is terminated: {said}");
    get_until(server.address, "/v1/catalog/node/c1", Value::is_null);
}

#[test]
fn without_servers_a_client_answers_stale_queries_with_what_it_saw() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, client) = two(folder.path());
    put(&client, "/v1/kv/a", "seen");
    let before = request(client.address, "GET", "/v1/kv/a?raw", b"");
    server.kill();

    let stale = request(client.address, "GET", "/v1/kv/a?raw&stale", b"");
    assert_eq!((stale.status, stale.text().as_str()), (200, "seen"));
    assert_eq!(stale.header("x-consul-index"), before.header("x-consul-index"));
    assert_eq!(stale.header("x-consul-knownleader"), Some("false"));
    let age_ms: u64 = stale.header("x-consul-lastcontact").and_then(|ms| ms.parse().ok()).expect("an age");
    assert!(age_ms > 0);
    let fresh = request(client.address, "GET", "/v1/kv/a", b"");
    assert_eq!(fresh.status, 500, "{}", fresh.text());
    let write = request(client.address, "PUT", "/v1/kv/a", b"x");
    assert!(write.status == 500 && write.text().starts_with("rpc error"), "{}", write.text());
    // The client itself goes on.
    assert!(get(client.address, "/v1/agent/services").is_object());
}

#[test]
fn no_request_through_a_client_fails_while_every_server_is_restarted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let addresses = [own_address(), own_address(), own_address()];
    let names = ["one", "two", "three"];
    let start = |place: usize| server(folder.path(), names[place], addresses[place], &addresses, 3);
    let mut servers: Vec<Agent> = (0..3).map(start).collect();
    for server in &mut servers {
        server.wait_for_line("New leader elected");
    }
    let mut client = client(folder.path(), "c1", &addresses);
    client.wait_for_line("Adding server");

    let address = client.address;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let load = std::thread::spawn(move || {
        let mut connection = Connection::open(address).expect("the agent accepts connections");
        let mut count = 0_u32;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let written = connection.request("PUT", "/v1/kv/count", count.to_string().as_bytes()).expect("an answer");
            assert_eq!((written.status, written.text().trim_end()), (200, "true"), "write {count}");
            let read = connection.request("GET", "/v1/kv/count?raw", b"").expect("an answer");
            assert_eq!((read.status, read.text()), (200, count.to_string()), "read {count}");
            count += 1;
        }
        count
    });
    let is_written = || (request(address, "GET", "/v1/kv/count", b"").status == 200).then_some(());
    until(PATIENCE, "first write", is_written);
    let mut restarted = Vec::new();
    for (place, server) in servers.into_iter().enumerate() {
        server.signal(Signal::TERM);
        assert_eq!(server.wait().0, 1, "a server that is stopped is expected back");
        let mut again = start(place);
        again.wait_for_line("agent running!");
        // It has caught up once it answers for itself what the others have.
        let read = request(again.address, "GET", "/v1/kv/count?raw", b"");
        assert_eq!(read.status, 200, "{}", read.text());
        restarted.push(again);
    }
    drop(stop);
    let count = load.join().expect("no request failed");
    assert!(count > 10, "{count} while {} servers were restarted", restarted.len());
}
