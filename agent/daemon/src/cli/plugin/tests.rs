//! Keys and signatures as typed, without an agent.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_core::plugin::digest::Digest;

/// Exit code, output, errors.
fn run(line: &[&str]) -> (u8, String, String) {
    let args: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
    let shell = crate::cli::Shell { program: "lictor", hints: false, variable: &|_| None };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = crate::cli::run(&args, &shell, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// A key in a folder; its file and its public key.
fn key(folder: &Path, name: &str) -> (String, String) {
    let file = path(folder, name);
    let (code, public, err) = run(&["plugin", "keygen", "-out", &file]);
    assert_eq!(code, 0, "{err}");
    (file, public.trim_end().to_owned())
}

#[test]
fn what_was_signed_verifies_and_what_was_changed_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, public) = key(folder.path(), "ours.key");
    let (_, other) = key(folder.path(), "other.key");
    let plugin = path(folder.path(), "redis.wasm");
    std::fs::write(&plugin, b"plugin").unwrap();
    let digest = Digest::of(b"plugin");

    let (code, out, err) = run(&["plugin", "sign", &plugin, "-key", &ours]);

    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("Signed {digest} with {public}: {plugin}.sig\n"));
    let good = run(&["plugin", "verify", &plugin, "-key", &other, "-key", &public]);
    assert_eq!(good, (0, format!("{digest} is signed by {public}\n"), String::new()));
    let foreign = run(&["plugin", "verify", &plugin, "-key", &other]);
    let reason = format!("{plugin}: the plugin is signed by {public}, which is not one of the keys given\n");
    assert_eq!(foreign, (1, String::new(), reason));
    std::fs::write(&plugin, b"plugim").unwrap();
    let (code, _, err) = run(&["plugin", "verify", "-key", &public, &plugin]);
    assert_eq!(code, 1);
    assert!(err.contains("the plugin's signature is bad"), "{err}");
    let (code, _, err) = run(&["plugin", "push", &plugin, "-name", "redis"]);
    assert_eq!((code, err.contains("is not a signature of")), (1, true), "{err}");
}

#[test]
fn a_key_is_secret_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = key(folder.path(), "plugin.key");
    let before = std::fs::read(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let (code, _, err) = run(&["plugin", "keygen", "-out", &file]);

    assert_eq!((code, err.starts_with("could not write the key to ")), (1, true), "{err}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn mistakes_are_named_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (key, _) = key(folder.path(), "ours.key");
    let (plugin, empty, large) =
        (path(folder.path(), "p.wasm"), path(folder.path(), "empty.wasm"), path(folder.path(), "large.wasm"));
    std::fs::write(&plugin, b"plugin").unwrap();
    std::fs::write(&empty, b"").unwrap();
    std::fs::File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
    for (line, reason) in [
        (&["push"][..], "Missing FILE argument"),
        (&["push", &plugin, "more"], "Too many arguments (expected 1, got 2)"),
        (&["push", &plugin], &format!("{plugin} is not pushed: not a WebAssembly component")),
        (&["push", &plugin, "-name", "A/B"], "\"A/B\" is no plugin name"),
        (&["push", &empty, "-name", "p"], &format!("{empty} is empty")),
        (&["push", &large, "-name", "p"], &format!("{large} has more than 16777216 bytes")),
        (&["push", "nowhere.wasm", "-name", "p"], "open nowhere.wasm: no such file or directory"),
        (&["push", &plugin, "-name", "p", "-sig", &key], &format!("{key}: it is no signature of a plugin")),
        (&["sign", &plugin], "-key is missing"),
        (&["sign", &plugin, "-key", &plugin], &format!("{plugin}: it is no key in PEM form")),
        (&["verify", &plugin], "-key is missing"),
        (&["verify", &plugin, "-key", "AAAA"], "\"AAAA\" is no public key"),
        (&["show", "a b"], "\"a b\" is no plugin name"),
        (&["remove"], "Missing NAME argument"),
    ] {
        let (code, out, err) = run(&[&["plugin"], line].concat());
        assert!(code == 1 && out.is_empty() && err.starts_with(reason), "{line:?}: {code} {out}{err}");
    }
}
