//! TLS from a command to the agent: roots, client certificate, server name.
//!
//! Reads certificate files before anything is sent; decides nothing about requests.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::client::go_io_error;

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

/// What certificate files held.
pub struct Trust {
    /// Whom to trust; `None` for whom the system trusts.
    roots: Option<RootCertStore>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    skip_verify: bool,
}

impl Trust {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// A file that can't be used, or a certificate without its key, in Consul's words.
    pub fn read(settings: &TlsSettings) -> Result<Trust, String> {
        let (certificate, key) = (settings.client_cert.as_str(), settings.client_key.as_str());
        let identity = match (certificate.is_empty(), key.is_empty()) {
            (true, true) => None,
            (false, false) => Some((certificates(certificate)?, private_key(key)?)),
            (true, false) | (false, true) => return Err("both client cert and client key must be provided".to_owned()),
        };
        Ok(Trust { roots: roots(settings)?, identity, skip_verify: settings.skip_verify })
    }

    /// How to make connections.
    ///
    /// # Errors
    /// A key that does not fit its certificate.
    pub fn config(self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        } else {
            builder.with_root_certificates(self.roots.unwrap_or_else(system_roots))
        };
        match self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("could not use the client certificate: {error}")),
        }
    }
}

/// Speaks TLS over `stream` to `host`, which is `name:port`; it must prove `server_name`, if that is not empty.
///
/// # Errors
/// A failed handshake.
pub async fn wrap(
    config: &Arc<ClientConfig>,
    server_name: &str,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let bare = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let name = if server_name.is_empty() { bare } else { server_name };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    connector.connect(name, stream).await.map_err(|error| match error.to_string() {
        // The first byte was not TLS: a plain HTTP server answered.
        text if text.contains("InvalidContentType") => "http: server gave HTTP response to HTTPS client".to_owned(),
        text => text,
    })
}

fn roots(settings: &TlsSettings) -> Result<Option<RootCertStore>, String> {
    let files: Vec<String> = if !settings.ca_file.is_empty() {
        vec![settings.ca_file.clone()]
    } else if !settings.ca_path.is_empty() {
        let failed = |error| format!("lstat {}: {}", settings.ca_path, go_io_error(&error));
        let entries = std::fs::read_dir(&settings.ca_path).map_err(failed)?;
        let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
        paths.map(|path| path.to_string_lossy().into_owned()).collect()
    } else {
        return Ok(None);
    };
    let mut store = RootCertStore::empty();
    for file in files {
        let authorities = certificates(&file).map_err(|error| format!("Error loading CA File: {error}"))?;
        if authorities.is_empty() {
            return Err(format!("Error loading CA File: Couldn't parse PEM in: {file}"));
        }
        for authority in authorities {
            store.add(authority).map_err(|error| format!("Error loading CA File: {file}: {error}"))?;
        }
    }
    Ok(Some(store))
}

fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(file)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("could not read the certificates in {file}: {error}"))
}

fn private_key(file: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| format!("could not read the key in {file}: {error}"))
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("open {file}: {}", go_io_error(&error)))
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

#[cfg(test)]
mod tests;
