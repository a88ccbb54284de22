//! `keygen`: a new key for gossip, made here and told to nobody.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;

use super::command::{Failure, Invocation};

/// `keygen`.
pub fn keygen(run: &mut Invocation) -> Result<(), Failure> {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    run.line(&STANDARD.encode(key));
    Ok(())
}
