//! TLS from a command to the agent: roots, client certificate, server name.
//!
//! Reads certificate files when a connection is made; it decides nothing about requests.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What the flags and the environment say about TLS; empty texts mean absent.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// A file of trusted certificates.
    pub ca_file: String,
    /// A directory of such files.
    pub ca_path: String,
    /// The client's certificate.
    pub client_cert: String,
    /// Its key.
    pub client_key: String,
    /// The name the server must prove instead of the address's host.
    pub server_name: String,
    /// Accept any server.
    pub skip_verify: bool,
}

/// Speaks TLS over `stream` to `host`, which is `name:port`.
///
/// # Errors
/// A certificate file that can't be used, or a failed handshake.
pub async fn wrap(settings: &TlsSettings, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    let bare = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let name = if settings.server_name.is_empty() { bare } else { &settings.server_name };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(settings)?));
    connector.connect(name, stream).await.map_err(|error| match error.to_string() {
        // The first byte was not TLS: a plain HTTP server answered.
        text if text.contains("InvalidContentType") => "http: server gave HTTP response to HTTPS client".to_owned(),
        text => text,
    })
}

fn client_config(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        builder.with_root_certificates(roots(settings)?)
    };
    if settings.client_cert.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = certificates(&settings.client_cert)?;
    let key = PrivateKeyDer::from_pem_file(&settings.client_key)
        .map_err(|error| format!("could not read the client key {}: {error}", settings.client_key))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("could not use the client certificate: {error}"))
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore, String> {
    let mut files: Vec<PathBuf> = Vec::new();
    if !settings.ca_file.is_empty() {
        files.push(settings.ca_file.clone().into());
    } else if !settings.ca_path.is_empty() {
        let entries = std::fs::read_dir(&settings.ca_path)
            .map_err(|error| format!("Error loading CA directory {}: {error}", settings.ca_path))?;
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    let mut store = RootCertStore::empty();
    if files.is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for file in files {
        for certificate in certificates(&file.to_string_lossy())? {
            store.add(certificate).map_err(|error| format!("Error loading CA File: {}: {error}", file.display()))?;
        }
    }
    Ok(store)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("could not read the certificates in {file}: {error}"))
}

/// `CONSUL_HTTP_SSL_VERIFY=false`: any certificate will do, but its signatures must hold.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
