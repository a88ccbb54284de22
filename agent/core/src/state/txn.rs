//! Transactions: all operations or none.
