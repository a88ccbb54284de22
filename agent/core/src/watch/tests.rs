//! Who wakes whom, as a table, and against the plain rule of [`Topic::wakes`].

use proptest::prelude::*;

use super::*;

fn key(text: &str) -> Topic {
    Topic::KvKey(text.to_string())
}

fn prefix(text: &str) -> Topic {
    Topic::KvPrefix(text.to_string())
}

#[test]
fn a_touched_topic_wakes_those_it_concerns() {
    let cases = [
        (key("a/b"), key("a/b"), true),
        (key("a/b"), key("a"), false),
        (key("a/b"), prefix(""), true),
        (key("a/b"), prefix("a/"), true),
        (key("a/b"), prefix("a/b"), true),
        (key("a/b"), prefix("a/b/"), false),
        (prefix("a/"), key("a/b"), true),
        (prefix("a/"), key("a"), false),
        (prefix("a/"), prefix("a/b/"), true),
        (prefix("a/"), prefix("a"), true),
        (prefix("a/"), prefix("b"), false),
        (key("é"), prefix("e"), false),
        (Topic::Nodes, Topic::Nodes, true),
        (Topic::node("N1"), Topic::node("n1"), true),
        (Topic::node("n1"), Topic::Nodes, false),
        (Topic::node("n1"), Topic::node_services("n1"), false),
        (Topic::node_services("N1"), Topic::node_services("n1"), true),
        (Topic::service("web"), Topic::Services, false),
    ];
    for (touched, watched, expected) in cases {
        let mut watches = Watches::default();
        let ticket = watches.subscribe(std::slice::from_ref(&watched));
        let due = watches.touched(std::slice::from_ref(&touched));
        assert_eq!(due.contains(&ticket), expected, "{touched:?} touched, {watched:?} watched");
    }
}

#[test]
fn a_cancelled_subscription_leaves_nothing_behind() {
    let mut watches = Watches::default();
    let topics = [key("a"), prefix("a"), prefix("b"), Topic::Checks];
    let first = watches.subscribe(&topics);
    let second = watches.subscribe(&topics);
    watches.cancel(first, &topics);
    assert_eq!(watches.touched(&[key("a")]).into_iter().collect::<Vec<_>>(), [second]);
    watches.cancel(second, &topics);
    assert!(watches.is_empty() && watches.prefix_lengths.is_empty());
}

fn any_topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        "[ab/é]{0,4}".prop_map(Topic::KvKey),
        "[ab/é]{0,4}".prop_map(Topic::KvPrefix),
        Just(Topic::Nodes),
        "[ab]".prop_map(Topic::Node),
        "[ab]".prop_map(Topic::NodeServices),
    ]
}

proptest! {
    #[test]
    fn the_registry_agrees_with_the_rule(
        watched in prop::collection::vec(prop::collection::vec(any_topic(), 1..3), 0..12),
        gone in prop::collection::vec(any::<bool>(), 12),
        touched in prop::collection::vec(any_topic(), 0..4),
    ) {
        let mut watches = Watches::default();
        let tickets: Vec<Ticket> = watched.iter().map(|topics| watches.subscribe(topics)).collect();
        for at in (0..watched.len()).filter(|at| gone[*at]) {
            watches.cancel(tickets[at], &watched[at]);
        }
        let expected: BTreeSet<Ticket> = (0..watched.len())
            .filter(|at| !gone[*at] && watched[*at].iter().any(|topic| touched.iter().any(|change| change.wakes(topic))))
            .map(|at| tickets[at])
            .collect();
        prop_assert_eq!(watches.touched(&touched), expected);
    }
}
