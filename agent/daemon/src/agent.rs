//! The composition root: builds every room, wires them, and takes them down in order.
