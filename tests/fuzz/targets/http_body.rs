//! Any body of a registration or a transaction: decoded or refused with a reason.
#![no_main]

use agent_daemon::definition::{Defaults, decode_check, decode_service};
use agent_daemon::http::ApiError;
use agent_daemon::http::catalog_body::{decode_deregister, decode_register};
use agent_daemon::http::decode::request_body;
use agent_daemon::http::txn_body::decode_ops;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let body = match request_body(body) {
        Ok(body) => body,
        Err(refused) => return assert!(!refused.to_string().is_empty()),
    };
    let defaults = Defaults::http();
    let refusals = [
        decode_service(&body, &defaults).err().map(|refused| refused.to_string()),
        decode_check(&body, &defaults).err().map(|refused| refused.to_string()),
        decode_register(&body).err().map(|refused| ApiError::from(refused).to_string()),
        decode_deregister(&body).err().map(|refused| ApiError::from(refused).to_string()),
        decode_ops(&body).err().map(|refused| refused.to_string()),
    ];
    assert!(refusals.into_iter().flatten().all(|refusal| !refusal.is_empty()));
});
