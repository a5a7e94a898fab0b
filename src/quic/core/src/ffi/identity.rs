//! X.509 identities, and the embedding program's choice between them.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{bytes_of, slices_of};
use crate::abi::{CertificateSource, FindCertificate, Slice, X509Identity};
use crate::{panics, tls};

/// A certificate source of the embedding program's.
struct Source {
    context: *mut c_void,
    find: FindCertificate,
}

// SAFETY: rustls wants resolvers that any thread may ask; the endpoint that has this one and all its connections belong to
// one thread, and so does the context.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    fn find(&self, name: &str, alpns: &[&[u8]]) -> Option<Arc<X509Identity>> {
        let slice = |bytes: &[u8]| Slice { data: bytes.as_ptr(), size: bytes.len() };
        let alpns: Vec<_> = alpns.iter().map(|alpn| slice(alpn)).collect();
        let found = (self.find)(self.context, slice(name.as_bytes()), alpns.as_ptr(), alpns.len());
        if found.is_null() {
            return None;
        }
        // SAFETY: an identity of cq_x509_new that lives until the next call; this is a reference of our own.
        unsafe {
            Arc::increment_strong_count(found);
            Some(Arc::from_raw(found))
        }
    }
}

pub fn finder(source: CertificateSource) -> Option<tls::FindCertificate> {
    let source = Source { context: source.context, find: source.find? };
    Some(Box::new(move |name, alpns| source.find(name, alpns)))
}

/// A certificate chain, leaf first, with its key, all DER. Null if an endpoint cannot show it; `cq_last_panic` then says why.
#[unsafe(no_mangle)]
pub extern "C" fn cq_x509_new(chain: *const Slice, count: usize, key: Slice) -> *const X509Identity {
    let made = catch_unwind(AssertUnwindSafe(|| {
        tls::certified_key(&slices_of(chain, count), bytes_of(key.data, key.size)).map_err(|error| error.to_string())
    }));
    match made {
        Ok(Ok(identity)) => Arc::into_raw(Arc::new(identity)),
        Ok(Err(error)) => {
            panics::set(error);
            std::ptr::null()
        }
        Err(_) => std::ptr::null(),
    }
}

/// # Safety
/// `identity` is from cq_x509_new and is not used again. Connections that show it have references of their own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_x509_free(identity: *const X509Identity) {
    // SAFETY: the caller's contract.
    drop(unsafe { Arc::from_raw(identity) });
}
