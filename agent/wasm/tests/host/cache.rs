//! Compiled code on disk: used when it is ours and whole, made again when it is not.

use crate::fixture::Fixture;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn with_cache(folder: &Path) -> Fixture {
    Fixture::with(Some(folder.to_owned()), 64 << 20, rustls::RootCertStore::empty())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "cwasm")).collect();
    entries.sort();
    entries
}

#[tokio::test]
async fn what_was_compiled_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("plugins");
    with_cache(&cache).load("trivial").await;
    let [entry] = &entries(&cache)[..] else { panic!("one entry") };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&cache), mode(entry), mode(&cache.join("key"))), (0o700, 0o600, 0o600));
    let made = fs::metadata(entry).unwrap().modified().unwrap();
    let second = with_cache(&cache);
    second.unharmed().await;
    assert_eq!(fs::metadata(entry).unwrap().modified().unwrap(), made);
    assert_eq!(second.log.messages(), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_or_foreign_entry_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path();
    with_cache(cache).load("trivial").await;
    let entry = entries(cache).remove(0);
    let good = fs::read(&entry).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let tampering: [(&str, Vec<u8>); 4] = [
        ("a bit", flipped),
        ("its end", good[..good.len() - 1].to_vec()),
        ("all but a few bytes", good[..10].to_vec()),
        ("everything", b"not code at all, and longer than a code".to_vec()),
    ];
    for (what, bytes) in tampering {
        fs::write(&entry, bytes).unwrap();
        let fixture = with_cache(cache);
        fixture.unharmed().await;
        let log = fixture.log.messages();
        assert!(log[0].contains("is not used and is made again: it is damaged"), "{what}: {log:?}");
        assert_eq!(fs::read(&entry).unwrap().len(), good.len(), "{what}");
    }
}

#[tokio::test]
async fn an_entry_under_another_key_or_name_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path();
    let fixture = with_cache(cache);
    fixture.load("trivial").await;
    fixture.load("hostile").await;
    let [one, other] = &entries(cache)[..] else { panic!("two entries") };
    let swapped = fs::read(one).unwrap();
    fs::copy(other, one).unwrap();
    fs::write(other, swapped).unwrap();
    let fixture = with_cache(cache);
    fixture.unharmed().await;
    assert!(fixture.log.messages()[0].contains("made again"));

    fs::write(cache.join("key"), [7; 32]).unwrap();
    let fixture = with_cache(cache);
    fixture.unharmed().await;
    assert!(fixture.log.messages()[0].contains("made again"));
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_said_and_does_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let fixture = with_cache(&file.join("plugins"));
    fixture.unharmed().await;
    let log = fixture.log.messages();
    assert!(log.iter().any(|line| line.contains("could not keep compiled code")), "{log:?}");
}

#[tokio::test]
async fn entries_nobody_uses_go_except_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path();
    let fixture = with_cache(cache);
    let kept = fixture.load("trivial").await;
    for i in 0..70 {
        fs::write(cache.join(format!("{i:064}-0011223344556677.cwasm")), "old").unwrap();
    }
    fs::write(cache.join("left.1.new"), "by a writer that died").unwrap();
    fixture.load("hostile").await;
    assert_eq!(entries(cache).len(), 64 + 2);
    assert!(!cache.join("left.1.new").exists());
    assert!(entries(cache).iter().any(|path| path.display().to_string().contains(&kept.digest().hex())));
}
