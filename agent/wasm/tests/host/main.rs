//! The host with real components: what each attack of the hostile guest ends in, what grants let through, what is loaded and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod cache;
mod fixture;
mod http;
mod loading;
mod network;
