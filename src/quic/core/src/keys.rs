//! Keys and identifiers that the embedding program chooses: connection ids, Retry token key, stateless reset key, clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use noq_proto::crypto::{CryptoError, HandshakeTokenKey, HmacKey};
use noq_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid, TimeSource, TokenMemoryCache, TokenStore};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring::{aead, hkdf, hmac};

use crate::unprotected::MAX_TOKEN;

/// Bytes of our connection ids; iroh uses as many.
pub const ID_SIZE: usize = 8;

/// Bytes of a connection id that say where its packets belong.
pub const PREFIX_SIZE: usize = 2;

/// Connection ids whose first byte is the worker and whose second is the generation of the process. The rest is random.
pub struct IdGenerator {
    prefix: [u8; PREFIX_SIZE],
    rng: StdRng,
}

pub fn prefix(worker: u8, generation: u8) -> [u8; PREFIX_SIZE] {
    [worker & 0x7f, generation]
}

impl IdGenerator {
    pub fn new(worker: u8, generation: u8, seed: [u8; 32]) -> Self {
        Self { prefix: prefix(worker, generation), rng: StdRng::from_seed(seed) }
    }
}

impl ConnectionIdGenerator for IdGenerator {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; ID_SIZE];
        self.rng.fill_bytes(&mut bytes);
        bytes[..PREFIX_SIZE].copy_from_slice(&self.prefix);
        ConnectionId::new(&bytes)
    }

    fn validate(&self, id: ConnectionId) -> Result<(), InvalidCid> {
        // A sibling worker owns ids with another first byte: it answers for them. The packets of another generation come
        // here only when its process has ended, and are answered in its place.
        if id.len() == ID_SIZE && id[0] == self.prefix[0] { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        ID_SIZE
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// HMAC-SHA256 for stateless reset tokens (RFC 9000, 10.3.2).
pub struct ResetKey(pub hmac::Key);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(hmac::sign(&self.0, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

/// Seals Retry tokens: one AES-256-GCM key for each token, derived from the master key and the token's 128-bit
/// nonce, so that the fixed AEAD nonce is never used twice with one key.
pub struct TokenKey(hkdf::Prk);

impl TokenKey {
    pub fn new(master: &[u8; 32]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(master))
    }

    fn key(&self, token_nonce: u128) -> Result<aead::LessSafeKey, CryptoError> {
        let info = token_nonce.to_le_bytes();
        let info: [&[u8]; 1] = [&info];
        let okm = self.0.expand(&info, hkdf::HKDF_SHA256).map_err(|_| CryptoError)?;
        let mut bytes = [0; 32];
        okm.fill(&mut bytes).map_err(|_| CryptoError)?;
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &bytes).map_err(|_| CryptoError)?;
        Ok(aead::LessSafeKey::new(key))
    }
}

impl HandshakeTokenKey for TokenKey {
    fn seal(&self, token_nonce: u128, data: &mut Vec<u8>) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        self.key(token_nonce)?.seal_in_place_append_tag(nonce, aead::Aad::empty(), data).map_err(|_| CryptoError)
    }

    fn open<'a>(&self, token_nonce: u128, data: &'a mut [u8]) -> Result<&'a [u8], CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        match self.key(token_nonce)?.open_in_place(nonce, aead::Aad::empty(), data) {
            Ok(plain) => Ok(plain),
            Err(_) => Err(CryptoError),
        }
    }
}

/// What servers gave in NEW_TOKEN frames for the next connections, without what is too large for these.
#[derive(Default)]
pub struct Tokens(TokenMemoryCache);

impl TokenStore for Tokens {
    fn insert(&self, server_name: &str, token: Bytes) {
        if token.len() <= MAX_TOKEN {
            self.0.insert(server_name, token);
        }
    }

    fn take(&self, server_name: &str) -> Option<Bytes> {
        self.0.take(server_name)
    }
}

/// The time of the latest call into the endpoint: Retry tokens age by it, also in a simulation.
#[derive(Clone, Default)]
pub struct CallTime(Arc<AtomicU64>);

impl CallTime {
    pub fn set(&self, nanoseconds: u64) {
        self.0.store(nanoseconds, Ordering::Relaxed);
    }
}

impl TimeSource for CallTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
