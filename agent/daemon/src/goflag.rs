//! Flags in Go's notation: `-flag value`, `--flag=value`, booleans without a value.
