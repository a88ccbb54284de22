//! `plugin keygen`, `plugin sign`, `plugin verify`: keys and signatures, without an agent.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use agent_core::plugin::digest::Digest;
use agent_core::plugin::signature::{self, SigningKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::super::client::go_io_error;
use super::super::command::{Failure, Invocation};
use super::{only_word, read, read_plugin, read_signature};
use crate::plugin::trust::{distrust_text, key_text, parse_key, sig_file};

/// Where `keygen` writes unless it is told.
const KEY_FILE: &str = "plugin.key";

/// The largest key file, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// `plugin keygen`.
pub fn keygen(run: &mut Invocation) -> Result<(), Failure> {
    run.no_args()?;
    let path = run.flags.last("out").unwrap_or(KEY_FILE).to_owned();
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let (key, pkcs8) = SigningKey::from_seed(&seed);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8));
    // One that is there may be the only copy of a key in use.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| Failure::new(format!("could not write the key to {path}: {}", go_io_error(&error))))?;
    run.remark(&format!("The key is in {path}. Keep it to yourself, and put this public key into plugin_trust:"));
    run.line(&key_text(&key.public()));
    Ok(())
}

/// `plugin sign`.
pub fn sign(run: &mut Invocation) -> Result<(), Failure> {
    let path = only_word(run, "FILE")?;
    let key_file = run.flags.last("key").ok_or_else(|| Failure::new("-key is missing: name the file with the key"))?;
    let key = read_key(key_file)?;
    let digest = Digest::of(&read_plugin(&path)?);
    let out = run.flags.last("out").map_or_else(|| format!("{path}.sig"), str::to_owned);
    std::fs::write(&out, sig_file(&key.sign(&digest)))
        .map_err(|error| Failure::new(format!("could not write {out}: {}", go_io_error(&error))))?;
    run.line(&format!("Signed {digest} with {}: {out}", key_text(&key.public())));
    Ok(())
}

/// `plugin verify`.
pub fn verify(run: &mut Invocation) -> Result<(), Failure> {
    let path = only_word(run, "FILE")?;
    let keys: Result<Vec<_>, String> = run.flags.all("key").iter().map(|key| parse_key(key)).collect();
    let keys = keys.map_err(Failure::new)?;
    if keys.is_empty() {
        return Err(Failure::new("-key is missing: give the public key of whom you trust"));
    }
    let digest = Digest::of(&read_plugin(&path)?);
    let sig = run.flags.last("sig").map_or_else(|| format!("{path}.sig"), str::to_owned);
    let signature = read_signature(&sig)?;
    let failed = |distrust| {
        let reason = distrust_text(&distrust).replace("the keys of plugin_trust", "the keys given");
        Failure::new(format!("{path}: {reason}"))
    };
    signature::check(&digest, Some(&signature), &keys).map_err(failed)?;
    run.line(&format!("{digest} is signed by {}", key_text(&signature.key)));
    Ok(())
}

fn read_key(path: &str) -> Result<SigningKey, Failure> {
    let failed = |reason: String| Failure::new(format!("{path}: {reason}"));
    let text = read(path, KEY_BYTES_MAX)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&text);
    let key = key.map_err(|_| failed("it is no key in PEM form, as plugin keygen writes it".to_owned()))?;
    SigningKey::from_pkcs8(key.secret_pkcs8_der()).map_err(failed)
}
