//! Key/value rules, one story each.

use std::sync::Arc;

use crate::state::command::{KvOp, KvWrite, Refusal, Reply};
use crate::state::tables::{KvEntry, SessionBehavior};
use crate::state::trial::{Trial, node, registration, session, write};
use crate::watch::Topic;

fn entry(trial: &Trial, key: &str) -> Arc<KvEntry> {
    trial.state.kv_get(key).value.unwrap()
}

/// A node with the sessions `s1` and `s2`; the next command has index 13.
fn with_sessions() -> Trial {
    let mut trial = Trial::new();
    trial.add(registration(node("n1"), None, vec![]));
    for id in ["s1", "s2"] {
        assert_eq!(trial.session(session(id, "n1", &[])), Reply::Done);
    }
    trial
}

#[test]
fn a_new_key_has_one_index_for_both() {
    let mut trial = Trial::new();
    trial.set("a", "1");
    let found = entry(&trial, "a");
    assert_eq!((found.create_index, found.modify_index, found.lock_index), (10, 10, 0));
}

#[test]
fn an_unchanged_write_keeps_the_index_and_touches_nothing() {
    let mut trial = Trial::new();
    trial.set("a", "1");
    trial.set("a", "1");
    assert_eq!((entry(&trial, "a").modify_index, &trial.changes[..]), (10, &[][..]));
}

#[test]
fn other_flags_are_a_change() {
    let mut trial = Trial::new();
    trial.set("a", "1");
    trial.kv(KvOp::Set(KvWrite { flags: 3, ..write("a", "1") }));
    assert_eq!((entry(&trial, "a").create_index, entry(&trial, "a").modify_index), (10, 11));
}

#[test]
fn cas_writes_only_what_was_seen() {
    let cases = [
        ("absent", 0, true),
        ("absent", 9, false),
        ("present", 0, false),
        ("present", 9, false),
        ("present", 10, true),
    ];
    for (key, index, expected) in cases {
        let mut trial = Trial::new();
        trial.set("present", "1");
        let reply = trial.kv(KvOp::Cas { write: write(key, "2"), index });
        assert_eq!(reply, Reply::Bool(expected), "{key} {index}");
        let written = trial.state.kv.get(key).is_some_and(|entry| &*entry.value == b"2");
        assert_eq!(written, expected, "{key} {index}");
    }
}

#[test]
fn delete_cas_removes_only_what_was_seen() {
    for (key, index, expected) in [("absent", 5, true), ("present", 5, false), ("present", 10, true)] {
        let mut trial = Trial::new();
        trial.set("present", "1");
        let reply = trial.kv(KvOp::DeleteCas { key: key.to_string(), index });
        assert_eq!(reply, Reply::Bool(expected), "{key} {index}");
    }
}

#[test]
fn an_absent_key_answers_when_it_was_deleted() {
    let mut trial = Trial::new();
    assert_eq!(trial.state.kv_get("a").index, 1);
    trial.set("a", "1");
    trial.kv(KvOp::Delete { key: "a".to_string() });
    trial.set("b", "1");
    assert_eq!((trial.state.kv_get("a").index, trial.state.kv_get("b").index), (11, 12));
}

#[test]
fn deleting_what_is_absent_changes_nothing() {
    let mut trial = Trial::new();
    assert_eq!(trial.kv(KvOp::Delete { key: "a".to_string() }), Reply::Done);
    assert_eq!((trial.changes.len(), trial.state.kv_get("a").index), (0, 1));
}

#[test]
fn a_prefix_moves_only_with_what_is_below_it() {
    let mut trial = Trial::new();
    trial.set("p/1", "1");
    trial.set("p/2", "1");
    trial.set("q", "1");
    assert_eq!(trial.state.kv_list("p/").index, 11);
    trial.kv(KvOp::Delete { key: "p/1".to_string() });
    assert_eq!(trial.state.kv_list("p/").index, 13);
    assert_eq!((trial.state.kv_list("").index, trial.state.kv_list("r").index), (13, 1));
}

#[test]
fn a_deleted_subtree_touches_one_topic() {
    let mut trial = Trial::new();
    trial.set("p/1", "1");
    trial.set("p/2", "1");
    trial.set("q", "1");
    trial.kv(KvOp::DeleteTree { prefix: "p/".to_string() });
    assert_eq!(trial.changes, [Topic::KvPrefix("p/".to_string())]);
    assert_eq!(trial.state.kv_keys("", "").value, ["q"]);
    assert_eq!((trial.state.kv_get("p/1").index, trial.state.kv_list("p/").index), (13, 13));
}

#[test]
fn names_are_cut_after_the_separator() {
    let mut trial = Trial::new();
    for key in ["p", "p/1", "p/d/3", "p/d/4", "p/é/1", "pq"] {
        trial.set(key, "1");
    }
    let cases: [(&str, &str, &[&str]); 6] = [
        ("p/", "", &["p/1", "p/d/3", "p/d/4", "p/é/1"]),
        ("p/", "/", &["p/1", "p/d/", "p/é/"]),
        ("p", "/", &["p", "p/", "pq"]),
        ("p/d", "/", &["p/d/"]),
        ("p/d/", "3", &["p/d/3", "p/d/4"]),
        ("none", "/", &[]),
    ];
    for (prefix, separator, expected) in cases {
        assert_eq!(trial.state.kv_keys(prefix, separator).value, expected, "{prefix} {separator}");
    }
}

#[test]
fn an_index_does_not_go_back_when_tombstones_are_reaped() {
    let mut trial = Trial::new();
    trial.set("p/1", "1");
    trial.set("p/2", "1");
    trial.kv(KvOp::Delete { key: "p/2".to_string() });
    trial.apply(crate::state::Command::TombstoneReap { up_to: 99 });
    assert!(trial.state.tombstones.is_empty());
    assert_eq!((trial.state.kv_get("p/2").index, trial.state.kv_list("p/").index), (12, 12));
}

#[test]
fn a_lock_counts_acquisitions_and_not_writes_by_the_holder() {
    let mut trial = with_sessions();
    assert_eq!(trial.lock("l", "s1"), Reply::Bool(true));
    trial.kv(KvOp::Lock { write: write("l", "new value"), session: "s1".to_string() });
    let found = entry(&trial, "l");
    assert_eq!((found.lock_index, found.modify_index, &*found.value), (1, 14, &b"new value"[..]));
    trial.unlock("l", "s1");
    assert_eq!((entry(&trial, "l").lock_index, entry(&trial, "l").session.as_str()), (1, ""));
    trial.lock("l", "s2");
    assert_eq!((entry(&trial, "l").lock_index, entry(&trial, "l").session.as_str()), (2, "s2"));
}

#[test]
fn the_same_write_by_the_holder_changes_nothing() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    assert_eq!((trial.lock("l", "s1"), trial.changes.len()), (Reply::Bool(true), 0));
}

#[test]
fn a_held_lock_is_refused_to_others() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    assert_eq!(trial.lock("l", "s2"), Reply::Bool(false));
    assert_eq!(trial.unlock("l", "s2"), Reply::Bool(false));
    assert_eq!(trial.unlock("absent", "s2"), Reply::Bool(false));
}

#[test]
fn a_lock_needs_a_session_that_lives() {
    let mut trial = with_sessions();
    let unknown = "11111111-1111-1111-1111-111111111111";
    let cases = [
        ("", Refusal::MissingSession, "missing session"),
        (
            "abcd",
            Refusal::InvalidSession("abcd".into()),
            "failed session lookup: index error: UUID must be 36 characters",
        ),
        (unknown, Refusal::InvalidSession(unknown.into()), "invalid session \"11111111-1111-1111-1111-111111111111\""),
    ];
    for (session, refusal, text) in cases {
        assert_eq!((trial.lock("l", session), refusal.to_string()), (Reply::Refused(refusal), text.to_string()));
    }
}

#[test]
fn a_plain_write_leaves_the_holder_and_restarts_the_count() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    trial.set("l", "plain");
    assert_eq!((entry(&trial, "l").session.as_str(), entry(&trial, "l").lock_index), ("s1", 0));
}

#[test]
fn the_lock_delay_follows_invalidation_and_not_release() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    trial.unlock("l", "s1");
    assert_eq!(trial.lock("l", "s1"), Reply::Bool(true));
    trial.destroy("s1");
    assert_eq!(trial.lock("l", "s2"), Reply::Bool(false));
    trial.now_ms += 15_000;
    assert_eq!(trial.lock("l", "s2"), Reply::Bool(true));
    assert!(trial.state.lock_delays.is_empty());
}

#[test]
fn a_clock_that_is_set_back_holds_no_lock() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    trial.destroy("s1");
    trial.now_ms -= 100_000;
    assert_eq!(trial.lock("l", "s2"), Reply::Bool(true));
}

#[test]
fn reaping_forgets_lock_delays_that_are_over() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    trial.destroy("s1");
    trial.now_ms += 15_000;
    trial.apply(crate::state::Command::TombstoneReap { up_to: 0 });
    assert!(trial.state.lock_delays.is_empty());
}

#[test]
fn deleting_a_held_key_frees_it() {
    let mut trial = with_sessions();
    trial.lock("l", "s1");
    trial.kv(KvOp::Delete { key: "l".to_string() });
    assert_eq!(trial.lock("l", "s2"), Reply::Bool(true));
}

#[test]
fn what_becomes_of_keys_is_the_sessions_choice() {
    for (behavior, stays) in [(SessionBehavior::Release, true), (SessionBehavior::Delete, false)] {
        let mut trial = with_sessions();
        trial.session(crate::state::tables::Session { behavior, ..session("s3", "n1", &[]) });
        trial.lock("l", "s3");
        trial.destroy("s3");
        let found = trial.state.kv_get("l");
        assert_eq!((found.value.is_some(), found.index), (stays, 15), "{behavior:?}");
        assert_eq!(trial.lock("l", "s1"), Reply::Bool(false), "{behavior:?}");
    }
}
