//! The TLS options against a server in the same process that asks for a client certificate.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Files of an authority and of a certificate it gave to `agent.test`, for both sides.
struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Pki {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::create_dir(folder.path().join("authorities")).unwrap();
        let pem = authority.self_signed(&key).unwrap().pem();
        fs::write(folder.path().join("authorities/ca.pem"), pem).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["agent.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &Issuer::new(authority, key)).unwrap();
        fs::write(folder.path().join("leaf.pem"), leaf.pem()).unwrap();
        fs::write(folder.path().join("leaf.key"), leaf_key.serialize_pem()).unwrap();
        Pki { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("authorities/ca.pem")).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(self.file("leaf.pem")).unwrap()],
                PrivateKeyDer::from_pem_file(self.file("leaf.key")).unwrap(),
            )
            .unwrap()
    }
}

/// Answers one request with a list of data centres, if the handshake succeeds; the request's first line.
fn serve_once(config: ServerConfig) -> (SocketAddr, JoinHandle<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut header = String::new();
        while stream.read_line(&mut header).ok()? > 2 {
            header.clear();
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n[\"dc1\"]";
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush().ok()?;
        Some(line.trim_end().to_owned())
    });
    (address, server)
}

/// Lists data centres with these flags; exit code, output, errors.
fn datacenters(address: SocketAddr, flags: &[String], verify: bool) -> (u8, String, String) {
    let mut args = vec!["catalog".to_owned(), "datacenters".to_owned(), format!("-http-addr=https://{address}")];
    args.extend_from_slice(flags);
    let variable = |name: &str| (name == "CONSUL_HTTP_SSL_VERIFY" && !verify).then(|| "false".to_owned());
    let shell = crate::cli::Shell { program: "lictor", hints: false, variable: &variable };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = crate::cli::run(&args, &shell, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn flag(name: &str, path: &Path) -> String {
    format!("-{name}={}", path.display())
}

#[test]
fn a_command_proves_itself_and_checks_the_agent() {
    let pki = Pki::new();
    let identity = [flag("client-cert", &pki.file("leaf.pem")), flag("client-key", &pki.file("leaf.key"))];
    let name = "-tls-server-name=agent.test".to_owned();
    for (trust, verify) in [
        (vec![flag("ca-file", &pki.file("authorities/ca.pem")), name.clone()], true),
        (vec![flag("ca-path", &pki.file("authorities")), name], true),
        (vec![], false),
    ] {
        let (address, server) = serve_once(pki.server());
        let done = datacenters(address, &[&identity[..], &trust].concat(), verify);
        assert_eq!(done, (0, "dc1\n".to_owned(), String::new()), "{trust:?}");
        assert_eq!(server.join().unwrap().unwrap(), "GET /v1/catalog/datacenters HTTP/1.1");
    }
}

#[test]
fn a_command_refuses_an_agent_it_cannot_trust() {
    let pki = Pki::new();
    let identity = [flag("client-cert", &pki.file("leaf.pem")), flag("client-key", &pki.file("leaf.key"))];
    let authority = flag("ca-file", &pki.file("authorities/ca.pem"));
    for (trust, reason) in [(vec![], "UnknownIssuer"), (vec![authority], "not valid for name")] {
        let (address, server) = serve_once(pki.server());
        let (code, out, err) = datacenters(address, &[&identity[..], &trust].concat(), true);
        assert_eq!((code, out.as_str(), err.contains(reason)), (1, "", true), "{err}");
        assert_eq!(server.join().unwrap(), None);
    }
}

#[test]
fn an_agent_refuses_a_command_without_a_certificate() {
    let pki = Pki::new();
    let (address, server) = serve_once(pki.server());
    let (code, _, err) = datacenters(address, &[], false);
    assert_eq!(code, 1, "{err}");
    assert_eq!(server.join().unwrap(), None);
}
