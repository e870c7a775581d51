//! The TLS settings of a run: trusted certificates and the name of the server.
//!
//! Every handshake is a full one. A resumed session costs the server a fraction of it, and a run
//! that reconnects would measure a mixture of both.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::base::exit::{Error, Exit};

/// Which certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of the built-in authorities, which browsers trust.
    WebRoots,
    /// Those of the authorities in a PEM file only.
    File(PathBuf),
    /// All (`--insecure`).
    All,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::WebRoots => f.write_str("certificate verified by the built-in authorities"),
            Trust::File(file) => write!(f, "certificate verified by {}", file.display()),
            Trust::All => f.write_str("certificate not verified (--insecure)"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    trust: Trust,
}

impl Tls {
    pub(crate) fn new(trust: &Trust, name: &str, is_http: bool) -> Result<Tls, Error> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Error::new(Exit::Usage, format!("'{name}' cannot be the name in a certificate"))
        })?;
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions");
        let builder = match trust {
            Trust::WebRoots => builder.with_root_certificates(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
            Trust::File(file) => builder.with_root_certificates(read_roots(file)?),
            Trust::All => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAll { provider })),
        };
        let mut config = builder.with_no_client_auth();
        config.resumption = Resumption::disabled();
        if is_http {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Tls { config: Arc::new(config), name, trust: trust.clone() })
    }

    /// The client side of one connection, before the handshake.
    pub(crate) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }

    /// The name of the server (SNI), which its certificate must have.
    pub(crate) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }
}

fn read_roots(file: &PathBuf) -> Result<RootCertStore, Error> {
    let failed = |error: &dyn fmt::Display| {
        Error::could_not_run(format!("cannot read certificates from {}: {error}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    match roots.is_empty() {
        true => Err(failed(&"the file has none")),
        false => Ok(roots),
    }
}

/// Accepts every certificate. The peer must still prove that it has the key.
#[derive(Debug)]
struct AcceptAll {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
