//! Small pools, stepped by hand.

mod decoding;
mod failing;
mod joining;
mod keys;
mod leaving;
mod pool;
mod refusing;
mod rumours;
