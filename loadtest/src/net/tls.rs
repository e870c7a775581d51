//! TLS between the protocol and the stream: received records become plain bytes, and sent messages
//! become records. Without TLS, bytes pass through unchanged.
//!
//! rustls performs no I/O: it takes bytes and returns bytes.
//!
//! ```text
//! protocol ── message ──▶ TlsWriter ── records ──▶ WriteHalf
//!                          TlsSession
//! protocol ◀─── bytes ─── TlsReader ◀── records ── ReadHalf
//! ```
//!
//! The answer to a record of the peer (an update of its keys) is sent with the next message. The
//! end of the stream counts as an orderly end even without a close notify, which many servers omit.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringloop::buf::RecvBuf;
use ringloop::net::{ReadHalf, WriteHalf};
use rustls::{AlertDescription, CertificateError, ClientConnection, Error, PeerIncompatible};

use crate::measure::failure::{Class, Failure, Stage};
use crate::net::stream::Stream;
use crate::net::tls_config::Tls;

/// A connection to the target, with TLS or without.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// Boxed: a session has a kilobyte or more, and most connections have none.
    session: Option<Box<TlsSession>>,
}

impl Connection {
    pub(crate) fn plain(stream: Stream) -> Connection {
        Connection { stream, session: None }
    }

    /// Performs the TLS handshake.
    pub(crate) async fn secure(mut stream: Stream, tls: &Tls) -> Result<Connection, Failure> {
        let failed = |error: &Error| failure(Stage::Tls, error);
        let mut session =
            Box::new(TlsSession::new(tls.connection().map_err(|error| failed(&error))?));
        loop {
            let records = session.records();
            if !records.is_empty() {
                stream.send(records).await.map_err(|error| Failure::from_io(Stage::Tls, &error))?;
            }
            if !session.connection.get_mut().is_handshaking() {
                return Ok(Connection { stream, session: Some(session) });
            }
            let bytes =
                stream.recv().await.map_err(|error| Failure::from_io(Stage::Tls, &error))?;
            if bytes.is_empty() {
                return Err(Failure::of(Stage::Tls, Class::Eof));
            }
            if let Err(error) = session.open(&bytes) {
                // Sends the alert with the reason. The failure is the same if this fails.
                let _ = stream.send(session.records()).await;
                return Err(failed(&error));
            }
        }
    }

    /// Version and cipher suite of TLS.
    pub(crate) fn suite(&self) -> Option<String> {
        let connection = self.session.as_ref()?.connection.borrow();
        let version = connection.protocol_version()?.as_str()?;
        let suite = connection.negotiated_cipher_suite()?.suite().as_str()?;
        Some(format!("{} {suite}", version.replace('_', ".")))
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr()
    }

    pub(crate) fn split(&mut self) -> (TlsReader<'_>, TlsWriter<'_>) {
        let session = self.session.as_deref();
        let (reader, writer) = self.stream.split();
        (
            TlsReader { half: reader, session, clear: Vec::new() },
            TlsWriter { half: writer, session },
        )
    }

    /// Sends what is queued and a close notify, and closes the connection.
    pub(crate) async fn close(self) -> io::Result<()> {
        let Connection { mut stream, session } = self;
        if let Some(session) = session {
            session.connection.borrow_mut().send_close_notify();
            // Polled once: a peer that does not read must not delay the close.
            let mut sending = pin!(stream.send(session.records()));
            poll_fn(|cx| Poll::Ready(_ = sending.as_mut().poll(cx))).await;
        }
        stream.close().await
    }

    pub(crate) fn abort(self) {
        self.stream.abort();
    }
}

/// The receiving half of a [`Connection`].
pub(crate) struct TlsReader<'a> {
    half: ReadHalf<'a>,
    session: Option<&'a TlsSession>,
    /// The bytes that the last call has returned.
    clear: Vec<u8>,
}

impl TlsReader<'_> {
    /// The next bytes of the peer. Empty at the end of the stream.
    pub(crate) async fn recv(&mut self) -> Result<Received<'_>, Failure> {
        let failed = |error: io::Error| Failure::from_io(Stage::Recv, &error);
        let Some(session) = self.session else {
            return self.half.recv().await.map(Received::Raw).map_err(failed);
        };
        loop {
            let (mut clear, has_ended) = session.take_clear();
            if !clear.is_empty() || has_ended {
                mem::swap(&mut self.clear, &mut clear);
                session.give_back(clear);
                return Ok(Received::Clear(&self.clear));
            }
            session.give_back(clear);
            let records = self.half.recv().await.map_err(failed)?;
            if records.is_empty() {
                return Ok(Received::Raw(records));
            }
            session.open(&records).map_err(|error| failure(Stage::Recv, &error))?;
        }
    }
}

/// Bytes from the peer: as received, or decrypted.
pub(crate) enum Received<'a> {
    Raw(RecvBuf),
    Clear(&'a [u8]),
}

impl Deref for Received<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Received::Raw(bytes) => bytes,
            Received::Clear(bytes) => bytes,
        }
    }
}

/// The length of the pieces in which a long message is sent. An incomplete piece counts as not
/// sent.
const PIECE_LEN: usize = 64 << 10;

/// The sending half of a [`Connection`].
pub(crate) struct TlsWriter<'a> {
    half: WriteHalf<'a>,
    session: Option<&'a TlsSession>,
}

impl TlsWriter<'_> {
    pub(crate) async fn send(&mut self, message: Rc<[u8]>) -> Result<(), Failure> {
        let sent = match self.session {
            None => self.half.send(message).await,
            Some(session) => self.half.send(session.seal(&message)).await,
        };
        sent.map_err(|error| Failure::from_io(Stage::Send, &error))
    }

    /// Sends a message, and calls `took` with the number of bytes that the kernel has taken: for a
    /// short message once, when it is queued, and for a long one after each piece.
    pub(crate) async fn send_counted(
        &mut self,
        message: Rc<[u8]>,
        took: impl Fn(usize),
    ) -> Result<(), Failure> {
        let len = message.len();
        if len <= PIECE_LEN {
            self.send(message).await?;
            took(len);
            return Ok(());
        }
        let failed = |error: io::Error| Failure::from_io(Stage::Send, &error);
        for piece in message.chunks(PIECE_LEN) {
            match self.session {
                None => self.half.write_all(piece).await.map_err(failed)?,
                Some(session) => self.half.send(session.seal(piece)).await.map_err(failed)?,
            }
            self.half.flush().await.map_err(failed)?;
            took(piece.len());
        }
        Ok(())
    }
}

/// The state of TLS on one connection.
#[derive(Debug)]
struct TlsSession {
    connection: RefCell<ClientConnection>,
    /// Decrypted bytes that were not taken yet.
    clear: RefCell<Vec<u8>>,
    has_ended: Cell<bool>,
}

impl TlsSession {
    fn new(mut connection: ClientConnection) -> TlsSession {
        // A message is encrypted in one call. Its length is bounded by the options.
        connection.set_buffer_limit(None);
        TlsSession {
            connection: RefCell::new(connection),
            clear: RefCell::default(),
            has_ended: Cell::new(false),
        }
    }

    /// The records of `message`, after those that are still to be sent.
    fn seal(&self, message: &[u8]) -> Vec<u8> {
        let written = self.connection.borrow_mut().writer().write_all(message);
        written.expect("no limit");
        self.records()
    }

    /// The records that are to be sent.
    fn records(&self) -> Vec<u8> {
        let mut connection = self.connection.borrow_mut();
        let mut records = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut records).expect("a vector takes everything");
        }
        records
    }

    /// Takes bytes of records, however they were cut.
    fn open(&self, mut records: &[u8]) -> Result<(), Error> {
        let mut connection = self.connection.borrow_mut();
        let mut clear = self.clear.borrow_mut();
        while !records.is_empty() {
            // This fails for a message that is too large, and if plain bytes were not taken, which
            // does not happen here.
            connection.read_tls(&mut records).map_err(|_| Error::PeerSentOversizedRecord)?;
            let state = connection.process_new_packets()?;
            let from = clear.len();
            clear.resize(from + state.plaintext_bytes_to_read(), 0);
            connection.reader().read_exact(&mut clear[from..]).expect("as many bytes as reported");
            self.has_ended.set(state.peer_has_closed());
            if state.peer_has_closed() {
                break; // bytes after the close notify have no meaning
            }
        }
        Ok(())
    }

    fn take_clear(&self) -> (Vec<u8>, bool) {
        (self.clear.take(), self.has_ended.get())
    }

    /// Returns the memory of used bytes for the next ones.
    fn give_back(&self, mut memory: Vec<u8>) {
        memory.clear();
        *self.clear.borrow_mut() = memory;
    }
}

fn failure(stage: Stage, error: &Error) -> Failure {
    Failure::of_tls(stage, reason(error))
}

/// The reason of a failure, one of a limited number of texts: equal failures are counted together.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => "the target has no certificate",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => "the target does not speak TLS",
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "the target speaks an old version of TLS only"
        }
        Error::PeerIncompatible(_) => "the target supports no version or cipher suite of loadtest",
        Error::PeerMisbehaved(_) => "the target violates the TLS protocol",
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoApplicationProtocol => "the target does not speak http/1.1",
        Error::DecryptError => "a record could not be decrypted",
        Error::PeerSentOversizedRecord => "a record was too large",
        _ => "another failure of TLS",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "certificate of an unknown issuer; see --cacert and --insecure"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate for another name; see --sni"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired; see --insecure"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet; see --insecure"
        }
        CertificateError::Revoked => "certificate was revoked; see --insecure",
        CertificateError::BadSignature => "certificate with a wrong signature; see --insecure",
        // `openssl req -x509` makes such certificates, which are their own authority.
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            "self-signed certificate, or that of an authority; see --insecure"
        }
        _ => "certificate is not valid; see --insecure",
    }
}

fn of_alert(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => "the target sent the alert handshake_failure",
        AlertDescription::ProtocolVersion => "the target sent the alert protocol_version",
        AlertDescription::UnrecognisedName => {
            "the target sent the alert unrecognized_name; see --sni"
        }
        AlertDescription::CertificateRequired => "the target requires a client certificate",
        AlertDescription::NoApplicationProtocol => "the target does not speak http/1.1",
        AlertDescription::InternalError => "the target sent the alert internal_error",
        _ => "the target sent an alert",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::net::tls_config::Trust;

    /// A session and its peer after the handshake.
    fn pair() -> (TlsSession, ServerConnection) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();
        let tls = Tls::new(&Trust::All, "a", false).unwrap();
        let mut session = TlsSession::new(tls.connection().unwrap());
        while session.connection.get_mut().is_handshaking() || server.is_handshaking() {
            server_recv(&mut server, &session.records());
            session.open(&server_send(&mut server)).unwrap();
        }
        (session, server)
    }

    fn server_recv(server: &mut ServerConnection, mut records: &[u8]) -> Vec<u8> {
        let mut received = Vec::new();
        while !records.is_empty() {
            server.read_tls(&mut records).unwrap();
            server.process_new_packets().unwrap();
            let _ = server.reader().read_to_end(&mut received); // would block at the end
        }
        received
    }

    fn server_send(server: &mut ServerConnection) -> Vec<u8> {
        let mut records = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut records).unwrap();
        }
        records
    }

    /// Goal: plain bytes are complete and in order, however the records were cut, and the close
    /// notify comes after them.
    ///
    /// Method: several records and a close notify, in pieces of one byte, of a few, and at once.
    ///
    /// Kills: bytes of an incomplete record; a record lost after another; an end before the last
    /// bytes.
    #[test]
    fn plain_bytes_do_not_depend_on_how_records_were_cut() {
        let text: Vec<u8> = (0..50_000_u32).map(|at| (at % 251) as u8).collect();
        for piece_len in [1, 7, 1_500, usize::MAX] {
            let (session, mut server) = pair();
            server.set_buffer_limit(None);
            server.writer().write_all(&text).unwrap();
            server.send_close_notify();
            let mut clear = Vec::new();
            for piece in server_send(&mut server).chunks(piece_len) {
                assert!(!session.has_ended.get(), "ended after {} bytes", clear.len());
                session.open(piece).unwrap();
                clear.append(&mut session.take_clear().0);
            }
            assert!(clear == text, "{} bytes of {}", clear.len(), text.len());
            assert!(session.take_clear().1);
        }
    }

    /// Goal: a message of any length is encrypted completely, and the peer reads the same bytes.
    ///
    /// Method: lengths around that of a record, and far beyond the limit of rustls's buffer.
    ///
    /// Kills: a message cut at that limit; records that wait for the next message.
    #[test]
    fn messages_of_any_length_are_sealed_completely() {
        let (session, mut server) = pair();
        for len in [1, 16_384, 16_385, 1 << 20] {
            let message: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
            assert!(server_recv(&mut server, &session.seal(&message)) == message, "{len} bytes");
        }
    }

    /// Goal: bytes that are not TLS are a failure with a reason.
    ///
    /// Method: bytes of other protocols, of none, and the client's own first flight sent back.
    ///
    /// Kills: a panic; a failure without a reason.
    #[test]
    fn bytes_that_are_not_tls_are_a_failure_with_a_reason() {
        let tls = Tls::new(&Trust::WebRoots, "a", true).unwrap();
        let first = |tls: &Tls| {
            let session = TlsSession::new(tls.connection().unwrap());
            let flight = session.records();
            (session, flight)
        };
        let garbage = vec![0xff; 100_000];
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &garbage, &first(&tls).1] {
            let (session, _) = first(&tls);
            let error = session.open(bytes).unwrap_err();
            assert_eq!(reason(&error), "the target does not speak TLS", "{error:?}");
        }
    }
}
