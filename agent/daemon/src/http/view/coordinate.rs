//! Places on the map of round trips.

use agent_core::coordinate::{Coordinate, DIMENSIONS};
use serde::Serialize;

/// A coordinate as `/v1/coordinate/nodes` prints it. All numbers are seconds, except `error`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CoordinateView {
    vec: [f64; DIMENSIONS],
    error: f64,
    adjustment: f64,
    height: f64,
}

impl CoordinateView {
    /// This place.
    pub fn new(place: &Coordinate) -> Self {
        let Coordinate { vector, error, adjustment, height } = *place;
        CoordinateView { vec: vector, error, adjustment, height }
    }
}
