//! Who may bring plugins to agents: files that somebody trusted has signed, and native code from the operator alone.

use std::path::Path;

use real::agent::{Agent, Binary, config_file, own_address};
use real::guests::{another_version, guest, plugin, wait_for_status, write};
use real::http::{get, get_until};

/// A key as `keygen` makes it.
struct Key {
    file: String,
    public: String,
}

impl Key {
    fn new(folder: &Path, name: &str) -> Key {
        let file = folder.join(name).display().to_string();
        let said = lictor(&["plugin", "keygen", &format!("-out={file}")]);
        let public = said.lines().next().expect("the first line is the public key").to_owned();
        Key { file, public }
    }

    fn sign(&self, file: &str) {
        lictor(&["plugin", "sign", &format!("-key={}", self.file), file]);
    }
}

/// What the command says, which succeeds.
fn lictor(words: &[&str]) -> String {
    let ran = std::process::Command::new(Binary::Lictor.path()).args(words).output();
    let ran = ran.expect("the binary can be started");
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Pushes a file as the plugin `check`; what the command said when that was refused.
fn push(agent: &Agent, file: &str) -> Result<(), String> {
    let (ok, said) = agent.command(&["plugin", "push", "-name=check", file]);
    if ok { Ok(()) } else { Err(said) }
}

/// A server alone, and a client of it with a service that the published plugin `check` checks. Both trust these keys.
fn server_and_client(folder: &Path, by_server: &[&Key], by_client: &[&Key]) -> (Agent, Agent) {
    let trust = |keys: &[&Key]| {
        let keys: Vec<&str> = keys.iter().map(|key| key.public.as_str()).collect();
        format!("plugin_trust = {keys:?}\n")
    };
    let on_server = config_file(folder, "server.hcl", &trust(by_server));
    let check = r#"plugin "check" { trials = 1 }
        service { name = "web" check { plugin = "check" interval = "1s" } }"#;
    let on_client = config_file(folder, "client.hcl", &(trust(by_client) + check));
    let address = own_address();
    let more = ["-server", "-bootstrap", &format!("-config-file={on_server}")];
    let mut server = Agent::start_member(folder, "server", address, &[], &more);
    server.wait_for_leadership();
    let more = [format!("-config-file={on_client}")];
    let mut client = Agent::start_member(folder, "client", own_address(), &[address], &[&more[0]]);
    client.wait_for_line("Adding server");
    (server, client)
}

#[test]
fn what_nobody_trusted_has_signed_is_refused_and_the_version_that_serves_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ours, other) = (Key::new(folder.path(), "ours.key"), Key::new(folder.path(), "other.key"));
    let (server, mut client) = server_and_client(folder.path(), &[&ours], &[&ours]);
    let trivial = guest("trivial");
    let version = |number: u8| write(folder.path(), &format!("{number}.wasm"), &another_version(&trivial, number));
    let first = version(1);
    ours.sign(&first);
    push(&client, &first).expect("whom the servers trust may push");
    wait_for_status(client.address, "web", "passing");
    let before = plugin(client.address)["Serving"].clone();

    let unsigned = push(&client, &version(2)).expect_err("nobody vouches for it");
    let foreign = version(3);
    other.sign(&foreign);
    let foreign = push(&client, &foreign).expect_err("nobody trusts who vouches for it");
    let borrowed = version(4);
    std::fs::copy(format!("{first}.sig"), format!("{borrowed}.sig")).expect("the folder can be written");
    let borrowed = push(&client, &borrowed).expect_err("the signature is another file's");

    assert!(unsigned.contains("not signed, and plugin_trust is set: sign it with `lictor plugin sign`"), "{unsigned}");
    let reason = format!("signed by {}, which is not one of the keys of plugin_trust", other.public);
    assert!(foreign.contains(&reason), "{foreign}");
    assert!(borrowed.contains("4.wasm.sig is not a signature of"), "{borrowed}");
    assert_eq!(plugin(client.address)["Serving"], before);
    let told = get(server.address, "/v1/health/checks/web");
    assert_eq!(told[0]["Status"], "passing", "{told}");
    let next = version(5);
    ours.sign(&next);
    push(&server, &next).expect("whom the servers trust may push");
    client.wait_for_line("a plugin serves");
    client.wait_for_line("a plugin serves");
    assert_ne!(plugin(client.address)["Serving"], before);
}

#[test]
fn a_client_runs_only_what_it_trusts_itself_whatever_its_servers_took() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ours, other) = (Key::new(folder.path(), "ours.key"), Key::new(folder.path(), "other.key"));
    let (server, mut client) = server_and_client(folder.path(), &[&ours, &other], &[&ours]);
    let file = write(folder.path(), "1.wasm", &guest("trivial"));
    ours.sign(&file);
    push(&server, &file).expect("whom the servers trust may push");
    wait_for_status(client.address, "web", "passing");
    let before = plugin(client.address)["Serving"].clone();
    let foreign = write(folder.path(), "2.wasm", &another_version(&guest("trivial"), 2));
    other.sign(&foreign);

    push(&server, &foreign).expect("whom the servers trust may push");

    client.wait_for_line("which is not one of the keys of plugin_trust");
    let now = plugin(client.address);
    let said = now["SourceError"].as_str().expect("a reason");
    let reason = format!("signed by {}, which is not one of the keys of plugin_trust, and is not run", other.public);
    assert!(said.contains(&reason), "{said}");
    assert_eq!(now["Serving"], before);
    let told = get(server.address, "/v1/health/checks/web");
    assert_eq!(told[0]["Status"], "passing", "{told}");
}

/// The guest `hostile` compiled ahead by the command; the path of what came out.
fn compiled(folder: &Path, target: &str) -> String {
    let component = write(folder, "hostile.wasm", &guest("hostile"));
    let out = folder.join(format!("{target}.cwasm")).display().to_string();
    lictor(&["plugin", "compile", &format!("-target={target}"), &format!("-out={out}"), &component]);
    out
}

/// A development agent with plugins from these paths, each with a service of the same name that it checks.
fn agent_with_files(folder: &Path, files: &[(&str, String)]) -> Agent {
    let block = |(name, file): &(&str, String)| {
        format!(
            "plugin {name:?} {{ path = {file:?} }}
             service {{ name = {name:?} check {{ plugin = {name:?} interval = \"1s\" config {{ do = \"pass\" }} }} }}\n"
        )
    };
    let text: String = files.iter().map(block).collect();
    let config = config_file(folder, "agent.hcl", &(text + "check_update_interval = \"0s\""));
    let mut agent = Agent::start(Binary::Lictor, &["-dev", &format!("-config-file={config}")]);
    agent.wait_for_line("agent running!");
    agent
}

#[test]
fn a_file_compiled_ahead_is_run_from_a_path_that_the_operator_wrote() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = std::env::consts::ARCH;
    let elsewhere = if here == "x86_64" { "aarch64" } else { "x86_64" };
    let files = [("here", here), ("anywhere", "portable"), ("elsewhere", elsewhere)];
    let files = files.map(|(name, target)| (name, compiled(folder.path(), target)));

    let agent = agent_with_files(folder.path(), &files);

    wait_for_status(agent.address, "here", "passing");
    wait_for_status(agent.address, "anywhere", "passing");
    let found = get_until(agent.address, "/v1/health/checks/elsewhere", |found| {
        found[0]["Output"].as_str().is_some_and(|said| said.contains("compiled ahead"))
    });
    assert_eq!(found[0]["Status"], "critical");
    let said = found[0]["Output"].as_str().expect("a text");
    assert!(said.contains("compile it again with `lictor plugin compile`"), "{said}");
}

#[test]
fn a_file_compiled_ahead_is_run_from_the_store_when_somebody_trusted_has_signed_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ours = Key::new(folder.path(), "ours.key");
    let file = compiled(folder.path(), "portable");
    for (trusted, signed) in [(&[][..], false), (&[&ours], true)] {
        if signed {
            ours.sign(&file);
        }
        let folder = folder.path().join(signed.to_string());
        std::fs::create_dir(&folder).expect("a temporary folder is writable");
        let (server, mut client) = server_and_client(&folder, trusted, trusted);

        push(&server, &file).expect("the servers keep any file");

        if signed {
            client.wait_for_line("a plugin serves");
        } else {
            client.wait_for_line("a version of a plugin was refused");
            let said = plugin(client.address)["Refused"]["Reason"].take();
            assert!(said.as_str().is_some_and(|said| said.contains("native code")), "{said}");
        }
    }
}
