//! What the agent keeps on its own disk beside Raft: registered services and checks, TTL states, its node id.
//!
//! One small JSON file per record, named by a hash of its id, under
//! `services/`, `checks/` and `checks/state/` of the data directory. Files are
//! replaced atomically (write beside, sync, rename), so a crash leaves the old
//! one or the new one. A file that cannot be read is kept aside with a warning
//! and costs nothing but itself. Everything here blocks: call it on a thread
//! that may.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use agent_core::health::spec::{CheckSpec, ServiceSpec};
use agent_core::local::{Persisted, Record, TtlState};
use agent_core::state::tables::{CheckId, UnixMs};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The format of the files. A file with a newer one is kept aside.
const VERSION: u32 = 1;

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The agent's records in its data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Persist {
    /// `data_dir`.
    pub data_dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    version: u32,
    record: T,
}

#[derive(Serialize, Deserialize)]
struct StoredTtl {
    id: CheckId,
    state: TtlState,
    expires_ms: UnixMs,
}

impl Persist {
    /// Keeps records under `data_dir`, which is created when first needed.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Persist { data_dir: data_dir.into() }
    }

    /// Everything that was kept. TTL states that have expired by `now_ms` are removed.
    pub fn load(&self, now_ms: UnixMs) -> Persisted {
        let services = read_all::<ServiceSpec>(&self.services()).into_iter().map(|(_, spec)| spec).collect();
        let checks = read_all::<CheckSpec>(&self.checks()).into_iter().map(|(_, spec)| spec).collect();
        let mut ttl = BTreeMap::new();
        for (path, stored) in read_all::<StoredTtl>(&self.states()) {
            if stored.expires_ms > now_ms {
                ttl.insert(stored.id, stored.state);
            } else if let Err(error) = remove(&path) {
                warn!("could not remove {}: {error}", path.display());
            }
        }
        Persisted { services, checks, ttl }
    }

    /// Keeps a record. TTL states are not synced to disk: they change often, and losing the latest costs a critical check.
    ///
    /// # Errors
    /// As the operating system says, with the file's name. The previous record of the same id is still there.
    pub fn store(&self, record: &Record, now_ms: UnixMs) -> io::Result<()> {
        match record {
            Record::Service(spec) => write(&self.services(), &spec.service.id, &**spec, Durability::Synced),
            Record::Check(spec) => write(&self.checks(), &spec.id, &**spec, Durability::Synced),
            Record::Ttl { id, state, ttl_ms } => {
                let stored =
                    StoredTtl { id: id.clone(), state: state.clone(), expires_ms: now_ms.saturating_add(*ttl_ms) };
                write(&self.states(), id, &stored, Durability::Lazy)
            }
        }
    }

    /// Removes a service. One that is not there is no error.
    ///
    /// # Errors
    /// As the operating system says, with the file's name.
    pub fn forget_service(&self, id: &str) -> io::Result<()> {
        remove(&self.services().join(file_name(id)))
    }

    /// Removes a check and its TTL state. Those that are not there are no error.
    ///
    /// # Errors
    /// As the operating system says, with the file's name.
    pub fn forget_check(&self, id: &str) -> io::Result<()> {
        remove(&self.states().join(file_name(id)))?;
        remove(&self.checks().join(file_name(id)))
    }

    /// The node id: read from the file `node-id`, or `fresh` written there when there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no UUID.
    pub fn node_id(&self, fresh: impl FnOnce() -> String) -> io::Result<String> {
        let path = self.data_dir.join("node-id");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let id = text.trim();
                let invalid = |_| {
                    let why =
                        format!("{} holds no UUID ({id:?}): restore it, or remove it to get a new id", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, why)
                };
                uuid::Uuid::parse_str(id).map_err(invalid)?;
                Ok(id.to_lowercase())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = fresh();
                replace(&path, id.as_bytes(), Durability::Synced).map_err(|error| named(&path, &error))?;
                Ok(id)
            }
            Err(error) => Err(named(&path, &error)),
        }
    }

    fn services(&self) -> PathBuf {
        self.data_dir.join("services")
    }

    fn checks(&self) -> PathBuf {
        self.data_dir.join("checks")
    }

    fn states(&self) -> PathBuf {
        self.data_dir.join("checks/state")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// On disk before the call returns.
    Synced,
    /// On disk when the system gets to it; never half.
    Lazy,
}

/// 128 bits of FNV-1a in hex: an id may hold anything, a file name may not.
fn file_name(id: &str) -> String {
    let basis = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b_u128;
    let hash = id.bytes().fold(basis, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    format!("{hash:032x}")
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn write<T: Serialize>(folder: &Path, id: &str, record: &T, durability: Durability) -> io::Result<()> {
    let path = folder.join(file_name(id));
    let bytes = serde_json::to_vec(&Stored { version: VERSION, record }).map_err(io::Error::other)?;
    // Clients register the same again and again; that must not wear the disk out.
    if fs::read(&path).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    replace(&path, &bytes, durability).map_err(|error| named(&path, &error))
}

fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let folder = path.parent().expect("a record lies in a folder");
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("tmp");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    fs::rename(&beside, path)?;
    if durability == Durability::Synced {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The records of a folder in the order of their file names. Leftovers of interrupted writes are removed.
fn read_all<T: DeserializeOwned>(folder: &Path) -> Vec<(PathBuf, T)> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!("could not read {}: {error}", folder.display());
            return Vec::new();
        }
    };
    let mut paths: Vec<_> =
        entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_file())).map(|e| e.path()).collect();
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        match path.extension().and_then(|e| e.to_str()) {
            Some("corrupt") => {}
            Some("tmp") => {
                // An interrupted write was never acknowledged.
                let _ = fs::remove_file(&path);
            }
            _ => match read(&path) {
                Ok(record) => records.push((path, record)),
                Err(error) => keep_aside(&path, &error),
            },
        }
    }
    records
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let stored: Stored<T> = serde_json::from_slice(&bytes)?;
    if stored.version > VERSION {
        return Err(io::Error::other(format!("format {} is newer than this agent's {VERSION}", stored.version)));
    }
    Ok(stored.record)
}

fn keep_aside(path: &Path, error: &io::Error) {
    let aside = path.with_extension("corrupt");
    warn!("could not read {}: {error}; kept aside as {}", path.display(), aside.display());
    if let Err(error) = fs::rename(path, &aside) {
        warn!("could not keep {} aside: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_core::health::spec::CheckKind;
    use agent_core::state::tables::{Service, Status};

    fn service(id: &str) -> ServiceSpec {
        let service = Service { id: id.into(), name: "web".into(), ..Service::default() };
        ServiceSpec { service, checks: Vec::new(), token: String::new() }
    }

    fn ttl(id: &str) -> Record {
        let state = TtlState { status: Status::Passing, output: "fine".into() };
        Record::Ttl { id: id.into(), state, ttl_ms: 1_000 }
    }

    #[test]
    fn what_was_stored_is_loaded_and_what_was_forgotten_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let persist = Persist::new(folder.path());
        let check = CheckSpec::new("disk/../é", CheckKind::Ttl { ttl_ms: 1_000 });
        for id in ["web-1", "web-2"] {
            persist.store(&Record::Service(Box::new(service(id))), 0).unwrap();
        }
        persist.store(&Record::Check(Box::new(check.clone())), 0).unwrap();
        persist.store(&ttl("disk/../é"), 5_000).unwrap();
        persist.forget_service("web-2").unwrap();
        persist.forget_service("never there").unwrap();

        let loaded = Persist::new(folder.path()).load(5_500);

        assert_eq!(loaded.services, vec![service("web-1")]);
        assert_eq!(loaded.checks, vec![check]);
        assert_eq!(loaded.ttl["disk/../é"].output, "fine");
    }

    #[test]
    fn an_expired_ttl_state_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let persist = Persist::new(folder.path());
        persist.store(&ttl("c"), 5_000).unwrap();
        assert_eq!(persist.load(6_000).ttl, BTreeMap::new());
        assert_eq!(fs::read_dir(persist.states()).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_file_is_kept_aside_and_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let persist = Persist::new(folder.path());
        for id in ["a", "b"] {
            persist.store(&Record::Service(Box::new(service(id))), 0).unwrap();
        }
        let torn = persist.services().join(file_name("a"));
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
        fs::write(persist.services().join("interrupted.tmp"), "half").unwrap();

        assert_eq!(persist.load(0).services, vec![service("b")]);
        assert!(torn.with_extension("corrupt").exists());
        assert!(!persist.services().join("interrupted.tmp").exists());
        persist.store(&Record::Service(Box::new(service("a"))), 0).unwrap();
        assert_eq!(persist.load(0).services.len(), 2, "it can be registered again");
    }

    #[test]
    fn the_node_id_is_chosen_once() {
        let folder = tempfile::tempdir().unwrap();
        let persist = Persist::new(folder.path().join("deep/data"));
        let id = "0B6B2F4C-0000-4000-8000-000000000001";
        assert_eq!(persist.node_id(|| id.to_lowercase()).unwrap(), id.to_lowercase());
        assert_eq!(persist.node_id(|| unreachable!()).unwrap(), id.to_lowercase());
        fs::write(persist.data_dir.join("node-id"), "nonsense").unwrap();
        assert!(persist.node_id(|| unreachable!()).unwrap_err().to_string().contains("holds no UUID"));
    }
}
