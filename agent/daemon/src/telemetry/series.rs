//! One series of values: what came in during the running interval, the one before, and since the start.
//!
//! Intervals have numbers (wall time divided by their length), and a series looks
//! at them only when a value comes in or somebody reads. Nothing has to tick, so
//! an idle agent stays idle. Threads write to parts of their own, because memory
//! that two processors write in turns costs more than everything else here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of a series. More threads than this share them.
const PARTS: usize = 4;

/// The latest values that quantiles are taken of.
const RECENT_MAX: usize = 64;

/// What is known of the values of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Aggregate {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least, zero when there are none.
    pub min: f64,
    /// The greatest, zero when there are none.
    pub max: f64,
    sum_of_squares: f64,
}

impl Aggregate {
    fn add(&mut self, value: f64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    fn merge(&mut self, other: &Aggregate) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = if self.count == 0 { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
    }

    /// The mean, zero when there are none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// The standard deviation of a sample, zero for fewer than two values.
    pub fn stddev(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = self.count as f64;
        let variance = (count * self.sum_of_squares - self.sum * self.sum) / (count * (count - 1.0));
        variance.max(0.0).sqrt()
    }
}

/// Values since the start, with what is typical of the latest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The 0.5, 0.9 and 0.99 quantiles of the latest values; not a number when the series has been silent.
    pub quantiles: [f64; 3],
}

/// A series. Shared; every call holds a lock of its own for a few instructions.
pub struct Series([Part; PARTS]);

/// Alone in its cache lines.
#[repr(align(128))]
struct Part(Mutex<Values>);

impl Part {
    /// Every change of `Values` is complete in itself, so a panic elsewhere leaves it usable.
    fn lock(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Values {
    total: Aggregate,
    running: (u64, Aggregate),
    finished: (u64, Aggregate),
    recent: Vec<f32>,
    /// Where the next value goes once `recent` is full.
    oldest: usize,
    keeps_recent: bool,
}

/// The part that this thread writes to.
fn own_part() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PARTS;
    }
    OWN.with(|own| *own)
}

impl Series {
    /// An empty series; `timed` ones keep their latest values for quantiles.
    pub fn new(timed: bool) -> Self {
        Series(std::array::from_fn(|_| Part(Mutex::new(Values::new(timed)))))
    }

    /// Adds `value` during `interval`.
    pub fn add(&self, interval: u64, value: f64) {
        let mut values = self.0[own_part()].lock();
        if values.running.0 != interval {
            values.finished = values.running;
            values.running = (interval, Aggregate::default());
        }
        values.running.1.add(value);
        values.total.add(value);
        if values.keeps_recent {
            values.remember(value as f32);
        }
    }

    /// The values of `interval`, if any came in during it and it is one of the last two with any.
    pub fn during(&self, interval: u64) -> Option<Aggregate> {
        let mut found = Aggregate::default();
        for part in &self.0 {
            let values = part.lock();
            for (number, aggregate) in [&values.running, &values.finished] {
                if *number == interval {
                    found.merge(aggregate);
                }
            }
        }
        Some(found).filter(|aggregate| aggregate.count > 0)
    }

    /// All values, seen from `interval`.
    pub fn total(&self, interval: u64) -> Total {
        let mut total = Aggregate::default();
        let mut recent: Vec<f32> = Vec::new();
        for part in &self.0 {
            let values = part.lock();
            total.merge(&values.total);
            if values.running.0 + 1 >= interval {
                recent.extend(&values.recent);
            }
        }
        recent.sort_by(f32::total_cmp);
        let quantile = |q: f64| match recent.len() {
            0 => f64::NAN,
            count => f64::from(recent[((count as f64 * q).ceil() as usize).clamp(1, count) - 1]),
        };
        Total { count: total.count, sum: total.sum, quantiles: [quantile(0.5), quantile(0.9), quantile(0.99)] }
    }
}

impl Values {
    fn new(keeps_recent: bool) -> Self {
        let none = (0, Aggregate::default());
        Values { total: none.1, running: none, finished: none, recent: Vec::new(), oldest: 0, keeps_recent }
    }

    fn remember(&mut self, value: f32) {
        if self.recent.len() < RECENT_MAX {
            return self.recent.push(value);
        }
        self.recent[self.oldest] = value;
        self.oldest = (self.oldest + 1) % RECENT_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_keeps_its_values_while_the_next_one_runs() {
        let series = Series::new(true);
        series.add(7, 2.0);
        series.add(7, 4.0);
        series.add(8, 100.0);
        let seven = series.during(7).expect("values came in during it");
        assert_eq!((seven.count, seven.min, seven.max, seven.mean()), (2, 2.0, 4.0, 3.0));
        assert!((seven.stddev() - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(series.during(9), None);
    }

    #[test]
    fn what_threads_add_is_seen_as_one() {
        let series = Series::new(true);
        series.add(6, 9.0);
        std::thread::scope(|scope| {
            for value in 1..=PARTS * 2 {
                let series = &series;
                scope.spawn(move || series.add(7, value as f64));
            }
        });
        let seven = series.during(7).expect("values came in during it");
        assert_eq!((seven.count, seven.min, seven.max, seven.sum), (8, 1.0, 8.0, 36.0));
        assert_eq!(series.total(7).count, 9);
    }

    #[test]
    fn quantiles_are_of_the_latest_values_and_end_with_silence() {
        let series = Series::new(true);
        for value in 0..200 {
            series.add(7, f64::from(value));
        }
        assert_eq!(series.total(8).quantiles, [167.0, 193.0, 199.0]);
        assert!(series.total(9).quantiles.iter().all(|quantile| quantile.is_nan()));
        assert_eq!(series.total(9).count, 200);
    }
}
