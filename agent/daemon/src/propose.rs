//! Every command this agent proposes goes through here, and is counted and timed.

use agent_core::state::{Applied, Command};
use agent_raft::Consensus;
use agent_raft::consensus::WriteError;

use crate::telemetry::{Counter, Metrics, Timer};

/// [`Consensus::write`], with what it cost in `metrics`.
///
/// # Errors
/// [`WriteError`].
pub async fn propose(consensus: &Consensus, metrics: &Metrics, command: Command) -> Result<Applied, WriteError> {
    let family = timer(&command);
    let started = tokio::time::Instant::now();
    metrics.count(Counter::Rpc);
    metrics.count(Counter::RaftApply);
    let applied = consensus.write(command).await;
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    if applied.is_ok() {
        metrics.time(Timer::RaftCommit, ms);
    }
    if let Some(family) = family {
        metrics.time(family, ms);
    }
    applied
}

fn timer(command: &Command) -> Option<Timer> {
    match command {
        Command::Register(_) => Some(Timer::CatalogRegister),
        Command::Deregister { .. } => Some(Timer::CatalogDeregister),
        Command::Kv(_) => Some(Timer::KvsApply),
        Command::SessionCreate(_) | Command::SessionDestroy { .. } => Some(Timer::SessionApply),
        Command::Txn(_) => Some(Timer::TxnApply),
        Command::TombstoneReap { .. }
        | Command::Autopilot { .. }
        | Command::PluginChunk { .. }
        | Command::PluginSet { .. }
        | Command::PluginRemove { .. } => None,
    }
}
