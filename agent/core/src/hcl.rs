//! HCL 1 and JSON documents as one tree.
