//! TLS 1.3 configurations: Ed25519 raw public keys on both sides (RFC 7250), the way iroh 1.x does it, and X.509.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::BASE32_DNSSEC;
use noq_proto::coding::{Decodable, Encodable};
use noq_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq_proto::crypto::{self, Keys, Session, UnsupportedVersion};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectError, ConnectionId, Side, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring as provider, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// PKCS#8 of an Ed25519 seed up to the seed itself (RFC 8410, 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SERVER_NAME_SUFFIX: &str = ".iroh.invalid";
/// Peers whose sessions a client remembers.
const SESSIONS: usize = 256;

pub type PublicKey = [u8; 32];
/// Whether 32 bytes are a public key that may be trusted with a signature (a point of the curve, not of small order).
pub type KeyCheck = extern "C" fn(*const u8) -> bool;

/// The Ed25519 key in a raw public key certificate; None for anything else.
pub fn key_of_spki(spki: &[u8]) -> Option<PublicKey> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

/// The key that a server name "<base32hex>.iroh.invalid" stands for.
pub fn key_of_server_name(name: &str) -> Option<PublicKey> {
    let label = name.strip_suffix(SERVER_NAME_SUFFIX)?;
    BASE32_DNSSEC.decode(label.as_bytes()).ok()?.try_into().ok()
}

pub fn server_name_of_key(key: &PublicKey) -> String {
    BASE32_DNSSEC.encode(key) + SERVER_NAME_SUFFIX
}

fn crypto_provider() -> Arc<CryptoProvider> {
    let mut provider = provider::default_provider();
    // AES-128 first: with AES instructions it is the fastest, and every peer has it.
    provider.cipher_suites = vec![
        provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
        provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
        provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// Checks what a peer shows instead of a certificate. `extern "C"` cannot carry state: the check is a plain function.
struct PeerKeyVerifier {
    check: KeyCheck,
    /// How often a peer proved its key; a resumed handshake does without.
    verified: AtomicU64,
    algorithms: WebPkiSupportedAlgorithms,
}

// `check` is a plain function of the embedding program without state.
impl std::fmt::Debug for PeerKeyVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKeyVerifier")
    }
}

impl PeerKeyVerifier {
    fn key(&self, end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<PublicKey, Error> {
        let refused = Error::InvalidCertificate(CertificateError::NotValidForName); // alert 42, bad_certificate
        if !others.is_empty() {
            return Err(refused);
        }
        match key_of_spki(end_entity) {
            Some(key) if (self.check)(key.as_ptr()) => Ok(key),
            _ => Err(refused),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verified.fetch_add(1, Ordering::Relaxed);
        let key = SubjectPublicKeyInfoDer::from(certificate.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls13RequiredForQuic))
}

impl ServerCertVerifier for PeerKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = self.key(end_entity, intermediates)?;
        if key_of_server_name(&server_name.to_str()) != Some(key) {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PeerKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.key(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The key of one endpoint, and what its TLS sessions share.
pub struct Identity {
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    verifier: Arc<PeerKeyVerifier>,
    client: rustls::ClientConfig,
    x509_resumption: Resumption,
}

impl Identity {
    pub fn new(seed: &[u8; 32], check: KeyCheck) -> Result<Self, Error> {
        let provider = crypto_provider();
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.extend_from_slice(seed);
        let key = PrivatePkcs8KeyDer::from(pkcs8);
        let signer = provider::sign::any_eddsa_type(&key)?;
        let spki = signer.public_key().ok_or(Error::General("no public key".into()))?;
        let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], signer));
        let verifier = Arc::new(PeerKeyVerifier {
            check,
            verified: AtomicU64::new(0),
            algorithms: provider.signature_verification_algorithms,
        });
        let mut client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified.clone())));
        client.enable_sni = false; // the name is for the verifier and the session cache only
        client.resumption = Resumption::in_memory_sessions(SESSIONS);
        let x509_resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self { provider, certified, verifier, client, x509_resumption })
    }

    pub fn keys_verified(&self) -> u64 {
        self.verifier.verified.load(Ordering::Relaxed)
    }

    /// For connections to endpoints that are named by their key.
    pub fn raw_key_client(&self, alpn: &[u8], initial_window: u64) -> Result<Arc<dyn crypto::ClientConfig>, Error> {
        let mut config = self.client.clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        client_config(config, initial_window)
    }

    /// For connections to servers with an X.509 certificate under one of `roots` (DER).
    pub fn x509_client(
        &self,
        alpn: &[u8],
        roots: &[&[u8]],
        proves_key: bool,
        initial_window: u64,
    ) -> Result<Arc<dyn crypto::ClientConfig>, Error> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(root.to_vec()))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let builder = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_webpki_verifier(verifier);
        let mut config = if proves_key {
            builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified.clone())))
        } else {
            builder.with_no_client_auth()
        };
        config.resumption = self.x509_resumption.clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        client_config(config, initial_window)
    }

    /// For clients that prove an Ed25519 key, or need not. Without `certificates` this side proves its own, as iroh does.
    pub fn server(
        &self,
        alpns: Vec<Vec<u8>>,
        certificates: Option<FindCertificate>,
        needs_peer_key: bool,
        initial_window: u64,
    ) -> Result<Arc<dyn crypto::ServerConfig>, Error> {
        let builder = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = if needs_peer_key {
            builder.with_client_cert_verifier(self.verifier.clone())
        } else {
            builder.with_no_client_auth()
        };
        let resolver: Arc<dyn ResolvesServerCert> = match certificates {
            None => Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified.clone())),
            Some(find) => Arc::new(ByName(find)),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = alpns;
        config.ticketer = provider::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        let inner = QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(NarrowServer { inner, initial_window }))
    }
}

/// The certificate for a server name, empty where the client named none, and for the protocols that it offers.
pub type FindCertificate = Box<dyn Fn(&str, &[&[u8]]) -> Option<Arc<CertifiedKey>> + Send + Sync>;

/// Asks for the certificate in every handshake, so that it may be another from one to the next.
struct ByName(FindCertificate);

impl std::fmt::Debug for ByName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let alpns: Vec<&[u8]> = hello.alpn().into_iter().flatten().collect();
        (self.0)(hello.server_name().unwrap_or_default(), &alpns)
    }
}

/// A chain, leaf first and not empty, with its key (DER).
pub fn certified_key(chain: &[&[u8]], key: &[u8]) -> Result<CertifiedKey, Error> {
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|error| Error::General(error.into()))?;
    CertifiedKey::from_der(chain, key, &crypto_provider())
}

fn client_config(config: rustls::ClientConfig, initial_window: u64) -> Result<Arc<dyn crypto::ClientConfig>, Error> {
    let inner = QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))?;
    Ok(Arc::new(NarrowClient { inner, initial_window }))
}

/// Announces a smaller first window for streams than noq grants later. noq has one window for all streams of a
/// connection, and raises a stream's limit to the whole of it once an eighth was read: so a stream whose reader never
/// reads holds `initial_window` bytes at most, and one that is read gets the large window after its first bytes.
struct NarrowClient {
    inner: QuicClientConfig,
    initial_window: u64,
}

impl crypto::ClientConfig for NarrowClient {
    fn start_session(
        &self,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let params = narrow(params, Side::Server, self.initial_window);
        self.inner.start_session(version, server_name, &params)
    }
}

struct NarrowServer {
    inner: QuicServerConfig,
    initial_window: u64,
}

impl crypto::ServerConfig for NarrowServer {
    fn initial_keys(&self, version: u32, dst_cid: ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.inner.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(&self, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let params = narrow(params, Side::Client, self.initial_window);
        self.inner.start_session(version, &params)
    }
}

/// `params` with all initial stream windows cut down to `window`; `reader` is the side that they are for.
fn narrow(params: &TransportParameters, reader: Side, window: u64) -> TransportParameters {
    let mut encoded = Vec::new();
    params.write(&mut encoded);
    let narrowed = cut_stream_windows(&encoded, window);
    TransportParameters::read(reader, &mut Cursor::new(narrowed.unwrap_or(encoded))).unwrap_or(*params)
}

/// The idle timeout that the peer of a session announced, in milliseconds; 0 for none.
pub fn peer_idle_timeout(session: &dyn Session) -> u64 {
    const MAX_IDLE_TIMEOUT: u64 = 0x01;
    let Ok(Some(params)) = session.transport_parameters() else { return 0 };
    let mut encoded = Vec::new();
    params.write(&mut encoded);
    let mut rest = encoded.as_slice();
    while let Some((id, value)) = next_parameter(&mut rest) {
        if id.into_inner() == MAX_IDLE_TIMEOUT {
            return VarInt::decode(&mut Cursor::new(value)).map_or(0, VarInt::into_inner);
        }
    }
    0
}

/// Takes a transport parameter from the front (RFC 9000, 18).
fn next_parameter<'a>(rest: &mut &'a [u8]) -> Option<(VarInt, &'a [u8])> {
    let mut cursor = Cursor::new(*rest);
    let id = VarInt::decode(&mut cursor).ok()?;
    let size = VarInt::decode(&mut cursor).ok()?.into_inner();
    let behind = &rest[cursor.position() as usize..];
    let (value, after) = behind.split_at_checked(usize::try_from(size).ok()?)?;
    *rest = after;
    Some((id, value))
}

fn cut_stream_windows(encoded: &[u8], window: u64) -> Option<Vec<u8>> {
    // initial_max_stream_data_bidi_local, bidi_remote, uni (RFC 9000, 18.2)
    const STREAM_WINDOWS: std::ops::RangeInclusive<u64> = 0x05..=0x07;
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while !rest.is_empty() {
        let (id, value) = next_parameter(&mut rest)?;
        id.encode(&mut out);
        if STREAM_WINDOWS.contains(&id.into_inner()) {
            let offered = VarInt::decode(&mut Cursor::new(value)).ok()?.into_inner();
            let mut value = Vec::new();
            VarInt::from_u64(offered.min(window)).ok()?.encode(&mut value);
            VarInt::from_u64(value.len() as u64).ok()?.encode(&mut out);
            out.extend_from_slice(&value);
        } else {
            VarInt::from_u64(value.len() as u64).ok()?.encode(&mut out);
            out.extend_from_slice(value);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_stand_for_keys() {
        let name = "7dl2ff6emqi2qol3l382krodedij45bn3nh479hqo14a32qpr8kg.iroh.invalid";
        let key = key_of_server_name(name).expect("a key");
        assert_eq!(key[..4], [0x3b, 0x6a, 0x27, 0xbc]);
        assert_eq!(server_name_of_key(&key), name);
        for wrong in ["", ".iroh.invalid", "7dl2.iroh.invalid", "example.com"] {
            assert_eq!(key_of_server_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_exact_ed25519_keys_are_read_from_a_raw_public_key() {
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend_from_slice(&[7; 32]);
        assert_eq!(key_of_spki(&spki), Some([7; 32]));
        spki.push(0);
        assert_eq!(key_of_spki(&spki), None);
        spki.truncate(43);
        assert_eq!(key_of_spki(&spki), None);
        spki[8] ^= 1;
        assert_eq!(key_of_spki(&spki), None);
    }

    #[test]
    fn stream_windows_are_cut_and_nothing_else() {
        // id 4 (connection window) 1 byte, id 5 4 bytes, id 6 already smaller, an unknown id with an empty value
        let encoded = [0x04, 0x01, 0x3f, 0x05, 0x04, 0x80, 0x20, 0x00, 0x00, 0x06, 0x01, 0x05, 0x1b, 0x00];
        let cut = cut_stream_windows(&encoded, 1000).expect("well-formed");
        assert_eq!(cut, [0x04, 0x01, 0x3f, 0x05, 0x02, 0x43, 0xe8, 0x06, 0x01, 0x05, 0x1b, 0x00]);
        assert_eq!(cut_stream_windows(&encoded[..8], 1000), None);
    }
}
