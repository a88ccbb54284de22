//! Commands against canned answers of a server in the same process.

use std::io::{Read, Write};
use std::net::TcpListener;

/// Runs a command line against a server that gives `status` and `body` once; exit code, output, errors, request line.
fn against(line: &[&str], status: u16, body: &str) -> (u8, String, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).lines().next().unwrap().to_owned()
    });
    let (code, out, err) = run(line, &address);
    (code, out, err, server.join().unwrap())
}

fn run(line: &[&str], address: &str) -> (u8, String, String) {
    let args: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
    let variable = |name: &str| (name == "CONSUL_HTTP_ADDR").then(|| address.to_owned());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code =
        super::run(&args, &super::Shell { program: "lictor", hints: false, variable: &variable }, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn exit_codes_and_streams_are_consul_s() {
    for (line, code, to_stdout) in [
        (&["-h"][..], 0, true),
        (&["-v"], 0, true),
        (&["kv", "put", "a", "-h"], 0, true),
        (&[], 127, false),
        (&["nope"], 127, false),
        (&["kv"], 1, false),
        (&["kv", "nope"], 1, false),
        (&["-x", "members"], 1, false),
        (&["kv", "get", "-x"], 1, false),
    ] {
        let (got, out, err) = run(line, "");
        assert_eq!((got, !out.is_empty(), !err.is_empty()), (code, to_stdout, !to_stdout), "{line:?}");
    }
}

#[test]
fn every_command_is_listed_once_in_order() {
    assert!(super::commands::COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn members_are_a_table() {
    let body = r#"[{"Name":"alpha","Addr":"127.0.0.1","Port":27301,"Status":1,"Tags":{"build":"1.8.7:","dc":"dc1","role":"consul","vsn":"2"}}]"#;
    let (code, out, _, request) = against(&["members"], 200, body);
    let expected = "Node   Address          Status  Type    Build  Protocol  DC   Segment\nalpha  127.0.0.1:27301  alive   server  1.8.7  2         dc1  <all>\n";
    assert_eq!((code, out.as_str()), (0, expected));
    assert_eq!(request, "GET /v1/agent/members?segment=_all HTTP/1.1");
}

#[test]
fn members_without_a_match_exit_two() {
    assert_eq!(against(&["members"], 200, "[]").0, 2);
}

#[test]
fn a_missing_key_fails() {
    let (code, _, err, _) = against(&["kv", "get", "nope"], 404, "");
    assert_eq!((code, err.as_str()), (1, "Error! No key exists at: nope\n"));
}

#[test]
fn a_key_is_shown_in_detail() {
    let body = r#"[{"LockIndex":0,"Key":"x","Flags":0,"Value":"eQ==","CreateIndex":50,"ModifyIndex":57}]"#;
    let (_, out, _, _) = against(&["kv", "get", "-detailed", "x"], 200, body);
    let expected = "CreateIndex      50\nFlags            0\nKey              x\nLockIndex        0\nModifyIndex      57\nSession          -\nValue            y\n";
    assert_eq!(out, expected);
}

#[test]
fn a_lost_comparison_fails() {
    let (code, _, err, request) = against(&["kv", "put", "-cas", "-modify-index=3", "x", "y"], 200, "false\n");
    assert_eq!((code, err.as_str()), (1, "Error! Did not write to x: CAS failed\n"));
    assert_eq!(request, "PUT /v1/kv/x?cas=3 HTTP/1.1");
}

#[test]
fn an_agent_s_refusal_is_quoted() {
    let (code, _, err, _) = against(&["catalog", "nodes", "-datacenter=zz"], 500, "No path to datacenter");
    let expected = "Error listing nodes: Unexpected response code: 500 (No path to datacenter)\n";
    assert_eq!((code, err.as_str()), (1, expected));
}

#[test]
fn a_log_that_the_agent_ends_is_a_failure() {
    let (code, out, err, request) = against(&["monitor"], 200, "a line\n");
    let ended = "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.\n";
    assert_eq!((code, out, err.as_str()), (1, format!("a line\n{ended}"), ""));
    assert_eq!(request, "GET /v1/agent/monitor?loglevel=INFO HTTP/1.1");
}

#[test]
fn tags_stand_in_a_column() {
    let (_, out, _, _) = against(&["catalog", "services", "-tags"], 200, r#"{"consul":[],"js":["b","a"]}"#);
    assert_eq!(out, "consul      \njs          a,b\n");
}

#[test]
fn an_agent_that_is_not_there_is_named_as_go_does() {
    // A port that the system never hands out.
    let address = "127.0.0.1:1";
    let (code, _, err) = run(&["kv", "get", "x"], address);
    let expected = format!(
        "Error querying Consul agent: Get \"http://{address}/v1/kv/x\": dial tcp {address}: connect: connection refused\n"
    );
    assert_eq!((code, err), (1, expected));
}

#[test]
fn another_namespace_is_refused_before_anything_is_sent() {
    let (code, _, err) = run(&["kv", "get", "-namespace=team", "x"], "127.0.0.1:1");
    let reason = "there is no namespace \"team\": -namespace and CONSUL_NAMESPACE accept only \"default\"";
    assert_eq!((code, err), (1, format!("Error connecting to Consul agent: {reason}\n")));
}

#[test]
fn a_person_is_told_what_to_try_and_a_script_is_not() {
    let args = ["kv", "get", "-http-addr=unix:///nowhere/agent.sock", "x"].map(str::to_owned);
    for hints in [true, false] {
        let shell = super::Shell { program: "lictor", hints, variable: &|_| None };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        super::run(&args, &shell, &mut out, &mut err);
        assert_eq!(String::from_utf8(err).unwrap().contains("lictor agent -dev"), hints);
    }
}
