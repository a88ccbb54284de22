//! Many who ask the same at the same time share one answer.
//!
//! Who asks while a round is under way waits for the next one: an answer
//! found before the question would be too old for a linearizable read. So any
//! number of concurrent reads cost two round trips to the leader at most.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The first pause after a round that failed; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(2);

/// The longest pause between two rounds.
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Rounds of one question.
pub(crate) struct Rounds<T> {
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    running: bool,
    next: Vec<oneshot::Sender<T>>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Rounds { waiting: Mutex::new(Waiting { running: false, next: Vec::new() }) }
    }
}

impl<T: Clone + Send + 'static> Rounds<T> {
    /// Waits for the answer of a round that begins after this call. `ask` tries once and says `None` to be asked again.
    ///
    /// Nobody is asked any more once nobody waits. `None` when the one who asks is gone.
    pub(crate) async fn join<A>(self: &Arc<Self>, ask: impl Fn() -> A + Send + 'static) -> Option<T>
    where
        A: Future<Output = Option<T>> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let must_run = {
            let mut waiting = self.waiting();
            waiting.next.push(sender);
            !std::mem::replace(&mut waiting.running, true)
        };
        if must_run {
            tokio::spawn(run(Runner { rounds: self.clone(), done: false }, ask));
        }
        answer.await.ok()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever runs the rounds. When it ends, however that comes, the next to ask starts another.
struct Runner<T> {
    rounds: Arc<Rounds<T>>,
    /// It said so itself.
    done: bool,
}

impl<T> Drop for Runner<T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut waiting = self.rounds.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.running = false;
        waiting.next.clear();
    }
}

async fn run<T, A>(mut runner: Runner<T>, ask: impl Fn() -> A)
where
    T: Clone + Send + 'static,
    A: Future<Output = Option<T>>,
{
    let mut asking = Vec::new();
    let mut pause = PAUSE;
    loop {
        {
            let mut waiting = runner.rounds.waiting();
            asking.append(&mut waiting.next);
            asking.retain(|sender: &oneshot::Sender<T>| !sender.is_closed());
            if asking.is_empty() {
                // Under the same lock as the look: nobody joins in between and is forgotten.
                waiting.running = false;
                drop(waiting);
                runner.done = true;
                return;
            }
        }
        match ask().await {
            Some(answer) => {
                // Who has gone meanwhile needs no answer.
                asking.drain(..).for_each(|sender| drop(sender.send(answer.clone())));
                pause = PAUSE;
            }
            None => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Asks take a second each and answer how many there were.
    fn counter() -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Option<u32>> + Send>> + Clone + Send + 'static {
        let asked = Arc::new(AtomicU32::new(0));
        move || {
            let asked = asked.clone();
            Box::pin(async move {
                let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some(number)
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_during_a_round_gets_the_next_one() {
        let (rounds, ask) = (Arc::new(Rounds::default()), counter());
        let join = || {
            tokio::spawn({
                let (rounds, ask) = (rounds.clone(), ask.clone());
                async move { rounds.join(ask).await }
            })
        };
        let first = join();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let later: Vec<_> = (0..100).map(|_| join()).collect();

        assert_eq!(first.await.unwrap(), Some(1));
        for later in later {
            assert_eq!(later.await.unwrap(), Some(2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_once_nobody_waits() {
        let rounds = Arc::new(Rounds::<u32>::default());
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let never = move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { None }
        };

        let answer = tokio::time::timeout(Duration::from_secs(1), rounds.join(never)).await;

        assert!(answer.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(asked.load(Ordering::Relaxed), before);
        assert_eq!(rounds.join(|| async { Some(7) }).await, Some(7));
    }

    #[tokio::test]
    async fn a_round_that_breaks_does_not_stop_those_after_it() {
        let rounds = Arc::new(Rounds::<u32>::default());

        let broken = rounds.join(|| async { panic!("a broken round") }).await;

        assert_eq!(broken, None);
        assert_eq!(rounds.join(|| async { Some(7) }).await, Some(7));
    }
}
