//! Running seeds: one runtime each, and what to type to see one again.

use std::future::Future;

/// Runs `world` on one thread with a paused clock that jumps to the next timer when nothing else can run.
///
/// # Panics
/// When the runtime cannot be built, and when `world` panics.
pub fn on_virtual_time<T>(world: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O asks nothing of the system").block_on(world)
}
