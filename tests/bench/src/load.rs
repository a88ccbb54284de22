//! Fixed concurrency for a fixed time: every client repeats its exchange as fast as answers come.
//!
//! A thread for each core, an event loop on each thread, a task for each client. All clients connect before the
//! first one starts. What ends inside the window after the warm-up is counted; the agent's counters are read at
//! both ends of the window. It knows neither HTTP nor DNS: the exchange is given.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout_at};

use crate::histogram::Histogram;
use crate::options::Options;
use crate::process::{Usage, own_usage};
use crate::report::{ANONYMOUS, CPU, Figure, GENERATOR, P50, P99, RATE, RESIDENT, mib};
use crate::subject::Target;

/// How long after the window an answer may still come before it counts as an error.
const GRACE: Duration = Duration::from_secs(10);

/// One client of the load.
pub trait Client: 'static {
    /// Asks once and checks the answer; `turn` counts up from zero.
    ///
    /// # Errors
    /// No answer or a wrong one: this client stops.
    fn exchange(&mut self, turn: u64) -> impl Future<Output = io::Result<()>>;
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients at once.
    pub clients: usize,
    /// Load before the window.
    pub warm_up: Duration,
    /// The window.
    pub length: Duration,
}

impl Plan {
    /// `clients` at once for the usual time.
    pub fn of(options: &Options, clients: usize) -> Plan {
        Plan { clients, warm_up: options.warm_up, length: options.length }
    }
}

/// What the clients saw.
#[derive(Debug)]
pub struct Seen {
    /// The latency of each exchange that ended inside the window.
    pub latency: Histogram,
    /// Clients that stopped early.
    pub errors: u64,
    /// What the first of them met.
    pub first_error: Option<String>,
}

/// What a load showed.
pub struct Outcome {
    /// What the clients saw.
    pub seen: Seen,
    /// The agent's counters at the start of the window.
    pub before: Usage,
    /// The agent's counters at its end.
    pub after: Usage,
    /// Processor time the load generator used in the window.
    own_cpu: Duration,
    length: Duration,
}

impl Outcome {
    /// Exchanges inside the window; at least one.
    pub fn exchanges(&self) -> f64 {
        self.seen.latency.total().max(1) as f64
    }

    /// The usual figures of a line.
    pub fn figures(&self, line: &'static str) -> Vec<Figure> {
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        let figure = |metric, value| Figure { line, metric, value };
        vec![
            figure(RATE, self.exchanges() / self.length.as_secs_f64()),
            figure(P50, micros(self.seen.latency.quantile(0.5))),
            figure(P99, micros(self.seen.latency.quantile(0.99))),
            figure(CPU, micros(self.after.cpu - self.before.cpu) / self.exchanges()),
            figure(GENERATOR, micros(self.own_cpu) / self.exchanges()),
            figure(RESIDENT, mib(self.after.resident)),
            figure(ANONYMOUS, mib(self.after.anonymous)),
        ]
    }

    /// Nothing but success is worth a figure.
    ///
    /// # Errors
    /// A client met an error.
    pub fn without_errors(self) -> io::Result<Outcome> {
        match &self.seen.first_error {
            None => Ok(self),
            Some(error) => Err(io::Error::other(format!("{} clients stopped, the first: {error}", self.seen.errors))),
        }
    }
}

/// Runs the load; `open` makes the client of a number.
///
/// # Errors
/// A client cannot connect, or the agent is gone. Errors of exchanges are in the outcome.
pub fn run<C, O, F>(plan: Plan, target: &impl Target, open: O) -> io::Result<Outcome>
where
    C: Client,
    O: Fn(usize) -> F + Sync,
    F: Future<Output = io::Result<C>>,
{
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(plan.clients);
    let connected = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let (open, connected) = (&open, &connected);
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(plan, (thread..plan.clients).step_by(threads), open, connected)))
            .collect();
        connected.wait();
        let window = Window::from_now(plan);
        target.pause(plan.warm_up);
        let (before, own_before) = (target.usage()?, own_usage()?);
        target.pause(window.end.saturating_duration_since(Instant::now()));
        let (after, own_after) = (target.usage()?, own_usage()?);
        let mut seen = Seen { latency: Histogram::new(), errors: 0, first_error: None };
        for worker in workers {
            let part = worker.join().map_err(|_| io::Error::other("a load thread panicked"))??;
            seen.latency.add(&part.latency);
            seen.errors += part.errors;
            seen.first_error = seen.first_error.or(part.first_error);
        }
        Ok(Outcome { seen, before, after, own_cpu: own_after.cpu - own_before.cpu, length: plan.length })
    })
}

#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

impl Window {
    fn from_now(plan: Plan) -> Window {
        let start = Instant::now() + plan.warm_up;
        Window { start, end: start + plan.length }
    }
}

/// One thread's share of the clients.
fn work<C, O, F>(plan: Plan, numbers: impl Iterator<Item = usize>, open: &O, connected: &Barrier) -> io::Result<Seen>
where
    C: Client,
    O: Fn(usize) -> F,
    F: Future<Output = io::Result<C>>,
{
    let runtime = Builder::new_current_thread().enable_all().build();
    let clients = runtime.as_ref().ok().map(|runtime| {
        runtime.block_on(async {
            let mut clients = Vec::new();
            for number in numbers {
                clients.push(open(number).await?);
            }
            Ok::<_, io::Error>(clients)
        })
    });
    // Everyone waits for everyone, whatever went wrong here.
    connected.wait();
    let (runtime, Some(clients)) = (runtime?, clients) else { return Err(io::Error::other("no event loop")) };
    let window = Window::from_now(plan);
    let tasks = LocalSet::new();
    let running: Vec<_> = clients?.into_iter().map(|client| tasks.spawn_local(repeat(client, window))).collect();
    let mut seen = Seen { latency: Histogram::new(), errors: 0, first_error: None };
    tasks.block_on(&runtime, async {
        for client in running {
            let (latency, result) = client.await.map_err(io::Error::other)?;
            seen.latency.add(&latency);
            if let Err(error) = result {
                seen.errors += 1;
                seen.first_error.get_or_insert(error.to_string());
            }
        }
        Ok(seen)
    })
}

async fn repeat<C: Client>(mut client: C, window: Window) -> (Histogram, io::Result<()>) {
    let mut latency = Histogram::new();
    let repeated = async {
        let mut begun = Instant::now();
        for turn in 0.. {
            client.exchange(turn).await?;
            let ended = Instant::now();
            if ended >= window.end {
                break;
            }
            if ended >= window.start {
                latency.record(ended - begun);
            }
            begun = ended;
        }
        Ok(())
    };
    let result = timeout_at(window.end + GRACE, repeated).await.unwrap_or_else(|late| Err(late.into()));
    (latency, result)
}
