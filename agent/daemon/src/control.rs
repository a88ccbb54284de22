//! What the API and signals ask of the agent as a whole: reload, leave.
//!
//! A request travels to the agent's main loop and comes back with its result.
//! The loop itself is in [`crate::agent`].

use std::fmt;

use tokio::sync::{mpsc, oneshot};

/// Requests waiting for the main loop; more wait at the sender.
const QUEUE: usize = 16;

/// Something only the main loop can do.
#[derive(Debug)]
pub enum Control {
    /// Read the configuration again and apply what can change while running.
    Reload {
        /// The result: an error names what is wrong in the files; nothing was changed then.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Leave the data centre in good order and exit with success.
    Leave {
        /// Answered when the agent has left and is about to exit.
        reply: oneshot::Sender<Result<(), String>>,
    },
}

/// The door to the main loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    requests: mpsc::Sender<Control>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The agent refused it and runs on as before.
    Failed(String),
    /// The agent is shutting down.
    Stopped,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Failed(why) => f.write_str(why),
            ControlError::Stopped => f.write_str("the agent is shutting down"),
        }
    }
}

impl std::error::Error for ControlError {}

/// The door, and what comes through it.
pub fn channel() -> (ControlHandle, mpsc::Receiver<Control>) {
    let (requests, receiver) = mpsc::channel(QUEUE);
    (ControlHandle { requests }, receiver)
}

impl ControlHandle {
    /// Reads the configuration again.
    ///
    /// # Errors
    /// [`ControlError::Failed`] says what is wrong in the configuration; the agent runs on with the old one.
    pub async fn reload(&self) -> Result<(), ControlError> {
        self.request(|reply| Control::Reload { reply }).await
    }

    /// Leaves and makes the agent exit.
    ///
    /// # Errors
    /// [`ControlError::Stopped`] when it is on its way out already.
    pub async fn leave(&self) -> Result<(), ControlError> {
        self.request(|reply| Control::Leave { reply }).await
    }

    async fn request(
        &self,
        control: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Control,
    ) -> Result<(), ControlError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(control(reply)).await.map_err(|_| ControlError::Stopped)?;
        answer.await.map_err(|_| ControlError::Stopped)?.map_err(ControlError::Failed)
    }
}
