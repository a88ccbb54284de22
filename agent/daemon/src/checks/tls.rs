//! TLS for probes: the system's certificate authorities, or no verification where a check asks for that.
//!
//! The authorities are read from disk when the first probe needs them. Errors
//! read as Go words them.

use std::io;
use std::sync::Arc;

use agent_core::health::spec::TlsOptions;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::client::TlsStream;

use super::dial::os_text;

/// Opens TLS sessions over connections. Reads the system's certificate authorities once, when first needed.
#[derive(Debug, Default)]
pub struct TlsConnector {
    roots: OnceCell<Arc<RootCertStore>>,
}

impl TlsConnector {
    /// Trusts `roots` instead of the system's authorities.
    pub fn trusting(roots: RootCertStore) -> Self {
        TlsConnector { roots: OnceCell::new_with(Some(Arc::new(roots))) }
    }

    /// Finishes a handshake over `stream` with the server that was dialled as `host`, offering the protocols `alpn`.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        options: &TlsOptions,
        alpn: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, String> {
        let mut config = self.config(options).await?;
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        let name = if options.server_name.is_empty() { host } else { &options.server_name };
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("tls: invalid server name {name:?}"))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name.clone(), stream).await.map_err(|error| explain(&error, &name))
    }

    /// A configuration that verifies by the authorities and offers no protocol.
    ///
    /// # Errors
    /// The provider can't do any version of TLS.
    pub async fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        self.config(&TlsOptions::default()).await.map(Arc::new)
    }

    async fn config(&self, options: &TlsOptions) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if options.skip_verify {
            let verifier = Arc::new(AcceptAny(provider.signature_verification_algorithms));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else {
            let roots = self.roots.get_or_init(load_roots).await;
            builder.with_root_certificates(roots.clone()).with_no_client_auth()
        };
        Ok(config)
    }
}

async fn load_roots() -> Arc<RootCertStore> {
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    loaded.unwrap_or_else(|_| Arc::new(RootCertStore::empty()))
}

/// Go's words for the errors that operators meet.
fn explain(error: &io::Error, name: &ServerName<'_>) -> String {
    let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
        return if error.kind() == io::ErrorKind::UnexpectedEof { "EOF".to_owned() } else { os_text(error) };
    };
    match inner {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("x509: certificate is not valid for {}", name.to_str()),
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "tls: first record does not look like a TLS handshake".to_owned()
        }
        other => format!("tls: {other}"),
    }
}

/// Takes any certificate, but still demands that the server holds its key.
#[derive(Debug)]
struct AcceptAny(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
