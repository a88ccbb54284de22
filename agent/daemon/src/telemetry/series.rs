//! One series of values: what came in during the running interval, the one before, and since the start.
//!
//! Intervals have numbers (wall time divided by their length), and a series looks
//! at them only when a value comes in or somebody reads. Nothing has to tick, so
//! an idle agent stays idle.

use std::sync::{Mutex, PoisonError};

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
pub struct Series(Mutex<Values>);

struct Values {
    total: Aggregate,
    running: (u64, Aggregate),
    finished: (u64, Aggregate),
    recent: Vec<f32>,
    /// Where the next value goes once `recent` is full.
    oldest: usize,
    keeps_recent: bool,
}

impl Series {
    /// An empty series; `timed` ones keep their latest values for quantiles.
    pub fn new(timed: bool) -> Self {
        let recent = Vec::with_capacity(if timed { RECENT_MAX } else { 0 });
        let none = (0, Aggregate::default());
        let values = Values { total: none.1, running: none, finished: none, recent, oldest: 0, keeps_recent: timed };
        Series(Mutex::new(values))
    }

    /// Adds `value` during `interval`.
    pub fn add(&self, interval: u64, value: f64) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = [values.running, values.finished].into_iter().find(|(number, _)| *number == interval);
        found.map(|(_, aggregate)| aggregate).filter(|aggregate| aggregate.count > 0)
    }

    /// All values, seen from `interval`.
    pub fn total(&self, interval: u64) -> Total {
        let (total, newest, mut recent) = {
            let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (values.total, values.running.0, values.recent.clone())
        };
        if newest + 1 < interval {
            recent.clear();
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
