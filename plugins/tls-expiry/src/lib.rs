//! A check that shakes hands with a TLS server (1.2 or 1.3) and says how long the certificate it shows is still valid.
//!
//! It looks at the certificate as it is shown and does not decide whether to trust it: an expired or self-signed one is reported, not refused.
//! The server proves with its signature that it has the key.

mod certificate;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lictor_plugin::{Context, Outcome, Result, bail, tcp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use serde::Deserialize;

/// The most one run reads; chains are some 5 KiB.
const READ_MAX: usize = 256 << 10;
const DAY: f64 = 86_400.0;

#[derive(Deserialize)]
struct Config {
    address: String,
    server_name: Option<String>,
    #[serde(default = "thirty")]
    warning_days: f64,
    #[serde(default = "seven")]
    critical_days: f64,
}

fn thirty() -> f64 {
    30.0
}

fn seven() -> f64 {
    7.0
}

lictor_plugin::check! {
    summary: "Says how many days a TLS server's certificate is still valid.",
    schema: include_str!("../config.schema.json"),
    wants: { network: ["the server's address and port"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let host = config.address.rsplit_once(':').context("address must be host:port")?.0.trim_matches(['[', ']']);
    let name = config.server_name.as_deref().unwrap_or(host).to_owned();
    let chain = shown_by(&config.address, name)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() as i64;
    let mut validities = Vec::new();
    for certificate in &chain {
        validities.push(certificate::validity(certificate).context("a certificate of the chain cannot be read")?);
    }
    if let Some((start, _)) = validities.iter().find(|(start, _)| *start > now) {
        bail!("a certificate is not valid yet, for {:.1} days", (start - now) as f64 / DAY);
    }
    let first = validities.iter().map(|(_, end)| *end).min().context("the server showed no certificate")?;
    Ok(judge(&config, (first - now) as f64 / DAY))
}

fn judge(config: &Config, days: f64) -> Outcome {
    let text =
        if days < 0.0 { format!("expired {:.1} days ago", -days) } else { format!("valid for {days:.1} more days") };
    let outcome = match days {
        days if days < config.critical_days => Outcome::critical(text),
        days if days < config.warning_days => Outcome::warning(text),
        _ => Outcome::passing(text),
    };
    outcome.gauge("days_left", days)
}

/// Shakes hands, and gives the chain as the server showed it.
fn shown_by(address: &str, name: String) -> Result<Vec<CertificateDer<'static>>> {
    let provider = Arc::new(rustls_rustcrypto::provider());
    let witness = Arc::new(Witness { provider: provider.clone(), chain: Mutex::new(Vec::new()) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(name).context("server_name is not a name")?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = tcp::Bounded::new(tcp::connect(address, Duration::from_secs(5))?, READ_MAX);
    let mut shaken = Ok(());
    while connection.is_handshaking() && shaken.is_ok() {
        shaken = connection.complete_io(&mut stream).map(|_| ());
    }
    let chain = std::mem::take(&mut *witness.chain.lock().expect("no other thread is there to panic"));
    // A server that wants a certificate of ours breaks off, but has shown its own.
    match shaken {
        Err(error) if chain.is_empty() => Err(error).context("the TLS handshake failed"),
        _ => Ok(chain),
    }
}

/// Keeps what the server shows.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut chain = self.chain.lock().map_err(|_| Error::General("the chain is lost".into()))?;
        chain.push(leaf.clone().into_owned());
        chain.extend(others.iter().map(|other| other.clone().into_owned()));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
