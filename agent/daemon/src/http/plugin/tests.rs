//! Plugins over the whole API in one process: pushed, signed, followed, rolled back, fetched.

use std::sync::Arc;
use std::time::Duration;

use agent_core::plugin::signature::SigningKey;
use hyper::Method;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::http::tests::synced_api;
use crate::http::{Api, handle};
use crate::plugin::fetch::{FetchError, Fetcher};
use crate::plugin::trust::{key_text, signature_text};

async fn send(api: &Api, what: &str, body: impl Into<Bytes>) -> Response {
    let (method, uri) = what.split_once(' ').expect("a method and a path");
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    handle(api, Request::new(method, &uri.parse().unwrap(), &HeaderMap::new(), body.into(), None).unwrap()).await
}

/// Status and body.
async fn said(api: &Api, what: &str, body: impl Into<Bytes>) -> (u16, String) {
    let response = send(api, what, body).await;
    (response.status.as_u16(), String::from_utf8_lossy(response.whole()).into_owned())
}

async fn json_of(api: &Api, path: &str) -> Value {
    let (status, body) = said(api, &format!("GET {path}"), "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn upload(api: &Api, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    for (at, piece) in bytes.chunks(CHUNK_BYTES as usize).enumerate() {
        let offset = at as u64 * CHUNK_BYTES;
        let put = format!("PUT /v1/plugin/chunk/{digest}?offset={offset}&size={}", bytes.len());
        assert_eq!(said(api, &put, piece.to_vec()).await, (200, "true".to_owned()));
    }
    digest
}

async fn push(api: &Api, name: &str, bytes: &[u8]) -> Digest {
    let digest = upload(api, bytes).await;
    let body = json!({"Digest": digest.to_string(), "Version": "1.0.0", "Summary": "Asks"}).to_string();
    assert_eq!(said(api, &format!("PUT /v1/plugin/name/{name}"), body).await, (200, "true".to_owned()));
    digest
}

/// The same API with keys that are trusted.
async fn trusting(keys: &[&SigningKey]) -> Arc<Api> {
    let mut api = synced_api().await;
    let Some(Api::Server(server)) = Arc::get_mut(&mut api) else { unreachable!("nobody else has it yet") };
    let server = Arc::get_mut(server).expect("nobody else has it yet");
    server.agent.limits.plugin_trust = keys.iter().map(|key| key.public()).collect();
    api
}

#[tokio::test]
async fn a_plugin_is_pushed_shown_rolled_back_and_removed() {
    let api = synced_api().await;
    let big = [&b"one"[..], &vec![7; CHUNK_BYTES as usize]].concat();
    let one = push(&api, "redis", &big).await;
    let two = push(&api, "redis", b"two").await;

    let shown = json_of(&api, "/v1/plugin/name/redis").await;
    assert_eq!(
        (&shown["Digest"], &shown["Version"], &shown["Size"]),
        (&two.to_string().into(), &"1.0.0".into(), &3.into())
    );
    assert_eq!(shown["Versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(json_of(&api, "/v1/plugins").await, json!([shown]));

    let key = format!("{one}\n");
    assert_eq!(said(&api, "PUT /v1/kv/lictor/plugins/redis", key).await, (200, "true".to_owned()));
    assert_eq!(json_of(&api, "/v1/plugin/name/redis").await["Digest"], one.to_string());
    let tail = send(&api, &format!("GET /v1/plugin/chunk/{one}?offset={CHUNK_BYTES}"), "").await;
    assert_eq!((tail.whole(), tail.headers[SIZE_HEADER].to_str().unwrap()), (&[7, 7, 7][..], "262147"));

    assert_eq!(said(&api, "DELETE /v1/plugin/name/redis", "").await, (200, "true".to_owned()));
    assert_eq!(said(&api, "GET /v1/plugin/name/redis", "").await.0, 404);
    assert_eq!(said(&api, &format!("GET /v1/plugin/chunk/{one}"), "").await.0, 404);
    assert_eq!(json_of(&api, "/v1/plugins").await, json!([]));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_reason() {
    let api = synced_api().await;
    let digest = upload(&api, b"there").await;
    let other = Digest::of(b"other");
    let digest_only = format!("{{\"Digest\": \"{other}\"}}");
    let put = |rest: &str| format!("PUT /v1/plugin/chunk/{other}{rest}");
    let long = vec![0; CHUNK_BYTES as usize + 1];
    let cases: [(String, &[u8], u16, &str); 10] = [
        ("PUT /v1/plugin/chunk/x?offset=0&size=1".to_owned(), b"x", 400, "\"x\" is no digest: write sha256: and"),
        (put("?offset=0"), b"x", 400, "the parameter size is missing"),
        (put("?offset=a&size=1"), b"x", 400, "the parameter offset is no number: strconv.ParseUint: parsing \"a\""),
        (put("?offset=262144&size=300000"), b"x", 409, "the file is not complete: send the chunk at offset 0 next"),
        (put("?offset=0&size=16777217"), b"x", 400, "the file has 16777217 bytes, and a plugin may have 16777216"),
        (put("?offset=0&size=262145"), &long, 413, "the chunk has 262145 bytes, and may have 262144"),
        (put("?offset=0&size=5"), b"bogus", 400, "what was sent as sha256:"),
        ("PUT /v1/plugin/name/Redis".to_owned(), b"{}", 400, "\"Redis\" is no plugin name: write 1 to 64 characters"),
        ("PUT /v1/plugin/name/redis".to_owned(), digest_only.as_bytes(), 409, "the file is not complete"),
        (
            "PUT /v1/plugin/name/redis".to_owned(),
            br#"{"Digst": ""}"#,
            400,
            "Request decode failed: unknown field `Digst`",
        ),
    ];
    for (what, body, status, reason) in cases {
        let (got, text) = said(&api, &what, body.to_vec()).await;
        assert!(got == status && text.starts_with(reason), "{what}: {got} {text}");
    }
    let have = json_of(&api, &format!("/v1/plugin/chunk/{digest}?have")).await;
    assert_eq!(have, json!({"Digest": digest.to_string(), "Have": 5, "Complete": true}));
}

#[tokio::test]
async fn only_what_a_trusted_key_signed_is_published() {
    let (ours, theirs) = (SigningKey::from_seed(&[1; 32]).0, SigningKey::from_seed(&[2; 32]).0);
    let api = trusting(&[&ours]).await;
    let digest = upload(&api, b"plugin").await;
    let body = |signature: Option<agent_core::plugin::signature::Signature>| {
        let key = signature.map(|signature| key_text(&signature.key)).unwrap_or_default();
        let bytes = signature.map(|signature| signature_text(&signature)).unwrap_or_default();
        json!({"Digest": digest.to_string(), "Key": key, "Signature": bytes}).to_string()
    };
    let unknown = format!("the plugin is signed by {}, which is not one of the keys", key_text(&theirs.public()));
    for (signature, status, reason) in [
        (None, 403, "the plugin is not signed, and plugin_trust is set"),
        (Some(theirs.sign(&digest)), 403, unknown.as_str()),
        (Some(ours.sign(&Digest::of(b"other"))), 403, "the plugin's signature is bad"),
        (Some(ours.sign(&digest)), 200, "true"),
    ] {
        let (got, text) = said(&api, "PUT /v1/plugin/name/redis", body(signature)).await;
        assert!(got == status && text.starts_with(reason), "{got} {text}");
    }
    assert_eq!(json_of(&api, "/v1/plugin/name/redis").await["Key"], key_text(&ours.public()));
}

#[tokio::test(start_paused = true)]
async fn a_follower_wakes_for_its_plugin_and_its_key() {
    let api = synced_api().await;
    let one = push(&api, "redis", b"one").await;
    push(&api, "redis", b"two").await;
    let fetcher = Fetcher::new(Arc::clone(&api), None, Vec::new());
    let (index, _) = fetcher.published("redis", 0).await.unwrap();
    let started = tokio::time::Instant::now();

    let (news, ()) = tokio::join!(fetcher.published("redis", index), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        push(&api, "other", b"three").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        send(&api, "PUT /v1/kv/lictor/plugins/redis", one.to_string()).await;
    });

    assert_eq!(started.elapsed().as_secs(), 2);
    let (next, published) = news.unwrap();
    assert!(next > index);
    assert_eq!(published.unwrap().wanted.unwrap().digest, one);
}

#[tokio::test]
async fn a_file_is_fetched_once_and_checked_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let api = synced_api().await;
    let bytes = vec![9; CHUNK_BYTES as usize * 2 + 1];
    let digest = push(&api, "redis", &bytes).await;
    let fetcher = Fetcher::new(Arc::clone(&api), Some(folder.path()), Vec::new());
    let (_, published) = fetcher.published("redis", 0).await.unwrap();
    let version = published.clone().unwrap().wanted.unwrap();
    assert_eq!(fetcher.fetch(&version).await.unwrap(), bytes);
    let copy = folder.path().join(format!("plugins/files/{}.wasm", digest.hex()));
    std::fs::write(&copy, b"tampered with").unwrap();
    assert_eq!(fetcher.fetch(&version).await.unwrap(), bytes, "from the servers again");

    send(&api, "DELETE /v1/plugin/name/redis", "").await;

    assert_eq!(fetcher.fetch(&version).await.unwrap(), bytes, "from the disk");
    assert_eq!(fetcher.last_published("redis").await, published);
    assert_eq!(fetcher.published("redis", 0).await.unwrap().1, None);
    assert_eq!(fetcher.last_published("redis").await, None);
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(fetcher.fetch(&version).await, Err(FetchError::Missing(digest)));
    let strict = Fetcher::new(api, None, vec![SigningKey::from_seed(&[1; 32]).0.public()]);
    let refused = strict.fetch(&version).await.unwrap_err().to_string();
    assert!(refused.starts_with("the plugin is not signed, and plugin_trust is set"), "{refused}");
}
