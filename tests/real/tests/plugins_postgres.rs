//! The check `postgres` against a real server, by each kind of password.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use real::agent::PATIENCE;
use real::plugins::expect;
use real::pool::until;
use real::servers::Server;
use real::tools::succeeded;
use serde_json::json;

/// PostgreSQL refuses to run as root; this is the user `nobody` of Debian.
const NOBODY: u32 = 65_534;

#[track_caller]
fn lets_in_by(method: &str) {
    let server = postgres(method);
    let ask = |password: &str, query: Option<&str>| {
        let address = server.address.to_string();
        let mut config = json!({"address": address, "user": "monitor", "database": "postgres", "password": password});
        if let Some(query) = query {
            config["query"] = query.into();
            config["warning_above"] = 5.into();
        }
        config
    };
    let mut cases = vec![
        (ask("secret", None), "passing", "let monitor in"),
        (ask("secret", Some("select 7")), "warning", "is 7, above 5"),
        (ask("secret", Some("select nonsense")), "critical", "column \"nonsense\" does not exist"),
    ];
    if method != "trust" {
        cases.push((ask("wrong", None), "critical", "password authentication failed"));
    }
    expect("postgres", &format!("network = [\"{}\"]", server.address), &cases);
}

#[test]
fn without_a_password() {
    lets_in_by("trust");
}

#[test]
fn by_a_password_in_clear() {
    lets_in_by("password");
}

#[test]
fn by_md5() {
    lets_in_by("md5");
}

#[test]
fn by_scram() {
    lets_in_by("scram-sha-256");
}

fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: run tests/setup first");
    let newest = versions.flatten().map(|version| version.path()).max().expect("a version of PostgreSQL");
    newest.join("bin").join(name)
}

/// A command as a user whom PostgreSQL takes.
fn as_user(name: &str) -> Command {
    let mut command = Command::new(program(name));
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    command
}

fn postgres(method: &str) -> Server {
    let at =
        |address: SocketAddr| ["-h".to_owned(), address.ip().to_string(), "-p".to_owned(), address.port().to_string()];
    let server = Server::start(|folder, address| {
        let data = prepare(folder, method);
        let mut command = as_user("postgres");
        command.arg("-D").arg(data).args(at(address)).args(["-F", "-k", ""]);
        command
    });
    // It listens before it has started, and turns everybody away until then.
    until(PATIENCE, "PostgreSQL that lets clients in", || {
        let asked = Command::new(program("pg_isready")).arg("-q").args(at(server.address)).status();
        asked.expect("pg_isready runs").success().then_some(())
    });
    server
}

/// A cluster of databases whose superuser `monitor` has the password `secret`, let in by this method.
fn prepare(folder: &Path, method: &str) -> PathBuf {
    let (data, secret) = (folder.join("data"), folder.join("secret"));
    fs::write(&secret, "secret\n").expect("a file");
    if rustix::process::geteuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).expect("a folder of nobody's");
        chown(&secret, Some(NOBODY), Some(NOBODY)).expect("a file of nobody's");
    }
    let mut make = as_user("initdb");
    // The locale of whoever runs the tests may not exist here.
    make.env("LC_ALL", "C").env_remove("LANG").args(["-N", "-U", "monitor", "-A", method]);
    let made = make.arg("--pwfile").arg(secret).arg("-D").arg(&data).output().expect("initdb runs");
    succeeded(made);
    data
}
