//! Guests, built once; a host whose log and names a test sees; and the question whether the host is unharmed.

use agent_wasm::{
    Addresses, CheckOutcome, Failure, Grants, Host, HostSettings, Limits, LogLevel, LogLine, Lookup, NetworkGrant,
    Plugin, PluginLog, Ran, UrlGrant,
};
use real::guests::guest;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What plugins and the host logged: plugin, subject, level, message.
#[derive(Default)]
pub struct Log(pub Mutex<Vec<(String, String, LogLevel, String)>>);

impl Log {
    pub fn messages(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(.., message)| message.clone()).collect()
    }
}

impl PluginLog for Log {
    fn line(&self, line: &LogLine<'_>) {
        let LogLine { plugin, subject, level, message } = *line;
        self.0.lock().unwrap().push((plugin.to_owned(), subject.to_owned(), level, message.to_owned()));
    }
}

/// Names that a test can change.
#[derive(Default)]
pub struct Names(pub Mutex<BTreeMap<String, Vec<IpAddr>>>);

impl Names {
    pub fn set(&self, name: &str, ip: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), vec![ip.parse().unwrap()]);
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> Addresses {
        let found = self.0.lock().unwrap().get(name).cloned();
        Box::pin(async move { found.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

pub struct Fixture {
    pub host: Host,
    pub log: Arc<Log>,
    pub names: Arc<Names>,
}

/// Folder of compiled guests that all tests share: each guest is compiled once and mapped by all.
pub fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-guests")
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with(Some(shared_cache()), 64 << 20, rustls::RootCertStore::empty())
    }

    pub fn with(cache: Option<PathBuf>, memory_bytes_max: u64, roots: rustls::RootCertStore) -> Fixture {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (log, names) = (Arc::new(Log::default()), Arc::new(Names::default()));
        let host = Host::new(HostSettings {
            cache,
            memory_bytes_max: memory_bytes_max.max(2 << 20),
            http_tls: Arc::new(tls),
            log: log.clone(),
            lookup: names.clone(),
        });
        Fixture { host: host.unwrap(), log, names }
    }

    pub async fn load(&self, name: &str) -> Plugin {
        self.host.load(guest(name)).await.unwrap()
    }

    /// One run of the hostile guest.
    pub async fn attack(&self, what: &str, with: &str, grants: &Grants, limits: &Limits) -> Attacked {
        let plugin = self.load("hostile").await;
        let config = serde_json::json!({"do": what, "with": with});
        plugin.description().schema.check(&config).unwrap();
        let ran = plugin.check(grants, limits, "victim", &config.to_string()).await;
        self.unharmed().await;
        ran
    }

    /// Nothing is held, and another plugin runs as before.
    pub async fn unharmed(&self) {
        assert_eq!(self.host.memory_in_use(), 0);
        let ran = self.load("trivial").await.check(&Grants::default(), &Limits::default(), "other", "{}").await;
        assert_eq!(ran.result.unwrap().output, "ok");
        assert_eq!(self.host.memory_in_use(), 0);
    }
}

pub type Attacked = Ran<Result<CheckOutcome, Failure>>;

/// The failure's text, or what the guest saw of a refusal with what the host says of it.
pub fn text(ran: &Attacked) -> String {
    match &ran.result {
        Err(failure) => failure.to_string(),
        Ok(outcome) => format!("{:?}: {} [{}]", outcome.status, outcome.output, ran.denied.join("; ")),
    }
}

#[track_caller]
pub fn says(ran: &Attacked, words: &[&str]) {
    let text = text(ran);
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

pub fn network(grants: &[&str]) -> Grants {
    let network = grants.iter().map(|grant| NetworkGrant::parse(grant).unwrap()).collect();
    Grants { network, ..Grants::default() }
}

pub fn urls(grants: &[&str]) -> Grants {
    Grants { urls: grants.iter().map(|grant| UrlGrant::parse(grant).unwrap()).collect(), ..Grants::default() }
}
