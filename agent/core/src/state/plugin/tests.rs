//! The rules of uploads, publishing and room, one command after another.

use super::*;
use crate::state::trial::Trial;
use crate::state::{Command, Reply, snapshot};

/// A file of `size` bytes that begins with a letter.
fn file(letter: u8, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    bytes[0] = letter;
    bytes
}

fn chunk(digest: Digest, size: u64, offset: u64, bytes: &[u8]) -> Command {
    Command::PluginChunk { digest, size, offset, bytes: bytes.into() }
}

fn version(digest: Digest) -> PluginVersion {
    let (version, summary) = ("1.0.0".to_string(), "Does something".to_string());
    PluginVersion { digest, version, summary, size: 0, signature: None, publish_index: 0 }
}

impl Trial {
    /// Sends the chunks from `from` on, as far as they are accepted; the last answer.
    fn upload_from(&mut self, bytes: &[u8], from: usize) -> Reply {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap();
        for (at, piece) in bytes.chunks(chunk_bytes).enumerate().skip(from) {
            let reply = self.apply(chunk(digest, size, at as u64 * CHUNK_BYTES, piece));
            if reply != Reply::Done {
                return reply;
            }
        }
        Reply::Done
    }

    fn upload(&mut self, bytes: &[u8]) -> Reply {
        self.upload_from(bytes, 0)
    }

    fn publish_as(&mut self, name: &str, digest: Digest) -> Reply {
        self.apply(Command::PluginSet { name: name.to_string(), version: Box::new(version(digest)), cas: None })
    }

    /// Uploads and publishes what must be accepted.
    fn push(&mut self, name: &str, bytes: &[u8]) -> Digest {
        assert_eq!(self.upload(bytes), Reply::Done);
        assert_eq!(self.publish_as(name, Digest::of(bytes)), Reply::Done);
        Digest::of(bytes)
    }

    fn has(&self, digest: Digest) -> bool {
        self.state.plugin_files.contains_key(&digest)
    }

    fn digests(&self, name: &str) -> Vec<Digest> {
        self.state.plugins[name].versions.iter().map(|version| version.digest).collect()
    }

    /// The digest that agents are to run.
    fn wanted(&self, name: &str) -> Option<Digest> {
        self.state.plugin(name).value.unwrap().version().map(|version| version.digest)
    }
}

fn refused(reply: Reply) -> String {
    match reply {
        Reply::Refused(refusal) => refusal.to_string(),
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn a_file_comes_in_order_and_twice_does_no_harm() {
    let mut trial = Trial::new();
    let bytes = file(b'a', 2 * CHUNK_BYTES + 5);
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let piece = |at: usize| &bytes[at..bytes.len().min(at + CHUNK_BYTES as usize)];
    let second = CHUNK_BYTES as usize;

    let early = trial.apply(chunk(digest, size, CHUNK_BYTES, piece(second)));
    assert_eq!(early, Reply::Refused(Refusal::PluginIncomplete { have: 0 }));
    assert_eq!(trial.apply(chunk(digest, size, 0, piece(0))), Reply::Done);
    assert_eq!(trial.apply(chunk(digest, size, 0, piece(0))), Reply::Done);
    let late = trial.apply(chunk(digest, size, 2 * CHUNK_BYTES, piece(2 * second)));
    assert_eq!(late, Reply::Refused(Refusal::PluginIncomplete { have: CHUNK_BYTES }));
    let short = refused(trial.apply(chunk(digest, size, CHUNK_BYTES, b"short")));
    assert_eq!(short, "the chunk at offset 262144 of a file of 524293 bytes has 262144 bytes, not 5");
    assert_eq!(trial.publish_as("p", digest), Reply::Refused(Refusal::PluginIncomplete { have: CHUNK_BYTES }));
    assert_eq!(trial.upload_from(&bytes, 1), Reply::Done);

    let kept = &trial.state.plugin_files[&digest];
    assert_eq!((kept.chunks.len(), kept.is_complete()), (3, true));
    assert_eq!(trial.publish_as("p", digest), Reply::Done);
    assert_eq!(trial.state.plugins["p"].versions[0].size, size);
}

#[test]
fn what_is_not_what_it_is_called_is_thrown_away() {
    let mut trial = Trial::new();
    let digest = Digest::of(b"good");
    let reply = trial.apply(chunk(digest, 3, 0, b"bad"));
    let expected = format!("what was sent as {digest} is {}, and is thrown away: send it again", Digest::of(b"bad"));
    assert_eq!(refused(reply), expected);
    assert!(!trial.has(digest));
    assert_eq!(trial.apply(chunk(digest, 4, 0, b"good")), Reply::Done);
}

#[test]
fn sizes_are_bounded() {
    let mut trial = Trial::new();
    let first = file(b'a', CHUNK_BYTES);
    for (size, expected) in [
        (0, "the file is empty"),
        (FILE_BYTES_MAX + 1, "the file has 16777217 bytes, and a plugin may have 16777216"),
        (u64::MAX, "the file has 18446744073709551615 bytes, and a plugin may have 16777216"),
    ] {
        assert_eq!(refused(trial.apply(chunk(Digest::of(b"x"), size, 0, &first))), expected);
    }
    assert_eq!(trial.upload(&file(b'a', FILE_BYTES_MAX)), Reply::Done);
}

#[test]
fn a_fifth_upload_drops_the_oldest() {
    let mut trial = Trial::new();
    let published = trial.push("p", b"published");
    for letter in b'a'..=b'e' {
        trial.upload(&[letter]);
    }
    let there: Vec<bool> = (b'a'..=b'e').map(|letter| trial.has(Digest::of(&[letter]))).collect();
    assert_eq!(there, [false, true, true, true, true]);
    assert!(trial.has(published));
}

#[test]
fn uploads_then_old_files_make_room_and_files_in_use_do_not() {
    let mut trial = Trial::new();
    let big = |letter: u8| file(letter, FILE_BYTES_MAX);
    let old = trial.push("p", &big(b'a'));
    let new = trial.push("p", &big(b'b'));
    let other = trial.push("q", &big(b'c'));
    trial.upload(&big(b'd'));

    assert_eq!(trial.upload(&big(b'e')), Reply::Done);
    assert!(trial.has(old) && !trial.has(Digest::of(&big(b'd'))), "the upload goes first");
    let third = trial.push("r", &big(b'e'));
    assert_eq!(trial.upload(&big(b'f')), Reply::Done);
    assert!(!trial.has(old), "then the file that is not in use");
    assert_eq!(trial.digests("p"), [new]);
    let fourth = trial.push("s", &big(b'f'));

    let reason = refused(trial.upload(b"x"));
    assert_eq!(
        reason,
        "there is no room: plugins in use have 67108864 bytes, this file has 1, and all together may have 67108864; \
         remove a plugin first"
    );
    assert!([new, other, third, fourth].into_iter().all(|digest| trial.has(digest)));
    trial.apply(Command::PluginRemove { name: "q".to_string() });
    assert_eq!(trial.upload(b"x"), Reply::Done);
}

#[test]
fn publishing_writes_the_key_and_the_key_rolls_back() {
    let mut trial = Trial::new();
    let one = trial.push("p", b"one");
    let two = trial.push("p", b"two");
    assert_eq!(*trial.state.kv.get("lictor/plugins/p").unwrap().value, *two.to_string().as_bytes());
    assert_eq!((trial.digests("p"), trial.wanted("p")), (vec![two, one], Some(two)));

    trial.set("lictor/plugins/p", &format!("{one}\n"));
    assert_eq!(trial.wanted("p"), Some(one));
    trial.set("lictor/plugins/p", "latest");
    assert_eq!(trial.state.plugin("p").value.unwrap().wanted, Wanted::Unknown("latest".to_string()));
    trial.kv(KvOp::Delete { key: "lictor/plugins/p".to_string() });
    assert_eq!(trial.wanted("p"), Some(two));
}

#[test]
fn three_files_are_kept_and_the_one_in_use_counts_as_new() {
    let mut trial = Trial::new();
    let good = trial.push("p", b"good");
    let bad = trial.push("p", b"bad");
    let worse = trial.push("p", b"worse");
    trial.set("lictor/plugins/p", &good.to_string());

    let next = trial.push("p", b"next");

    assert_eq!(trial.digests("p"), [next, good, worse]);
    assert!(!trial.has(bad));
}

#[test]
fn publishing_the_same_again_changes_nothing_but_the_key() {
    let mut trial = Trial::new();
    let one = trial.push("p", b"one");
    let before = trial.state.plugin("p");
    assert_eq!(trial.push("p", b"one"), one);
    assert_eq!(trial.state.plugin("p"), before);
    trial.set("lictor/plugins/p", "other");
    trial.push("p", b"one");
    assert_eq!((trial.wanted("p"), trial.digests("p")), (Some(one), vec![one]));
}

#[test]
fn a_condition_is_about_the_record_that_was_seen() {
    let mut trial = Trial::new();
    let digest = trial.push("p", b"one");
    let index = trial.state.plugins["p"].modify_index;
    let mut set = |name: &str, cas| {
        let version = Box::new(PluginVersion { summary: "new".to_string(), ..version(digest) });
        trial.apply(Command::PluginSet { name: name.to_string(), version, cas: Some(cas) })
    };
    assert_eq!(set("p", 0), Reply::Bool(false));
    assert_eq!(set("p", index), Reply::Bool(true));
    assert_eq!(set("q", 0), Reply::Bool(true));
}

#[test]
fn removing_frees_what_no_other_plugin_names() {
    let mut trial = Trial::new();
    let (alone, shared) = (trial.push("p", b"alone"), trial.push("p", b"shared"));
    assert_eq!(trial.publish_as("q", shared), Reply::Done);

    trial.apply(Command::PluginRemove { name: "p".to_string() });

    assert!(trial.touched(&Topic::Plugin("p".to_string())) && !trial.touched(&Topic::Plugin("q".to_string())));
    assert!(!trial.has(alone) && trial.has(shared));
    assert!(!trial.state.kv.contains_key("lictor/plugins/p"));
    assert_eq!(trial.state.plugin("p"), Answer { index: trial.index, value: None });
}

#[test]
fn names_and_texts_are_refused_with_the_rule() {
    let mut trial = Trial::new();
    let digest = trial.push("a-1", b"one");
    for name in ["", "A", "a/b", "a b", "..", &"a".repeat(65)] {
        let reason = refused(trial.publish_as(name, digest));
        assert!(reason.ends_with("is no plugin name: write 1 to 64 characters of a-z, 0-9 and -"), "{reason}");
    }
    for summary in ["a\nb", &"x".repeat(1025)] {
        let version = Box::new(PluginVersion { summary: summary.to_string(), ..version(digest) });
        let reason = refused(trial.apply(Command::PluginSet { name: "p".to_string(), version, cas: None }));
        assert_eq!(reason, "the plugin's summary is longer than 1024 bytes or more than a line");
    }
}

#[test]
fn there_is_a_last_plugin() {
    let mut trial = Trial::new();
    trial.upload(b"one");
    for number in 0..PLUGINS_MAX {
        assert_eq!(trial.publish_as(&format!("p{number}"), Digest::of(b"one")), Reply::Done);
    }
    let reason = refused(trial.publish_as("more", Digest::of(b"one")));
    assert_eq!(reason, "there are 256 plugins already, which is the most there may be: remove one");
    assert_eq!(trial.publish_as("p0", Digest::of(b"one")), Reply::Done);
}

#[test]
fn a_snapshot_holds_files_and_uploads() {
    let mut trial = Trial::new();
    trial.push("p", &file(b'a', CHUNK_BYTES + 1));
    let upload = file(b'b', 3 * CHUNK_BYTES);
    trial.apply(chunk(Digest::of(&upload), upload.len() as u64, 0, &upload[..CHUNK_BYTES as usize]));
    trial.push("q", b"small");
    trial.apply(Command::PluginRemove { name: "q".to_string() });

    assert_eq!(snapshot::decode(&snapshot::encode(&trial.state)), Ok(trial.state));
}
