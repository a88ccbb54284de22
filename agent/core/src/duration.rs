//! Durations in Go's notation: `1h2m3.5s`, `300ms`, `0`.
