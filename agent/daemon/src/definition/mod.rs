//! Service and check definitions as clients and files write them, decoded into specs.
