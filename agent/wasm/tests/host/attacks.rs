//! Attacks on CPU, memory, stack, output, files and variables.

use crate::fixture::{Fixture, says};
use agent_wasm::{DirectoryGrant, FailureKind, Grants, Limits, LogLevel, Status};
use std::time::Duration;

fn nothing() -> Grants {
    Grants::default()
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_cpu_time_and_others_run_meanwhile() {
    let fixture = Fixture::new();
    let plugin = fixture.load("hostile").await;
    let (grants, limits) = (nothing(), Limits::default());
    let spinning = plugin.check(&grants, &limits, "spins", r#"{"do": "spin"}"#);
    // One thread: that the clock is heard at all means that the loop was interrupted.
    let beside = tokio::time::sleep(Duration::from_millis(1));
    let ((), ran) = tokio::join!(beside, spinning);
    says(&ran, &["used its 100 ms of CPU time", "raise limits.cpu"]);
    assert!(
        ran.usage.cpu >= Duration::from_millis(100) && ran.usage.cpu < Duration::from_millis(200),
        "{:?}",
        ran.usage
    );
    fixture.unharmed().await;
}

#[tokio::test]
async fn waiting_too_long_ends_with_the_wall_time_and_costs_no_cpu_time() {
    let fixture = Fixture::new();
    let limits = Limits { wall: Duration::from_millis(200), ..Limits::default() };
    let ran = fixture.attack("sleep", "", &nothing(), &limits).await;
    says(&ran, &["did not finish within 200 ms", "raise limits.wall"]);
    assert!(ran.usage.cpu < Duration::from_millis(100));
}

#[tokio::test]
async fn a_dropped_run_gives_everything_back() {
    let fixture = Fixture::new();
    let plugin = fixture.load("hostile").await;
    let (grants, limits) = (nothing(), Limits::default());
    let run = plugin.check(&grants, &limits, "waits", r#"{"do": "sleep"}"#);
    tokio::time::timeout(Duration::from_millis(100), run).await.unwrap_err();
    fixture.unharmed().await;
}

#[tokio::test]
async fn a_memory_bomb_ends_at_its_limit() {
    let fixture = Fixture::new();
    let ran = fixture.attack("eat", "", &nothing(), &Limits { cpu: Duration::from_secs(5), ..Limits::default() }).await;
    says(&ran, &["asked for more than its 16 MiB of memory", "raise limits.memory"]);
    assert!(ran.usage.memory_bytes_peak <= 16 << 20);
}

#[tokio::test]
async fn the_memory_of_all_runs_together_is_bounded() {
    let fixture = Fixture::with(Some(crate::fixture::shared_cache()), 8 << 20, rustls::RootCertStore::empty());
    let ran = fixture.attack("eat", "", &nothing(), &Limits { cpu: Duration::from_secs(5), ..Limits::default() }).await;
    says(&ran, &["more than their 8 MiB together", "plugin_memory_max"]);
}

#[tokio::test]
async fn an_overflowing_stack_a_panic_and_an_exit_say_what_they_are() {
    let fixture = Fixture::new();
    let limits = Limits { cpu: Duration::from_secs(5), ..Limits::default() };
    says(&fixture.attack("recurse", "", &nothing(), &limits).await, &["broke down", "endless recursion"]);
    let ran = fixture.attack("panic", "over tea", &nothing(), &limits).await;
    says(&ran, &["it gave up (a panic or abort)", "told to panic: over tea"]);
    says(&fixture.attack("exit", "", &nothing(), &limits).await, &["it exited with", "instead of returning"]);
}

#[tokio::test]
async fn long_output_is_cut_and_endless_output_ends_with_the_cpu_time() {
    let fixture = Fixture::new();
    let ran = fixture.attack("output", "5000000", &nothing(), &Limits::default()).await;
    assert_eq!(ran.result.unwrap().output.len(), 4096);

    let generous = Limits { memory_bytes: 64 << 20, cpu: Duration::from_secs(5), ..Limits::default() };
    let ran = fixture.attack("output", "20000000", &nothing(), &generous).await;
    says(&ran, &["hands over more than 9 MiB at once"]);

    let ran = fixture.attack("print", "", &nothing(), &Limits::default()).await;
    says(&ran, &["CPU time"]);
    assert!(ran.usage.log_lines_dropped > 0);
}

#[tokio::test]
async fn lines_are_counted_cut_and_free_of_control_characters() {
    let fixture = Fixture::new();
    let ran = fixture.attack("log", "1000", &nothing(), &Limits::default()).await;
    assert_eq!(ran.usage.log_lines_dropped, 1000 - 64);
    let lines: Vec<_> = fixture.log.0.lock().unwrap().iter().filter(|line| line.1 == "victim").cloned().collect();
    assert_eq!(lines.len(), 64 + 1);
    assert_eq!(lines[64].3, "936 more lines are left out: a run may write 64");
    assert_eq!(lines[3], ("hostile".into(), "victim".into(), LogLevel::Info, "line 3 forged".into()));

    fixture.attack("alias", "1000000", &nothing(), &Limits::default()).await;
    assert_eq!(fixture.log.messages().last().map(String::len), Some(1024));
}

#[tokio::test]
async fn metrics_that_break_the_rules_are_left_out() {
    let fixture = Fixture::new();
    let outcome = fixture.attack("pass", "fine", &nothing(), &Limits::default()).await.result.unwrap();
    let names: Vec<&str> = outcome.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!((outcome.status, names), (Status::Passing, vec!["good"]));
}

#[tokio::test]
async fn a_granted_directory_is_read_and_nothing_else() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("file"), "contents").unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("absolute")).unwrap();
    let grant = DirectoryGrant::parse(&format!("{}=/data", inside.display())).unwrap();
    let grants = Grants { directories: vec![grant], ..Grants::default() };
    let limits = Limits::default();
    let ran = fixture.attack("read", "/data/file", &grants, &limits).await;
    assert_eq!(ran.result.unwrap().output, "contents");
    for path in ["/data/../secret", "/data/link", "/data/absolute", "/etc/passwd"] {
        let outcome = fixture.attack("read", path, &grants, &limits).await.result.unwrap();
        assert_eq!(outcome.status, Status::Critical, "{path}: {}", outcome.output);
        assert!(!outcome.output.contains("secret"), "{path}: {}", outcome.output);
    }
    let outcome = fixture.attack("write", "/data/file", &grants, &limits).await.result.unwrap();
    assert_eq!(outcome.status, Status::Critical);
    assert_eq!(std::fs::read_to_string(inside.join("file")).unwrap(), "contents");
}

#[tokio::test]
async fn a_granted_directory_that_is_not_there_is_named() {
    let fixture = Fixture::new();
    let grants = Grants { directories: vec![DirectoryGrant::parse("/no/such/folder").unwrap()], ..Grants::default() };
    let ran = fixture.attack("pass", "", &grants, &Limits::default()).await;
    says(&ran, &["could not be started", "allow.directories grants /no/such/folder", "No such file"]);
    assert!(matches!(ran.result.unwrap_err().kind, FailureKind::NotStarted(_)));
}

#[tokio::test]
async fn only_granted_variables_are_there() {
    let fixture = Fixture::new();
    let limits = Limits::default();
    let grants = Grants { environment: vec!["CARGO_PKG_NAME".to_owned()], ..Grants::default() };
    let ran = fixture.attack("variables", "", &grants, &limits).await;
    assert_eq!(ran.result.unwrap().output, "CARGO_PKG_NAME=agent-wasm ");
    says(&fixture.attack("variable", "PATH", &grants, &limits).await, &["Critical", "not found"]);
}
