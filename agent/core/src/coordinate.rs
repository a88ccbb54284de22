//! Network coordinates: a map on which distance is round-trip time.
//!
//! Vivaldi (Dabek and others, SIGCOMM 2004) with the additions Consul's page
//! "Network Coordinates" names: eight dimensions and a height, an adjustment
//! from a window of recent errors, gravity towards the origin, and a median
//! over the last samples of each peer. Owns one member's place and how probes
//! move it; never probes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Dimensions of the map, the height not counted.
pub const DIMENSIONS: usize = 8;

/// How wrong a member that knows nothing thinks it is.
const ERROR_MAX: f64 = 1.5;

/// How fast the estimate of one's own error moves (`ce` in the paper).
const ERROR_STEP: f64 = 0.25;

/// How fast a place moves (`cc` in the paper).
const PLACE_STEP: f64 = 0.25;

/// Samples the adjustment is averaged over.
const ADJUSTMENT_WINDOW: usize = 20;

/// The least height, in seconds: the way from the host to its network is never free.
const HEIGHT_MIN: f64 = 10.0e-6;

/// Samples of one peer the median is taken of.
const LATENCY_SAMPLES: usize = 3;

/// How weak gravity is: at this many seconds from the origin the pull is one second.
const GRAVITY_RHO: f64 = 150.0;

/// Anything shorter is taken for nothing, in seconds.
const ZERO: f64 = 1.0e-6;

/// The longest round trip that is believed.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// The most peers whose samples are kept.
const PEERS_MAX: usize = 32 * 1024;

/// How many places all members together tell the servers a second, and how seldom one does at least
/// (Consul's page "Network Coordinates").
const TOLD_PER_SECOND: f64 = 64.0;
const TOLD_EVERY_MIN: Duration = Duration::from_secs(15);

/// How often a member of a pool of `members` tells the servers its place.
pub fn told_every(members: usize) -> Duration {
    Duration::from_secs_f64(members as f64 / TOLD_PER_SECOND).max(TOLD_EVERY_MIN)
}

/// A place on the map. All numbers are seconds, except `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// The place in eight dimensions.
    pub vector: [f64; DIMENSIONS],
    /// How sure the place is: 0 is certain, 1.5 knows nothing.
    pub error: f64,
    /// What the model gets wrong on average, to be added to distances.
    pub adjustment: f64,
    /// The way from the host to its network.
    pub height: f64,
}

impl Default for Coordinate {
    /// The origin, where everybody starts.
    fn default() -> Coordinate {
        Coordinate { vector: [0.0; DIMENSIONS], error: ERROR_MAX, adjustment: 0.0, height: HEIGHT_MIN }
    }
}

impl Coordinate {
    /// Whether every number is one. Anything else is refused where it comes in.
    pub fn is_valid(&self) -> bool {
        let rest = [self.error, self.adjustment, self.height];
        self.vector.iter().chain(&rest).all(|number| number.is_finite())
    }

    /// The estimated round trip between two places.
    pub fn distance(&self, other: &Coordinate) -> Duration {
        Duration::try_from_secs_f64(self.seconds_to(other)).unwrap_or(Duration::ZERO)
    }

    fn seconds_to(&self, other: &Coordinate) -> f64 {
        let raw = self.raw_seconds_to(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    fn raw_seconds_to(&self, other: &Coordinate) -> f64 {
        length(&difference(&self.vector, &other.vector)) + self.height + other.height
    }

    /// Moves away from `other` by `force` seconds; towards it when negative.
    fn push(&mut self, force: f64, other: &Coordinate, rng: &mut impl Rng) {
        let (unit, distance) = direction(&self.vector, &other.vector, rng);
        for (place, component) in self.vector.iter_mut().zip(unit) {
            *place += component * force;
        }
        if distance > ZERO {
            let height = (self.height + other.height) * force / distance + self.height;
            self.height = height.max(HEIGHT_MIN);
        }
    }
}

/// One member's place, and how measured round trips move it.
#[derive(Clone, Debug, Default)]
pub struct Locator {
    place: Coordinate,
    errors: [f64; ADJUSTMENT_WINDOW],
    next_error: usize,
    samples: BTreeMap<u32, Latency>,
    resets: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    seconds: [f64; LATENCY_SAMPLES],
    count: u8,
    next: u8,
}

impl Locator {
    /// Where we are.
    pub fn place(&self) -> &Coordinate {
        &self.place
    }

    /// How often the place had to be given up because a number overflowed.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Moves by one measured round trip to `peer`, which says it is at `theirs`.
    /// Impossible measurements and places are ignored.
    pub fn measure(&mut self, peer: u32, theirs: &Coordinate, round_trip: Duration, rng: &mut impl Rng) {
        if !theirs.is_valid() || round_trip > ROUND_TRIP_MAX {
            return;
        }
        let seconds = self.median_with(peer, round_trip.as_secs_f64());
        self.attract(theirs, seconds, rng);
        self.adjust(theirs, seconds);
        self.fall(rng);
        if !self.place.is_valid() {
            self.place = Coordinate::default();
            self.resets += 1;
        }
    }

    /// Forgets the samples of a peer that is gone.
    pub fn forget(&mut self, peer: u32) {
        self.samples.remove(&peer);
    }

    /// One lost packet must not move us: the median of the last samples does.
    fn median_with(&mut self, peer: u32, seconds: f64) -> f64 {
        if self.samples.len() >= PEERS_MAX && !self.samples.contains_key(&peer) {
            return seconds;
        }
        let latency = self.samples.entry(peer).or_default();
        latency.seconds[usize::from(latency.next)] = seconds;
        latency.next = (latency.next + 1) % LATENCY_SAMPLES as u8;
        latency.count = (latency.count + 1).min(LATENCY_SAMPLES as u8);
        let count = usize::from(latency.count);
        let mut sorted = latency.seconds;
        sorted[..count].sort_by(f64::total_cmp);
        sorted[count / 2]
    }

    /// The step of the paper: a spring between the two places, stiffer the surer the other is.
    fn attract(&mut self, theirs: &Coordinate, seconds: f64, rng: &mut impl Rng) {
        let distance = self.place.seconds_to(theirs);
        let seconds = seconds.max(ZERO);
        let wrongness = (distance - seconds).abs() / seconds;
        let total = (self.place.error + theirs.error).max(ZERO);
        let weight = self.place.error / total;
        let error = ERROR_STEP * weight * wrongness + self.place.error * (1.0 - ERROR_STEP * weight);
        self.place.error = error.min(ERROR_MAX);
        self.place.push(PLACE_STEP * weight * (seconds - distance), theirs, rng);
    }

    fn adjust(&mut self, theirs: &Coordinate, seconds: f64) {
        self.errors[self.next_error] = seconds - self.place.raw_seconds_to(theirs);
        self.next_error = (self.next_error + 1) % ADJUSTMENT_WINDOW;
        self.place.adjustment = self.errors.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
    }

    /// Without gravity the whole map drifts away from the origin.
    fn fall(&mut self, rng: &mut impl Rng) {
        let origin = Coordinate::default();
        let distance = origin.seconds_to(&self.place);
        let force = -(distance / GRAVITY_RHO).powi(2);
        self.place.push(force, &origin, rng);
    }
}

fn difference(to: &[f64; DIMENSIONS], from: &[f64; DIMENSIONS]) -> [f64; DIMENSIONS] {
    std::array::from_fn(|axis| to[axis] - from[axis])
}

fn length(vector: &[f64; DIMENSIONS]) -> f64 {
    vector.iter().map(|component| component * component).sum::<f64>().sqrt()
}

/// The unit vector from `from` to `to` and their distance; a random one for two members at the same place.
fn direction(to: &[f64; DIMENSIONS], from: &[f64; DIMENSIONS], rng: &mut impl Rng) -> ([f64; DIMENSIONS], f64) {
    let apart = difference(to, from);
    let distance = length(&apart);
    if distance > ZERO {
        return (apart.map(|component| component / distance), distance);
    }
    let random: [f64; DIMENSIONS] = std::array::from_fn(|_| rng.random::<f64>() - 0.5);
    let size = length(&random);
    if size > ZERO {
        return (random.map(|component| component / size), 0.0);
    }
    let mut axis = [0.0; DIMENSIONS];
    axis[0] = 1.0;
    (axis, 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn at(vector: [f64; DIMENSIONS], height: f64, adjustment: f64) -> Coordinate {
        Coordinate { vector, error: 0.5, adjustment, height }
    }

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn large_pools_tell_their_places_less_often() {
        assert_eq!([1, 960, 6400].map(|members| told_every(members).as_secs()), [15, 15, 100]);
    }

    #[test]
    fn distance_counts_heights_and_adjustments() {
        let near = at([0.0; DIMENSIONS], 0.001, 0.0);
        let far = at([0.003, 0.004, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.002, 0.002);
        assert_eq!(near.distance(&far).as_micros(), 10_000);
        let over_adjusted = at(far.vector, 0.002, -1.0);
        assert_eq!(near.distance(&over_adjusted).as_micros(), 8_000);
    }

    /// Members on a grid, probing at random, find distances close to the true ones.
    #[test]
    fn a_grid_is_found() {
        let mut rng = StdRng::seed_from_u64(7);
        let side = 5;
        let true_time = |a: usize, b: usize| {
            let (dx, dy) = ((a % side).abs_diff(b % side) as f64, (a / side).abs_diff(b / side) as f64);
            Duration::from_secs_f64(0.001 + 0.010 * dx.hypot(dy))
        };
        let mut members = vec![Locator::default(); side * side];
        for _ in 0..1000 {
            for a in 0..members.len() {
                let b = rng.random_range(0..members.len());
                if a != b {
                    let theirs = members[b].place().clone();
                    members[a].measure(b as u32, &theirs, true_time(a, b), &mut rng);
                }
            }
        }
        let pairs = (0..members.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let errors = pairs.map(|(a, b)| {
            let estimated = members[a].place().distance(members[b].place()).as_secs_f64();
            let truth = true_time(a, b).as_secs_f64();
            (estimated - truth).abs() / truth
        });
        let errors: Vec<f64> = errors.collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(mean < 0.10, "mean relative error {mean}");
    }

    #[test]
    fn one_slow_packet_does_not_move_a_member() {
        let mut rng = StdRng::seed_from_u64(1);
        let peer = Coordinate::default();
        let mut settled = Locator::default();
        for _ in 0..100 {
            settled.measure(1, &peer, milliseconds(10), &mut rng);
        }
        let before = settled.place().distance(&peer);
        settled.measure(1, &peer, milliseconds(900), &mut rng);
        let moved = settled.place().distance(&peer).abs_diff(before);
        assert!(moved < milliseconds(1), "{moved:?}");
    }

    #[test]
    fn impossible_measurements_are_ignored() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut member = Locator::default();
        member.measure(1, &at([f64::NAN; DIMENSIONS], 0.0, 0.0), milliseconds(1), &mut rng);
        member.measure(1, &Coordinate::default(), Duration::from_secs(11), &mut rng);
        assert_eq!(member.place(), &Coordinate::default());
    }

    proptest! {
        #[test]
        fn a_place_stays_a_place(numbers in prop::array::uniform8(any::<f64>()), error in any::<f64>(),
                                 height in any::<f64>(), adjustment in any::<f64>(), micros in 0u64..10_000_000) {
            let mut rng = StdRng::seed_from_u64(3);
            let mut member = Locator::default();
            let theirs = Coordinate { vector: numbers, error, adjustment, height };
            for _ in 0..3 {
                member.measure(1, &theirs, Duration::from_micros(micros), &mut rng);
                prop_assert!(member.place().is_valid());
                let _ = member.place().distance(&theirs);
            }
        }
    }
}
