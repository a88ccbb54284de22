//! The async runtime as openraft sees it: tokio, made repeatable.
//!
//! Two things of stock tokio differ from run to run even on a paused clock:
//! its random generator and the order in which a `watch` wakes its waiters.
//! Here the generator can be seeded per thread ([`seed`]) and the watch wakes
//! first come, first served; the rest is tokio's. One type serves production
//! and simulation, so what is simulated is what runs.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use openraft::impls::TokioRuntime;
use openraft::{AsyncRuntime, OptionalSend};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::watch::FifoWatch;

thread_local! {
    static NEXT_SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes every random choice of Raft on this thread follow from `seed`. For simulations, which run on one thread.
pub fn seed(seed: u64) {
    NEXT_SEED.set(Some(seed));
}

/// The seed of the next generator: the successor of the thread's seed, or random when none was set.
fn next_seed() -> u64 {
    match NEXT_SEED.get() {
        Some(seed) => {
            NEXT_SEED.set(Some(seed.wrapping_add(1)));
            seed
        }
        None => rand::random(),
    }
}

/// Tokio with a seedable generator and a first-come-first-served watch.
#[derive(Debug)]
pub struct Rt(TokioRuntime);

impl AsyncRuntime for Rt {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = FifoWatch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SmallRng::seed_from_u64(next_seed())
    }

    fn new(threads: usize) -> Self {
        Rt(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_choices() {
        let draw = || {
            seed(7);
            [Rt::thread_rng().next_u64(), Rt::thread_rng().next_u64()]
        };

        let first = draw();

        assert_eq!(first, draw());
        assert_ne!(first[0], first[1]);
    }
}
