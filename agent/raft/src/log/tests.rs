//! Tests of the store follow in this file.
