//! Whatever arrives: nothing panics, nothing grows without bound.

use proptest::prelude::*;

use super::super::*;
use super::pool::{Pool, address, config};
use crate::coordinate::Coordinate;

/// A pool of two, and a packet as the second would send it.
fn enveloped(body: &[u8]) -> Vec<u8> {
    [&b"L\x01\x00\x07lan.dc1"[..], body].concat()
}

fn messages() -> Vec<wire::Message> {
    let name: std::sync::Arc<str> = "m1".into();
    let profile = |name: &str| {
        let (name, address) = (name.into(), address(3));
        Profile { name, id: NodeId(77), address, tags: Tags::default(), revision: 3 }
    };
    let [node_filter, service_filter, tag_filter] = [const { String::new() }; 3];
    let fired = Fired { id: 1, name: "e".to_owned(), payload: vec![1, 2], node_filter, service_filter, tag_filter };
    let query = wire::KeyQuery {
        time: LamportTime(3),
        id: 4,
        origin: name.clone(),
        answer_to: address(1),
        again: true,
        operation: KeyOperation::Install(Key::new(&[1; 16]).unwrap()),
    };
    let answer = wire::KeyAnswer { id: 4, name: name.clone(), error: Some("no".to_owned()), keys: Vec::new() };
    vec![
        wire::Message::Ping { seq: 1, target: "m0".into(), source: name.clone() },
        wire::Message::Ack { seq: 1, coordinate: Some(Coordinate::default()) },
        wire::Message::IndirectPing { seq: 1, target: "m1".into() },
        wire::Message::Nack { seq: 1 },
        wire::Message::Alive { name: "m9".into(), incarnation: 3, revision: 3, profile: Some(profile("m9").into()) },
        wire::Message::Alive { name: name.clone(), incarnation: 9, revision: 1, profile: None },
        wire::Message::Suspect { name: name.clone(), incarnation: 1, accuser: "m7".into() },
        wire::Message::Dead { name: "m0".into(), incarnation: u64::MAX, accuser: name.clone() },
        wire::Message::Intent { name: name.clone(), time: LamportTime(u64::MAX), leaves: true, prune: true },
        wire::Message::UserEvent(UserEvent { time: LamportTime(1), fired }),
        wire::Message::KeyQuery(query),
        wire::Message::KeyAnswer(answer),
    ]
}

fn snapshot() -> wire::Snapshot {
    let profile = Profile { name: "m9".into(), id: NodeId(9), address: address(9), tags: Tags::default(), revision: 1 };
    let known = |state| wire::Known {
        profile: profile.clone().into(),
        incarnation: 5,
        state,
        time: LamportTime(2),
        age_s: u32::MAX,
    };
    let states = [
        wire::KnownState::Alive,
        wire::KnownState::Suspect,
        wire::KnownState::Leaving,
        wire::KnownState::Left,
        wire::KnownState::Failed,
    ];
    let members = states.map(known).to_vec();
    let (time, event_time) = (LamportTime(1), LamportTime(1));
    wire::Snapshot { join: true, sender: "m1".into(), time, event_time, members, events: Vec::new() }
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for message in messages() {
        assert_eq!(wire::Message::decode(&message.encode()), Some(message));
    }
    let request = wire::Request::Exchange(snapshot());
    assert_eq!(wire::Request::decode(&request.encode()), Some(request));
    let answer = wire::Answer::Exchange(snapshot());
    assert_eq!(wire::Answer::decode(&answer.encode()), Some(answer));
}

/// A pool is upgraded one member at a time: the kinds keep their numbers, and the bytes their meaning.
#[test]
fn bytes_on_the_wire_are_those_of_version_one() {
    let kinds: Vec<u8> = messages().iter().map(|message| message.encode()[0]).collect();
    assert_eq!(kinds, [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10]);
    let ping = wire::Message::Ping { seq: 300, target: "m0".into(), source: "m1".into() };
    assert_eq!(ping.encode(), b"\x00\xac\x02\x02m0\x02m1");
    let suspect = wire::Message::Suspect { name: "m1".into(), incarnation: 1, accuser: "m7".into() };
    assert_eq!(suspect.encode(), b"\x05\x02m1\x01\x02m7");
}

#[test]
fn a_message_of_a_newer_version_is_skipped_and_the_rest_is_read() {
    let mut pool = Pool::joined(2);
    let mut body = Vec::new();
    wire::append(&mut body, &[200, 1, 2, 3]);
    wire::append(&mut body, &messages()[4].encode());
    pool.inject(0, address(1), &enveloped(&body));
    assert_eq!(pool.status(9, 0), Some(Status::Alive));
    assert_eq!(pool.members[0].counters().messages_skipped, 1);
}

#[test]
fn names_and_tags_from_outside_are_bounded() {
    let long = "n".repeat(member::NAME_BYTES_MAX + 1);
    let message = wire::Message::Suspect { name: long.into(), incarnation: 1, accuser: "a".into() };
    assert_eq!(wire::Message::decode(&message.encode()), None);
    let nameless = wire::Message::Nack { seq: 1 };
    assert!(wire::Message::decode(&nameless.encode()).is_some());
}

#[test]
fn pings_do_not_make_us_send_where_a_stranger_points() {
    let mut pool = Pool::joined(2);
    let mut body = Vec::new();
    wire::append(&mut body, &wire::Message::IndirectPing { seq: 1, target: "stranger".into() }.encode());
    let outputs = pool.members[0].step(pool.now, Input::Datagram { from: address(1), bytes: enveloped(&body) });
    let targets = outputs.iter().filter_map(|output| match output {
        Output::Datagram { to, .. } => Some(*to),
        _ => None,
    });
    assert_eq!(targets.collect::<Vec<_>>(), [address(1)]);
}

/// Bytes near those of a real message: cut, changed, or grown.
fn nearly(bytes: Vec<u8>, cut: usize, changes: &[(usize, u8)], tail: &[u8]) -> Vec<u8> {
    let mut bytes = bytes;
    bytes.truncate(bytes.len().saturating_sub(cut));
    for (at, byte) in changes {
        if let Some(old) = bytes.get_mut(*at) {
            *old = *byte;
        }
    }
    bytes.extend_from_slice(tail);
    bytes
}

/// What a member must still be after whatever it was sent.
fn is_sound(pool: &mut Pool) {
    pool.run(3);
    for member in &pool.members {
        assert_eq!(member.me().status, Status::Alive);
        assert!(member.members().count() <= 20);
        assert!(member.coordinate().is_valid());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_datagram(body in prop::collection::vec(any::<u8>(), 0..300), is_enveloped in any::<bool>()) {
        let mut pool = Pool::joined(2);
        let packet = if is_enveloped { enveloped(&body) } else { body };
        pool.inject(0, address(1), &packet);
        is_sound(&mut pool);
    }

    #[test]
    fn nearly_a_message(which in 0usize..12, cut in 0usize..4, changes in prop::collection::vec((0usize..80, any::<u8>()), 0..6),
                        tail in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut pool = Pool::joined(2);
        let message = nearly(messages()[which].encode(), cut, &changes, &tail);
        let mut body = Vec::new();
        wire::append(&mut body, &message);
        pool.inject(0, address(1), &enveloped(&body));
        is_sound(&mut pool);
    }

    #[test]
    fn nearly_a_request(cut in 0usize..4, changes in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
                        tail in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut pool = Pool::joined(2);
        let body = nearly(wire::Request::Exchange(snapshot()).encode(), cut, &changes, &tail);
        let input = Input::StreamRequest { request: RequestId(1), from: address(1), bytes: enveloped(&body) };
        let outputs = pool.members[0].step(pool.now, input);
        let answers = outputs.iter().filter(|output| matches!(output, Output::Reply { .. } | Output::Close { .. }));
        prop_assert_eq!(answers.count(), 1);
        is_sound(&mut pool);
    }

    #[test]
    fn any_answer(body in prop::collection::vec(any::<u8>(), 0..300), shaped in any::<bool>()) {
        let mut pool = Pool::default();
        pool.add(config(0));
        pool.add(config(1));
        let outputs = pool.members[0].step(pool.now, Input::Join { ticket: Ticket(1), addresses: vec![address(1)] });
        let stream = outputs.iter().find_map(|output| match output {
            Output::OpenStream { stream, .. } => Some(*stream),
            _ => None,
        });
        let bytes = if shaped { enveloped(&body) } else { body };
        let outputs = pool.members[0].step(pool.now, Input::StreamReply { stream: stream.unwrap(), bytes });
        let is_over = outputs.iter().any(|output| matches!(output, Output::Event(Event::Joined { .. })));
        prop_assert!(is_over);
    }
}
