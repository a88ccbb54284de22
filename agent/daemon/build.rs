//! Has GNU's linkers pack the addresses that the loader corrects at the start: a megabyte less to read, and as much less resident.
//! `cross/build` links in another way and asks for the same.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
