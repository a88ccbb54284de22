//! Pools over real loopback sockets.
