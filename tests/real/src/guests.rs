//! The components of `tests/guests`, built when a test needs them first, versions made of them, and what agents say of them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::http::{get, get_until};
use crate::tools::target_folder;

/// The component of a guest.
///
/// # Panics
/// When the guests don't build.
pub fn guest(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(build);
    fs::read(folder.join(format!("{name}.wasm"))).expect("the guest was built")
}

/// Another version of a component, which does the same: its digest is another.
pub fn another_version(component: &[u8], mark: u8) -> Vec<u8> {
    // A custom section (id 0) of three bytes: the length of its name, the name, and nothing else.
    [component, &[0, 3, 1, b'v', mark]].concat()
}

/// A component made larger, to `bytes` in all, with bytes that are not all alike. It does the same.
pub fn padded(component: &[u8], bytes: usize) -> Vec<u8> {
    // A custom section: its id, its size in four bytes of LEB128, the length of its name, the name, the padding.
    let size = bytes - component.len() - 5;
    let leb = |place: usize| u8::try_from(size >> (7 * place) & 0x7f).expect("seven bits");
    let head = [0, leb(0) | 0x80, leb(1) | 0x80, leb(2) | 0x80, leb(3), 1, b'p'];
    let padding = (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes());
    component.iter().copied().chain(head).chain(padding).take(bytes).collect()
}

/// Writes a file into a folder, or over one that is there; returns its path as words of a command have it.
///
/// # Panics
/// When the folder can't be written.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("the folder can be written");
    path.display().to_string()
}

/// The digest of a file, as coreutils sees it.
///
/// # Panics
/// When `sha256sum` can't read the file.
pub fn digest(file: &str) -> String {
    let ran = Command::new("sha256sum").arg(file).output().expect("sha256sum can be started");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    format!("sha256:{}", String::from_utf8_lossy(&ran.stdout[..64]))
}

/// What an agent shows of its only plugin.
///
/// # Panics
/// When the agent does not answer.
pub fn plugin(address: Ipv4Addr) -> Value {
    get(address, "/v1/agent/plugins")[0].take()
}

/// Waits until the only check of a service has this status; returns its output.
///
/// # Panics
/// When it does not come to that.
pub fn wait_for_status(address: Ipv4Addr, service: &str, status: &str) -> String {
    let path = format!("/v1/health/checks/{service}");
    let found = get_until(address, &path, |found| found[0]["Status"] == status);
    found[0]["Output"].as_str().unwrap_or_default().to_owned()
}

/// Tests run as processes of their own at the same time: cargo's lock lets one of them build.
fn build() -> PathBuf {
    let target = target_folder().join("guests");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "--target", "wasm32-wasip2", "--manifest-path"])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status();
    assert!(
        built.expect("cargo runs").success(),
        "the guests build; `rustup target add wasm32-wasip2` if that is missing"
    );
    target.join("wasm32-wasip2/release")
}
