//! What is kept is what would be answered anew.

use std::collections::BTreeSet;

use agent_core::dns::Record;
use real::cases;
use real::cases::dns::{describe, packet};

use super::super::respond::{Transport, respond};
use super::super::tests::{World, config};
use super::*;

/// A world whose answers over UDP come from a cache whenever they can.
#[derive(Default)]
struct Cached {
    world: World,
    cache: Option<Cache>,
    config: Arc<DnsConfig>,
    seed: u64,
    unix_s: u32,
    /// How many answers came from the cache.
    hits: usize,
}

impl Cached {
    fn with(config: DnsConfig) -> Self {
        Cached {
            world: World { config: config.clone(), ..World::default() },
            config: config.into(),
            ..Cached::default()
        }
    }

    /// `count` instances of `web`, each on a node of its own with metadata and a check.
    fn with_instances(count: usize) -> Self {
        let mut cached = Cached::default();
        (0..count).for_each(|number| cached.instance(number, "passing"));
        cached
    }

    fn instance(&mut self, number: usize, status: &str) {
        self.world.register(&format!(
            r#"{{"Node":"n{number:02}","Address":"10.1.0.{number}","NodeMeta":{{"a":"b","c":"d"}},
            "Service":{{"Service":"web","Port":80}},"Check":{{"CheckID":"c","Status":"{status}","ServiceID":"web"}}}}"#
        ));
    }

    fn reply(&mut self, packet: &[u8]) -> Vec<u8> {
        let (nothing, mut reply) = (BTreeMap::<String, Vec<Record>>::new(), Vec::new());
        self.seed += 1;
        let view = View { seed: self.seed, unix_s: self.unix_s, ..self.world.context(&nothing) };
        let cache = self.cache.get_or_insert_with(Cache::new);
        if cache.answer(&view, &self.config, packet, &mut reply) {
            self.hits += 1;
        } else {
            respond(view, packet, Transport::Udp, &mut reply);
        }
        reply
    }

    fn ask(&mut self, question: &str) -> Vec<String> {
        describe(&self.reply(&packet(question)), false)
    }
}

impl cases::dns::World for Cached {
    fn register(&mut self, json: &str) {
        self.world.register(json);
    }

    fn ask(&mut self, packet: &[u8], tcp: bool) -> Vec<u8> {
        if tcp {
            return cases::dns::World::ask(&mut self.world, packet, tcp);
        }
        self.reply(packet);
        self.reply(packet)
    }
}

#[test]
fn recorded_questions_are_answered_as_by_consul_the_second_time_too() {
    let mut hits = 0;
    for file in cases::files("dns", "txt") {
        let case = std::fs::read_to_string(&file).expect("the case is readable");
        let mut cached = Cached::with(cases::dns::config(&case).map(config).unwrap_or_default());
        let answered = cases::dns::answered(&case, &mut cached);
        let differences = cases::dns::differences(&case, &answered);
        assert!(differences.is_empty(), "{}:\n{differences}", file.display());
        hits += cached.hits;
    }
    assert!(hits > 50, "only {hits} answers came from the cache");
}

#[test]
fn an_instance_that_turns_critical_is_not_answered_any_more() {
    let mut cached = Cached::with_instances(2);
    assert_eq!(cached.ask("web.service.consul A").len(), 3);
    cached.instance(0, "critical");
    assert_eq!(cached.ask("web.service.consul A"), ["NOERROR aa", "answer web.service.consul. 0 A 10.1.0.1"]);
    cached.instance(1, "critical");
    assert_eq!(cached.ask("web.service.consul A")[0], "NXDOMAIN aa");
}

#[test]
fn a_changed_policy_forgets_what_was_kept() {
    let mut cached = Cached::with_instances(1);
    cached.ask("web.service.consul A");
    cached.world.config.service_ttl_s = [("*".to_owned(), 30)].into();
    cached.config = Arc::new(cached.world.config.clone());
    assert_eq!(cached.ask("web.service.consul A")[1], "answer web.service.consul. 30 A 10.1.0.0");
}

#[test]
fn the_serial_number_of_an_empty_answer_goes_with_the_time() {
    let mut cached = Cached::with_instances(1);
    let question = packet("web.service.consul AAAA");
    let replies = [7, 7, 8].map(|unix_s| {
        cached.unix_s = unix_s;
        cached.reply(&question)
    });
    assert_eq!(cached.hits, 3);
    assert!(replies[0] == replies[1] && replies[1] != replies[2]);
}

#[test]
fn the_id_and_the_letter_case_are_those_of_the_request() {
    let mut cached = Cached::with_instances(1);
    cached.reply(&packet("web.service.consul A"));
    let mut question = packet("wEB.service.consul A");
    question[..2].copy_from_slice(&[0xab, 0xcd]);
    let reply = cached.reply(&question);
    assert_eq!((&reply[..2], &reply[12..question.len()]), (&question[..2], &question[12..]));
    assert_eq!((cached.hits, cached.cache.map(|cache| cache.kept.len())), (2, Some(1)));
}

#[test]
fn limits_are_those_of_answers_that_are_not_kept() {
    let mut cached = Cached::with_instances(50);
    cached.world.config.enable_truncate = true;
    cached.config = Arc::new(cached.world.config.clone());
    let shape = |reply: &[u8]| (reply[2..12].to_vec(), reply.len());
    for kind in ["A", "AAAA", "SRV"] {
        for edns in ["", " edns=512", " edns=700", " edns=1232", " edns=4096"] {
            let question = packet(&format!("web.service.consul {kind}{edns}"));
            let mut anew = Vec::new();
            respond(cached.world.context(&BTreeMap::new()), &question, Transport::Udp, &mut anew);
            for _ in 0..3 {
                let kept = cached.reply(&question);
                assert_eq!(shape(&kept), shape(&anew), "{kind}{edns}");
                describe(&kept, false);
            }
        }
    }
    assert_eq!(cached.hits, 45);
}

#[test]
fn every_instance_gets_its_turn() {
    let mut cached = Cached::with_instances(20);
    let seen: BTreeSet<String> = (0..100).flat_map(|_| cached.ask("web.service.consul SRV")).collect();
    assert_eq!(seen.len(), 1 + 20 + 20, "the header, an answer and an address for each");
}

#[test]
fn a_cache_is_bounded() {
    let mut cached = Cached::default();
    for number in 0..20 {
        let tags: Vec<String> = (0..500).map(|tag| format!("\"t{tag}\"")).collect();
        cached.world.register(&format!(
            r#"{{"Node":"n","Address":"10.1.0.1","Service":{{"Service":"web{number}","Tags":[{}],"Port":80}}}}"#,
            tags.join(",")
        ));
        (0..500).for_each(|tag| drop(cached.ask(&format!("t{tag}.web{number}.service.consul A"))));
    }
    let cache = cached.cache.expect("it was used");
    let held: usize = cache.kept.iter().map(|(key, kept)| key.len() + kept.size_bytes()).sum();
    assert_eq!((held, cached.hits), (cache.size_bytes, 10_000));
    assert!(held <= CACHE_BYTES_MAX && held > 0);
}
