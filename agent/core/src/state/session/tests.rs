//! Session rules, one story each.

use crate::state::command::{Refusal, Reply};
use crate::state::tables::Status::{Critical, Passing, Warning};
use crate::state::trial::{Trial, check, node, registration, service, session};
use crate::watch::Topic;

/// A node with a passing node check, a warning service check and a critical check.
fn world() -> Trial {
    let mut trial = Trial::new();
    let checks = vec![check("alive", "", Passing), check("web", "w", Warning), check("bad", "", Critical)];
    trial.add(registration(node("N1"), Some(service("w", "web")), checks));
    trial
}

#[test]
fn a_session_needs_a_node_and_checks_that_live() {
    let cases = [
        ("n1", vec!["alive", "web"], Reply::Done, ""),
        ("nope", vec![], Reply::Refused(Refusal::MissingNode), "Missing node registration"),
        ("n1", vec!["foo"], Reply::Refused(Refusal::MissingCheck("foo".into())), "Missing check 'foo' registration"),
        ("n1", vec!["bad"], Reply::Refused(Refusal::CriticalCheck("bad".into())), "Check 'bad' is in critical state"),
    ];
    for (node, checks, expected, text) in cases {
        let mut trial = world();
        let reply = trial.session(session("s", node, &checks));
        assert_eq!(reply, expected);
        if let Reply::Refused(refusal) = reply {
            assert_eq!(refusal.to_string(), text);
        }
    }
}

#[test]
fn a_session_is_found_by_id_and_by_node() {
    let mut trial = world();
    trial.session(session("s", "n1", &[]));
    let found = trial.state.session("s");
    assert_eq!((found.index, found.value.unwrap().create_index), (11, 11));
    assert_eq!((trial.state.node_sessions("N1").value.len(), trial.state.node_sessions("n2").value.len()), (1, 0));
}

#[test]
fn creating_a_session_twice_changes_nothing() {
    let mut trial = world();
    trial.session(session("s", "n1", &[]));
    assert_eq!(trial.session(session("s", "n1", &["alive"])), Reply::Done);
    assert!(trial.changes.is_empty());
}

#[test]
fn a_session_ends_with_what_it_is_tied_to() {
    type Act = fn(&mut Trial);
    let cases: [(&str, &str, Act, bool); 8] = [
        (
            "its check turns critical",
            "alive",
            |t| t.add(registration(node("n1"), None, vec![check("alive", "", Critical)])),
            false,
        ),
        (
            "its check warns",
            "alive",
            |t| t.add(registration(node("n1"), None, vec![check("alive", "", Warning)])),
            true,
        ),
        (
            "another check turns critical",
            "alive",
            |t| t.add(registration(node("n1"), None, vec![check("web", "w", Critical)])),
            true,
        ),
        ("its check is removed", "alive", |t| t.deregister("n1", None, Some("alive")), false),
        ("another check is removed", "alive", |t| t.deregister("n1", None, Some("web")), true),
        ("its service goes with its check", "web", |t| t.deregister("n1", Some("w"), None), false),
        ("its node goes", "alive", |t| t.deregister("n1", None, None), false),
        ("it is destroyed", "alive", |t| t.destroy("s"), false),
    ];
    for (what, tied_to, act, lives) in cases {
        let mut trial = world();
        trial.session(session("s", "n1", &[tied_to]));
        trial.lock("l", "s");
        act(&mut trial);
        assert_eq!(trial.state.session("s").value.is_some(), lives, "{what}");
        assert_eq!(trial.touched(&Topic::Session("s".to_string())), !lives, "{what}");
        assert_eq!(trial.touched(&Topic::KvKey("l".to_string())), !lives, "{what}");
    }
}

#[test]
fn a_session_that_ended_answers_when() {
    let mut trial = world();
    trial.session(session("s", "n1", &[]));
    trial.destroy("s");
    trial.session(session("t", "n1", &[]));
    assert_eq!((trial.state.session("s").index, trial.state.session_list().index), (12, 13));
}

#[test]
fn destroying_what_is_gone_changes_nothing() {
    let mut trial = world();
    trial.destroy("s");
    assert!(trial.changes.is_empty());
}
