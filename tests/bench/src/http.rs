//! Load over HTTP: clients that render a request each turn and check the answer's status.

use std::io;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::load::{Client, Outcome, Plan, run};
use crate::subject::{Subject, Target};
use crate::wire::Connection;

/// Which request comes next.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The number of the client.
    pub client: usize,
    /// Counts up from zero for each client.
    pub turn: u64,
}

impl Turn {
    /// A number below `count`, spread evenly and differently for each client.
    pub fn pick(self, count: u64) -> u64 {
        (self.client as u64 * 7_919 + self.turn * 104_729) % count
    }
}

struct Asker<R> {
    number: usize,
    connection: Connection,
    request: Vec<u8>,
    render: R,
}

impl<R: Fn(Turn, &mut Vec<u8>) + 'static> Client for Asker<R> {
    async fn exchange(&mut self, turn: u64) -> io::Result<()> {
        self.request.clear();
        (self.render)(Turn { client: self.number, turn }, &mut self.request);
        let head = self.connection.exchange(&self.request).await?;
        if head.status == 200 && self.connection.body != b"false" {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&self.connection.body);
        Err(io::Error::other(format!("status {}: {body}", head.status)))
    }
}

/// Runs HTTP load; `render` writes the request of a turn.
///
/// # Errors
/// A client cannot connect, or the agent is gone. Errors of exchanges are in the outcome.
pub fn load<R>(plan: Plan, target: &impl Target, render: R) -> io::Result<Outcome>
where
    R: Fn(Turn, &mut Vec<u8>) + Copy + Sync + 'static,
{
    let address = target.api();
    run(plan, target, |number| async move {
        let connection = Connection::open(address).await?;
        Ok(Asker { number, connection, request: Vec::new(), render })
    })
}

/// Sends `count` different requests once each, over `clients` connections, and expects success.
///
/// # Errors
/// The first request that fails.
pub fn each<R>(subject: &Subject, clients: usize, count: u64, render: R) -> io::Result<()>
where
    R: Fn(u64, &mut Vec<u8>) + Copy + 'static,
{
    let address = subject.api();
    let share = move |number: usize| async move {
        let connection = Connection::open(address).await?;
        let render = move |turn: Turn, request: &mut Vec<u8>| render(turn.turn, request);
        let mut asker = Asker { number, connection, request: Vec::new(), render };
        for turn in (number as u64..count).step_by(clients) {
            asker.exchange(turn).await?;
        }
        Ok::<(), io::Error>(())
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let running: Vec<_> = (0..clients).map(|number| tasks.spawn_local(share(number))).collect();
    tasks.block_on(&runtime, async {
        for task in running {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}
