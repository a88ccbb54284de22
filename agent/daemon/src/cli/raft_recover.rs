//! `operator raft recover`: makes a stopped server the only one, when most of the others are lost.
//!
//! Works on the data folder, without an agent. Shows what the folder holds
//! first and changes nothing unless it is told to. What is done to the log is
//! in [`agent_raft::recover`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_raft::Server;
use agent_raft::disk::Disk;
use agent_raft::disk::file::FileDisk;
use agent_raft::recover::Survivor;

use super::command::{Failure, Invocation};
use crate::env::Env;
use crate::persist::Persist;

/// The help.
pub const ABOUT: &str = "When most servers are lost for good, those that remain cannot elect a leader, and\nnothing can be written. This command makes one of them a data centre of its own\nagain: with all keys, services and sessions that it has, and without the others.\n\nStop all remaining servers. Run the command without -yes on each, as the user that\nthe agent runs as: it shows what the server has and changes nothing. Take the one\nwith the newest last entry, and run it there with -yes. Start that server: it leads\nalone. Start the others with empty data folders: they join it and get their votes.\n\nWrites that only the lost servers had are gone. Writes that were under way when the\nquorum was lost may turn out to be done. A lost server that comes back with its old\ndata folder is not let in; empty its folder first.";

/// `operator raft recover`.
pub fn recover(run: &mut Invocation) -> Result<(), Failure> {
    let failed = |reason: String| Failure::new(format!("could not recover: {reason}"));
    let data_dir = data_dir(run).map_err(failed)?;
    let id = node_id(run, &data_dir).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        let disk = FileDisk::open(&data_dir).await.map_err(|error| failed(error.to_string()))?;
        let done = recover_from(run, disk.clone(), &id).await;
        disk.close().await;
        done.map_err(failed)
    })?;
    if run.flags.bool("yes") {
        run.line("\nDone. Start this server: it leads alone. Start the others with empty data folders.");
        return Ok(());
    }
    Err(Failure::new(
        "Nothing was changed. Compare the last entries of all servers that remain: the highest term, then the \
         highest\nindex, has most. On that server alone, run this again with -yes.",
    ))
}

fn data_dir(run: &Invocation) -> Result<PathBuf, String> {
    let given = run.flags.last("data-dir").filter(|path| !path.is_empty());
    let data_dir = PathBuf::from(given.ok_or("-data-dir is missing: name the data folder of the stopped server")?);
    // Opening would create it.
    let log = data_dir.join("raft/raft.redb");
    match log.try_exists() {
        Ok(true) => Ok(data_dir),
        Ok(false) => Err(format!("{} is not there: this is not the data folder of a server", log.display())),
        Err(error) => Err(format!("{}: {error}", log.display())),
    }
}

fn node_id(run: &Invocation, data_dir: &Path) -> Result<String, String> {
    if let Some(id) = run.flags.last("node-id").filter(|id| !id.is_empty()) {
        return Ok(id.to_lowercase());
    }
    let file = data_dir.join("node-id");
    if !file.exists() {
        return Err(format!("{} is not there: name the server's node id with -node-id", file.display()));
    }
    Persist::new(data_dir.to_owned()).node_id(String::new).map_err(|error| error.to_string())
}

/// Shows what is there and, with `-yes`, does it.
async fn recover_from(run: &mut Invocation<'_>, disk: Arc<FileDisk>, id: &str) -> Result<(), String> {
    let survivor = Survivor::examine(disk, id).await.map_err(|error| error.to_string())?;
    for line in summary(&survivor) {
        run.line(&line);
    }
    if !run.flags.bool("yes") {
        return Ok(());
    }
    let random = Env::real().random;
    let cluster = (u128::from(random.u64()) << 64) | u128::from(random.u64());
    survivor.recover(cluster).await.map_err(|error| error.to_string())
}

fn summary(survivor: &Survivor) -> Vec<String> {
    let (term, index) = survivor.last_entry();
    let state = &survivor.state;
    let held = format!(
        "{} keys, {} nodes, {} services, {} sessions",
        state.kv.len(),
        state.nodes.len(),
        state.services.len(),
        state.sessions.len()
    );
    let mut lines = vec![
        format!("Server      {}", named(&survivor.server)),
        format!("Last entry  term {term}, index {index}"),
        format!("It holds    {held}"),
    ];
    match survivor.others.is_empty() {
        true => lines.push("To go on    alone, as it is already".to_owned()),
        false => lines.extend(survivor.others.iter().map(|server| format!("Without     {}", named(server)))),
    }
    lines
}

fn named(Server { id, node, address, voter }: &Server) -> String {
    format!("{node} ({id}, {address}{})", if *voter { "" } else { ", without a vote" })
}
