//! What those around the process are told and what it gives up for them: a service manager, and a limit on memory.

use std::os::unix::net::UnixDatagram;

use real::agent::{Agent, Binary, PATIENCE};
use real::http::Connection;
use real::pool::until;
use rustix::process::Signal;

/// What the manager hears next that is not a sign of life, and how many of those came first.
fn hear(manager: &UnixDatagram) -> (String, usize) {
    let mut beats = 0;
    loop {
        let mut heard = [0; 256];
        let length = manager.recv(&mut heard).expect("the agent says something in time");
        match String::from_utf8_lossy(&heard[..length]).trim_end() {
            "WATCHDOG=1" => beats += 1,
            said => return (said.to_owned(), beats),
        }
    }
}

#[test]
fn a_service_manager_hears_when_the_agent_is_ready_alive_reloading_and_stopping() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a free name");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time");
    // Two signs of life a second: Linux keeps ten for a manager that does not listen, and what comes then is lost.
    let variables = [("NOTIFY_SOCKET", socket.display().to_string()), ("WATCHDOG_USEC", "1000000".to_owned())];
    let mut agent = Agent::start_with(Binary::Lictor, &variables, &["-dev"]);

    assert_eq!(hear(&manager), ("READY=1".to_owned(), 0));
    agent.wait_for_leadership();
    agent.signal(Signal::HUP);
    assert_eq!(hear(&manager).0, "RELOADING=1");
    assert_eq!(hear(&manager).0, "READY=1");
    let mut beat = [0; 256];
    let length = manager.recv(&mut beat).expect("a sign of life comes by itself");
    assert_eq!(&beat[..length], b"WATCHDOG=1\n");
    agent.signal(Signal::INT);
    assert_eq!(hear(&manager).0, "STOPPING=1");
    agent.wait();
}

#[test]
fn an_agent_at_its_limit_of_memory_answers_about_itself_alone() {
    // Whatever an agent takes, it is more than this.
    let mut agent = Agent::start(Binary::Lictor, &["-dev", "-hcl=limits { memory = \"16MiB\" }"]);
    agent.wait_for_line("Memory nears its limit");

    let ask = |path| {
        let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
        connection.request("GET", path, b"").expect("an answer")
    };
    let refused = ask("/v1/kv/a");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("limits.memory"), "{}", refused.text());
    assert_eq!(refused.header("connection"), Some("close"));
    for path in ["/v1/agent/self", "/v1/status/leader"] {
        assert_eq!(ask(path).status, 200, "{path}");
    }
}

#[test]
fn a_server_that_ran_out_of_memory_serves_again_when_what_took_it_is_deleted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = format!("-data-dir={}", folder.path().display());
    let limit = "-hcl=limits { memory = \"128MiB\" }";
    let mut agent = Agent::start(Binary::Lictor, &["-server", "-bootstrap", "-profile=edge", &data, limit]);
    agent.wait_for_leadership();
    let ask = |method: &str, path: &str, body: &[u8]| {
        let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
        connection.request(method, path, body).expect("an answer").status
    };
    let value = vec![b'x'; 500_000];
    let taken = (0..400).take_while(|number| ask("PUT", &format!("/v1/kv/full/{number}"), &value) == 200).count();
    assert!((20..400).contains(&taken), "{taken} values of half a megabyte");

    assert_eq!(ask("DELETE", "/v1/kv/full/?recurse", b""), 200);
    let is_back = || (ask("PUT", "/v1/kv/next", &value) == 200).then_some(());
    until(PATIENCE, "room for a value", is_back);
}
