//! Latencies, counted in buckets.
//!
//! Sixty-four buckets to each power of two of nanoseconds: a quantile is off by at most 1.6 %, recording is
//! an addition, and the memory is a few KiB whatever the number of samples. It never keeps a sample.

use std::time::Duration;

/// Buckets to a power of two, as a power of two.
const FINENESS: u32 = 6;
/// Enough for 2^42 nanoseconds, more than an hour; what is longer counts as that.
const BUCKETS: usize = ((42 - FINENESS as usize) + 1) << FINENESS;

/// How often each latency was seen.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, longest: Duration::ZERO }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.longest = self.longest.max(latency);
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// How many latencies were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest latency, exactly.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The latency that `share` (0 to 1) of the samples did not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper(index)).min(self.longest);
            }
        }
        self.longest
    }
}

/// The bucket of a latency: exact below 2^FINENESS, then the leading FINENESS + 1 bits.
fn bucket(nanoseconds: u64) -> usize {
    let magnitude = nanoseconds.checked_ilog2().unwrap_or(0);
    let shift = magnitude.saturating_sub(FINENESS);
    let index = ((shift as usize) << FINENESS) + (nanoseconds >> shift) as usize;
    index.min(BUCKETS - 1)
}

/// The largest latency of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> FINENESS).saturating_sub(1);
    ((index - (shift << FINENESS) + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket() {
        for nanoseconds in (0..200).chain([1_000, 65_535, 65_536, 1_234_567, 999_999_999, 60_000_000_000]) {
            let top = upper(bucket(nanoseconds));
            assert!(top >= nanoseconds, "{nanoseconds} is above its bucket's {top}");
            assert!(top - nanoseconds <= nanoseconds / 64, "{nanoseconds} is far below its bucket's {top}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        let near = |share: f64, microseconds: f64| {
            let found = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((found / microseconds - 1.0).abs() < 0.02, "{share}: {found} instead of {microseconds}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        near(1.0, 1000.0);
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
