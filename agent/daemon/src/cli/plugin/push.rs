//! `plugin push`: a file to the servers, chunk by chunk, and then its name.
//!
//! Every request may be repeated without harm, so one whose outcome is unknown
//! (a leader died) is: the servers say how much they have, and the upload goes
//! on from there, also when the whole command is repeated.

use std::time::Duration;

use agent_core::plugin::digest::Digest;
use agent_core::plugin::signature::Signature;
use agent_core::state::plugin::{CHUNK_BYTES, check_name};

use agent_wasm::{Description, Host};

use super::super::client::{Answer, Call, Client};
use super::super::command::{Failure, Invocation};
use super::{only_word, read_plugin, read_signature};
use crate::goflag::FlagSpec;
use crate::http::plugin_view::{HaveView, Publication};
use crate::plugin::trust::{key_text, signature_text};

/// Its flags.
pub const FLAGS: &[FlagSpec] = &[
    FlagSpec::value("name", "string", "The plugin's name. The default is what it calls itself."),
    FlagSpec::value("sig", "file", "The signature. The default is FILE.sig, if that exists."),
    FlagSpec::value(
        "summary",
        "string",
        "What the plugin does, for people to read. The default is what it says itself.",
    ),
    FlagSpec::value(
        "version",
        "string",
        "The plugin's version, for people to read. The default is what it says itself.",
    ),
];

/// How often in a row the servers may fail to answer.
const FAILURES_MAX: u32 = 30;

/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Progress is told for files with more bytes than this.
const QUICK_BYTES_MAX: u64 = 4 * CHUNK_BYTES;

/// `plugin push`.
pub fn push(run: &mut Invocation) -> Result<(), Failure> {
    let path = only_word(run, "FILE")?;
    let bytes = read_plugin(&path)?;
    if let Some(name) = run.flags.last("name") {
        check_name(name).map_err(Failure::new)?;
    }
    let digest = Digest::of(&bytes);
    let signature = signature(run, &path, &digest)?;
    let client = run.client()?;
    let said = describe(&client, &path, &bytes)?;
    let name = run.flags.last("name").or(said.as_ref().map(|said| said.name.as_str()));
    let name =
        name.ok_or_else(|| Failure::new("-name is missing: what was compiled ahead is not asked for its own"))?;
    let name = name.to_owned();
    let publication = publication(run, &digest, signature, said.as_ref());
    let mut push = Push { client: &client, run, name: &name, digest, bytes: &bytes, failures: 0, told: 0 };
    push.carry_out(&publication).map_err(|error| Failure::new(format!("Error pushing plugin {name}: {error}")))?;
    run.line(&format!("Pushed plugin {name}: {digest}"));
    Ok(())
}

/// What the plugin says of itself, unless it was compiled ahead, perhaps for another processor.
fn describe(client: &Client, path: &str, bytes: &[u8]) -> Result<Option<Description>, Failure> {
    if Host::is_compiled(bytes) {
        return Ok(None);
    }
    let plugin = client.wait_for(super::load(bytes.to_vec()));
    let plugin = plugin.map_err(|reason| Failure::new(format!("{path} is not pushed: {reason}")))?;
    Ok(Some(plugin.description().clone()))
}

fn publication(
    run: &Invocation,
    digest: &Digest,
    signature: Option<Signature>,
    said: Option<&Description>,
) -> Publication {
    let text = |flag: &str, own: Option<&String>| {
        run.flags.last(flag).map(str::to_owned).or_else(|| own.cloned()).unwrap_or_default()
    };
    Publication {
        digest: digest.to_string(),
        version: text("version", said.map(|said| &said.version)),
        summary: text("summary", said.map(|said| &said.summary)),
        key: signature.map(|signature| key_text(&signature.key)).unwrap_or_default(),
        signature: signature.map(|signature| signature_text(&signature)).unwrap_or_default(),
    }
}

/// The signature that goes along, which must be for this file.
fn signature(run: &Invocation, path: &str, digest: &Digest) -> Result<Option<Signature>, Failure> {
    let beside = format!("{path}.sig");
    let sig = match run.flags.last("sig") {
        Some(sig) => sig.to_owned(),
        None if std::path::Path::new(&beside).exists() => beside,
        None => return Ok(None),
    };
    let signature = read_signature(&sig)?;
    match signature.verifies(digest) {
        true => Ok(Some(signature)),
        false => Err(Failure::new(format!("{sig} is not a signature of {path}: sign it again with plugin sign"))),
    }
}

/// A push under way.
struct Push<'a, 'b> {
    client: &'a Client,
    run: &'a mut Invocation<'b>,
    name: &'a str,
    digest: Digest,
    bytes: &'a [u8],
    /// How often in a row the servers have failed.
    failures: u32,
    /// The per cent that were told last.
    told: u64,
}

impl Push<'_, '_> {
    /// Sends what is missing, and publishes. What is dropped meanwhile is sent again.
    fn carry_out(&mut self, publication: &Publication) -> Result<(), String> {
        let body = serde_json::to_vec(publication).map_err(|error| error.to_string())?;
        loop {
            self.upload()?;
            let call = Call::new("PUT", format!("/v1/plugin/name/{}", self.name)).body(body.clone());
            match self.attempt(call)? {
                Some(answer) if answer.status != 409 => return answer.ok().map(drop),
                Some(_) => self.fail("the file was dropped while others were pushed".to_owned())?,
                None => {}
            }
        }
    }

    fn upload(&mut self) -> Result<(), String> {
        let size = self.bytes.len() as u64;
        let mut have = self.have()?;
        while have < size {
            self.tell(have);
            let end = size.min(have + CHUNK_BYTES);
            let chunk = &self.bytes[place(have)..place(end)];
            let path = format!("/v1/plugin/chunk/{}", self.digest);
            let call = Call::new("PUT", path).with("offset", have.to_string()).with("size", size.to_string());
            match self.attempt(call.body(chunk.to_vec()))? {
                Some(answer) if answer.status != 409 => {
                    answer.ok()?;
                    self.failures = 0;
                    have = end;
                }
                // What the servers have is not what we think.
                Some(_) | None => have = self.have()?,
            }
        }
        self.tell(size);
        Ok(())
    }

    /// How many bytes the servers have.
    fn have(&mut self) -> Result<u64, String> {
        loop {
            let call = Call::new("GET", format!("/v1/plugin/chunk/{}", self.digest)).with("have", "");
            if let Some(answer) = self.attempt(call)? {
                let view: Result<HaveView, _> = serde_json::from_slice(&answer.ok()?.body);
                return view
                    .map(|view| view.have)
                    .map_err(|error| format!("the agent's answer makes no sense: {error}"));
            }
        }
    }

    /// An answer, or `None` where the servers had none and may have one later.
    fn attempt(&mut self, call: Call) -> Result<Option<Answer>, String> {
        let failure = match self.client.send(call) {
            Ok(answer) if answer.status < 500 => return Ok(Some(answer)),
            Ok(answer) => answer.ok().map_or_else(|error| error, |_| String::new()),
            // Nobody listens there: that will not change while we wait.
            Err(error) if self.failures == 0 && error.contains(": dial ") => return Err(error),
            Err(error) => error,
        };
        self.fail(failure)?;
        Ok(None)
    }

    fn fail(&mut self, failure: String) -> Result<(), String> {
        self.failures += 1;
        if self.failures > FAILURES_MAX {
            return Err(failure);
        }
        if self.failures == 1 {
            self.run.remark(&format!("Trying again: {failure}"));
        }
        self.client.wait_for(async { tokio::time::sleep(PAUSE).await });
        Ok(())
    }

    /// Tells how far it is, every ten per cent.
    fn tell(&mut self, have: u64) {
        let size = self.bytes.len() as u64;
        let per_cent = have * 100 / size / 10 * 10;
        if size > QUICK_BYTES_MAX && per_cent > self.told {
            self.told = per_cent;
            self.run.remark(&format!("{per_cent} % of {size} bytes"));
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a slice")
}
