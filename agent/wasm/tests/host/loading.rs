//! What is not a plugin of ours is refused, and says why.

use crate::fixture::Fixture;
use agent_wasm::{Grants, Host, Limits, LoadError, Target, World};
use proptest::prelude::*;
use real::guests::guest;

#[tokio::test]
async fn a_loaded_plugin_says_what_it_is() {
    let fixture = Fixture::new();
    let plugin = fixture.load("hostile").await;
    let said = plugin.description();
    assert_eq!((said.name.as_str(), said.version.as_str(), plugin.world()), ("hostile", "1.2.3", World::HealthCheck));
    let wrong = said.schema.check(&serde_json::json!({"do": 1})).unwrap_err();
    assert_eq!(wrong, ["/do: must be a string, not a whole number"]);
    assert_eq!(said.wants.directories, ["/"]);
}

/// Replaces a name in a component by one of the same length.
fn renamed(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = component.to_vec();
    let found: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!found.is_empty(), "{from} is in the component");
    for at in found {
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

async fn refusal(component: Vec<u8>) -> String {
    let fixture = Fixture::with(None, 64 << 20, rustls::RootCertStore::empty());
    let error = fixture.host.load(component).await.unwrap_err();
    fixture.unharmed().await;
    error.to_string()
}

#[tokio::test]
async fn what_is_no_component_is_named() {
    let whole = guest("trivial");
    for (bytes, words) in [
        (vec![], "the file is empty"),
        (b"#!/bin/sh\nexit 0\n".to_vec(), "does not begin as WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "plain WebAssembly module"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "this one exports nothing"),
        (whole[..6].to_vec(), "is cut off"),
        (whole[..whole.len() / 2].to_vec(), "damaged, truncated"),
        (whole[..whole.len() - 1].to_vec(), "damaged, truncated"),
        (vec![0; (64 << 20) + 1], "larger than the 64 MiB"),
    ] {
        let text = refusal(bytes).await;
        assert!(text.contains(words), "{text:?} does not say {words:?}");
    }
}

#[tokio::test]
async fn another_world_and_other_versions_are_named() {
    let trivial = guest("trivial");
    let text = refusal(renamed(&trivial, "lictor:plugin/check@1.0.0", "lictor:plugin/chuck@1.0.0")).await;
    assert!(text.contains("lictor:plugin/check or lictor:plugin/renderer; this one exports"), "{text}");
    assert!(text.contains("lictor:plugin/chuck@1.0.0"), "{text}");
    for version in ["1.1.0", "2.0.0"] {
        let newer = format!("lictor:plugin/check@{version}");
        let text = refusal(renamed(&trivial, "lictor:plugin/check@1.0.0", &newer)).await;
        assert!(text.contains(&format!("made for {newer}, and this agent has lictor:plugin@1.0.0: update")), "{text}");
    }
    let text = refusal(renamed(&trivial, "wasi:cli/environment@", "wasi:cli/surrounding@")).await;
    assert!(text.contains("imports wasi:cli/surrounding@") && text.contains("does not offer"), "{text}");
}

#[tokio::test]
async fn a_trap_before_the_first_call_is_a_refusal() {
    let text = refusal(guest("trapping")).await;
    assert!(text.contains("failed to describe itself: the plugin broke down"), "{text}");
}

#[tokio::test]
async fn compiled_ahead_runs_where_it_was_made_for() {
    let fixture = Fixture::new();
    let trivial = guest("trivial");
    let (here, elsewhere) = match cfg!(target_arch = "aarch64") {
        true => (Target::Aarch64, Target::X86_64),
        false => (Target::X86_64, Target::Aarch64),
    };
    for target in [here, Target::Portable] {
        let compiled = Host::compile(&trivial, target).unwrap();
        assert_eq!(fixture.host.load(compiled.clone()).await.unwrap_err(), LoadError::CompiledAhead);
        let plugin = fixture.host.load_trusted(compiled).await.unwrap();
        let ran = plugin.check(&Grants::default(), &Limits::default(), "", "{}").await;
        assert_eq!(ran.result.unwrap().output, "ok");
    }
    let compiled = Host::compile(&trivial, elsewhere).unwrap();
    let error = fixture.host.load_trusted(compiled).await.unwrap_err().to_string();
    assert!(error.contains("not usable here") && error.contains("lictor plugin compile"), "{error}");
    fixture.unharmed().await;
}

#[tokio::test]
async fn portable_code_is_interrupted_too() {
    let fixture = Fixture::new();
    let compiled = Host::compile(&guest("hostile"), Target::Portable).unwrap();
    let plugin = fixture.host.load_trusted(compiled).await.unwrap();
    let ran = plugin.check(&Grants::default(), &Limits::default(), "", r#"{"do": "spin"}"#).await;
    crate::fixture::says(&ran, &["used its 100 ms of CPU time"]);
    fixture.unharmed().await;
}

/// Damage in random places is refused or harmless, never a panic.
#[test]
fn damaged_components_never_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = Fixture::with(None, 64 << 20, rustls::RootCertStore::empty());
    let whole = guest("trivial");
    let damage = (0..whole.len(), prop::collection::vec((0..whole.len(), any::<u8>()), 1..4), any::<bool>());
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let ran = runner.run(&damage, |(end, bytes, cut)| {
        let mut damaged = whole.clone();
        bytes.iter().for_each(|(at, byte)| damaged[*at] = *byte);
        damaged.truncate(if cut { end } else { whole.len() });
        if let Err(error) = runtime.block_on(fixture.host.load(damaged)) {
            prop_assert!(!error.to_string().is_empty());
        }
        prop_assert_eq!(fixture.host.memory_in_use(), 0);
        Ok(())
    });
    ran.unwrap();
}
