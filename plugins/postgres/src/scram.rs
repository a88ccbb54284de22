//! SCRAM-SHA-256 as a client (RFC 5802, RFC 7677), without channel binding. PostgreSQL takes the user's name from the start-up message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use lictor_plugin::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// More rounds than this are refused: each costs the check's CPU time, and the server chooses. PostgreSQL's default is 4,096.
const ROUNDS_MAX: u32 = 100_000;

/// One exchange.
pub struct Exchange {
    nonce: String,
}

impl Exchange {
    /// Begins with a fresh nonce, from the randomness that std seeds its hashers with, which is WASI's.
    pub fn begin() -> Exchange {
        use std::hash::{BuildHasher, RandomState};
        let bytes: Vec<u8> = (0..3).flat_map(|part: u8| RandomState::new().hash_one(part).to_be_bytes()).collect();
        Exchange { nonce: STANDARD.encode(bytes) }
    }

    /// The client's first message.
    pub fn first(&self) -> String {
        format!("n,,n=,r={}", self.nonce)
    }

    /// The client's last message, and the signature that the server must answer with.
    pub fn answer(&self, password: &str, challenge: &str) -> Result<(String, String)> {
        let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let nonce =
            field("r=").filter(|nonce| nonce.starts_with(&self.nonce)).context("the server's nonce is not ours")?;
        let salt = STANDARD
            .decode(field("s=").context("the server sent no salt")?)
            .context("the server's salt is no base64")?;
        let rounds: u32 =
            field("i=").and_then(|rounds| rounds.parse().ok()).context("the server sent no count of rounds")?;
        if !(1..=ROUNDS_MAX).contains(&rounds) {
            bail!("the server wants {rounds} rounds, which are too many");
        }
        let salted = stretch(password.as_bytes(), &salt, rounds);
        let client_key = hmac(&salted, b"Client Key");
        let last = format!("c=biws,r={nonce}");
        let signed = format!("n=,r={},{challenge},{last}", self.nonce);
        let signature = hmac(&Sha256::digest(client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let server = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
        Ok((format!("{last},p={}", STANDARD.encode(proof)), STANDARD.encode(server)))
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

/// PBKDF2 with HMAC-SHA-256, one block.
fn stretch(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let keyed = Hmac::<Sha256>::new_from_slice(password).expect("HMAC takes keys of any length");
    let mut last: [u8; 32] = keyed.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize().into_bytes().into();
    let mut sum = last;
    for _ in 1..rounds {
        last = keyed.clone().chain_update(last).finalize().into_bytes().into();
        sum.iter_mut().zip(last).for_each(|(sum, last)| *sum ^= last);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677's example names the user, PostgreSQL's messages don't; the key is the same.
    #[test]
    fn passwords_are_stretched_as_in_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = stretch(b"pencil", &salt, 4096);
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                    c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server = hmac(&hmac(&salted, b"Server Key"), auth.as_bytes());
        assert_eq!(STANDARD.encode(server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_challenge_that_would_cost_too_much_is_refused() {
        let exchange = Exchange { nonce: "a".into() };
        assert!(exchange.answer("x", "r=ab,s=AAAA,i=1000000000").is_err());
        assert!(exchange.answer("x", "r=zb,s=AAAA,i=4096").is_err());
        assert!(exchange.answer("x", "").is_err());
    }
}
