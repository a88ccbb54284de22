//! What the rest of the agent can ask of its pool.
//!
//! Cheap to clone. The roster and the events heard are published: reading them
//! costs nothing and waiting for a change is a future. Everything else goes
//! through the loop and comes back.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_core::gossip::{Fired, Gossip, KeyOperation, KeyReport, Member, Tags};
use tokio::sync::{mpsc, oneshot};

use super::addresses;
use super::heard::Heard;
use super::published::Published;
use super::streams::Limits;
use crate::config::error_list;

/// Who is in the pool, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Grows with every change; never zero.
    pub version: u64,
    /// Every member, ourselves included, in the order of names.
    pub members: Vec<Member>,
}

impl Roster {
    pub(super) fn of(machine: &Gossip, version: u64) -> Roster {
        Roster { version, members: machine.members().collect() }
    }
}

/// What came of a join: how many answered, and those that did not, with the reason.
pub(super) type Joined = (usize, Vec<(SocketAddr, String)>);

/// Something to look at the machine with.
pub(super) type Look = Box<dyn FnOnce(&Gossip) + Send>;

/// Something the loop is asked for.
pub(super) enum Request {
    Look(Look),
    Join { addresses: Vec<SocketAddr>, reply: oneshot::Sender<Joined> },
    Leave { reply: oneshot::Sender<()> },
    ForceLeave { name: String, prune: bool, reply: oneshot::Sender<bool> },
    SetTags { tags: Tags },
    Fire { fired: Fired, reply: oneshot::Sender<()> },
    Keys { operation: KeyOperation, reply: oneshot::Sender<KeyReport> },
}

/// Why the loop did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GossipError {
    /// The agent is shutting down.
    Stopped,
}

impl fmt::Display for GossipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GossipError::Stopped => f.write_str("the agent is shutting down"),
        }
    }
}

impl std::error::Error for GossipError {}

/// Why a join reached nobody. Displays as Consul's list of reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinError {
    /// One reason for each address.
    pub reasons: Vec<String>,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_list(&self.reasons))
    }
}

impl std::error::Error for JoinError {}

/// The door to the pool. Cheap to clone.
#[derive(Clone)]
pub struct GossipHandle {
    requests: mpsc::Sender<Request>,
    roster: Published<Roster>,
    heard: Published<Heard>,
    limits: Arc<Limits>,
    port: u16,
}

impl GossipHandle {
    pub(super) fn new(
        requests: mpsc::Sender<Request>,
        roster: Published<Roster>,
        heard: Published<Heard>,
        limits: Arc<Limits>,
        port: u16,
    ) -> Self {
        GossipHandle { requests, roster, heard, limits, port }
    }

    /// The port this agent listens on, which is taken for others' when an address names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many streams were closed at once because too many were open.
    pub fn refused_streams(&self) -> u64 {
        self.limits.refused.load(Ordering::Relaxed)
    }

    /// Who is in the pool. Published when a member comes, changes, fails, leaves or is forgotten.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.get()
    }

    /// The first roster with another version than `seen`; never resolves when the loop is gone.
    pub async fn roster_changed(&self, seen: u64) -> Arc<Roster> {
        self.roster.wait_for(|roster| roster.version != seen).await
    }

    /// The user events that concern this agent.
    pub fn heard(&self) -> Arc<Heard> {
        self.heard.get()
    }

    /// What was heard once it has another version than `seen`; never resolves when the loop is gone.
    pub async fn heard_more(&self, seen: u64) -> Arc<Heard> {
        self.heard.wait_for(|heard| heard.version != seen).await
    }

    /// Looks at the machine: members as of now, figures, counters, coordinates, keys. `look` must be quick.
    ///
    /// # Errors
    /// [`GossipError::Stopped`].
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Gossip) -> T + Send + 'static,
    ) -> Result<T, GossipError> {
        self.ask(|reply| {
            Request::Look(Box::new(move |machine| {
                // Whoever asked may be gone.
                let _ = reply.send(look(machine));
            }))
        })
        .await
    }

    /// Joins the pool of whoever is at these hosts (names or addresses, with or without a port). Returns how many
    /// answered, at least one.
    ///
    /// # Errors
    /// Nobody did; the reasons, in Consul's words.
    pub async fn join(&self, hosts: &[String]) -> Result<usize, JoinError> {
        let (found, mut reasons) = addresses::resolve(hosts, self.port).await;
        let (contacted, failures) = match found.is_empty() {
            true => (0, Vec::new()),
            false => self
                .ask(|reply| Request::Join { addresses: found, reply })
                .await
                .map_err(|error| JoinError { reasons: vec![error.to_string()] })?,
        };
        reasons.extend(failures.iter().map(|(to, reason)| format!("Failed to join {}: {reason}", to.ip())));
        if contacted > 0 { Ok(contacted) } else { Err(JoinError { reasons }) }
    }

    /// Leaves on purpose. Returns when the pool was told, or its time for that is over.
    ///
    /// # Errors
    /// [`GossipError::Stopped`].
    pub async fn leave(&self) -> Result<(), GossipError> {
        self.ask(|reply| Request::Leave { reply }).await
    }

    /// Makes a failed member count as left, and with `prune` forgets it at once. Says whether there is such a member.
    ///
    /// # Errors
    /// [`GossipError::Stopped`].
    pub async fn force_leave(&self, name: &str, prune: bool) -> Result<bool, GossipError> {
        self.ask(|reply| Request::ForceLeave { name: name.to_owned(), prune, reply }).await
    }

    /// Says something else about ourselves from now on.
    ///
    /// # Errors
    /// [`GossipError::Stopped`].
    pub async fn set_tags(&self, tags: Tags) -> Result<(), GossipError> {
        self.requests.send(Request::SetTags { tags }).await.map_err(|_| GossipError::Stopped)
    }

    /// Fires a user event, which must be within the limit ([`Fired::within`]). We hear it too.
    ///
    /// # Errors
    /// [`GossipError::Stopped`].
    pub async fn fire(&self, fired: Fired) -> Result<(), GossipError> {
        self.ask(|reply| Request::Fire { fired, reply }).await
    }

    /// Asks every member to list or change its keys.
    ///
    /// # Errors
    /// [`GossipError::Stopped`].
    pub async fn keys(&self, operation: KeyOperation) -> Result<KeyReport, GossipError> {
        self.ask(|reply| Request::Keys { operation, reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, GossipError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| GossipError::Stopped)?;
        answer.await.map_err(|_| GossipError::Stopped)
    }
}
