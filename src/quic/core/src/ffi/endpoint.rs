//! Endpoints: datagrams in, and connections that are dialled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::identity::finder;
use super::{bytes_of, copy_out, on_endpoint, slices_of, transmit};
use crate::abi::{self, Address, Admission, Layout, Received, Slice};
use crate::connection::Conn;
use crate::endpoint::{Endpoint, Outcome, PolicyParts};
use crate::panics;

/// Sizes of the structs, for the other side to compare with its own.
#[unsafe(no_mangle)]
pub extern "C" fn cq_layout() -> Layout {
    Layout::current()
}

/// Null if the configuration is not usable; `cq_last_panic` then says why.
///
/// # Safety
/// `config` and everything it points to must be valid for the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_endpoint_new(config: *const abi::EndpointConfig) -> *mut Endpoint {
    panics::install_hook();
    // SAFETY: the caller's contract.
    let config = unsafe { &*config };
    let made = catch_unwind(AssertUnwindSafe(|| {
        let policies = (0..config.policy_count)
            .map(|i| {
                // SAFETY: the caller's contract.
                let policy = unsafe { &*config.policies.add(i) };
                PolicyParts {
                    alpns: slices_of(policy.alpns, policy.alpn_count).into_iter().map(<[u8]>::to_vec).collect(),
                    transport: policy.transport,
                    certificates: finder(policy.certificates),
                    needs_peer_key: policy.needs_peer_key,
                }
            })
            .collect();
        Endpoint::new(config, policies)
    }));
    match made {
        Ok(Ok(endpoint)) => Box::into_raw(Box::new(endpoint)),
        Ok(Err(error)) => {
            panics::set(error);
            std::ptr::null_mut()
        }
        Err(_) => std::ptr::null_mut(),
    }
}

/// # Safety
/// `endpoint` is from cq_endpoint_new, has no connections any more and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_endpoint_free(endpoint: *mut Endpoint) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's contract.
        drop(unsafe { Box::from_raw(endpoint) });
    }));
}

/// How many panics were caught.
#[unsafe(no_mangle)]
pub extern "C" fn cq_endpoint_panics(endpoint: *mut Endpoint) -> u64 {
    on_endpoint(endpoint, 0, |endpoint| endpoint.panics)
}

/// How many peers proved their key by a signature; resumed handshakes do without.
#[unsafe(no_mangle)]
pub extern "C" fn cq_endpoint_keys_verified(endpoint: *mut Endpoint) -> u64 {
    on_endpoint(endpoint, 0, |endpoint| endpoint.keys_verified())
}

/// Text of this thread's last panic or refused configuration; returns its size.
#[unsafe(no_mangle)]
pub extern "C" fn cq_last_panic(out: *mut u8, capacity: usize) -> usize {
    copy_out(&panics::last_panic(), out, capacity)
}

/// # Safety
/// `out` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_endpoint_receive(
    endpoint: *mut Endpoint,
    now: u64,
    remote: Address,
    local: Address,
    ecn: u32,
    data: *const u8,
    size: usize,
    admission: u32,
    out: *mut Received,
) {
    let data = bytes_of(data, size);
    let outcome = on_endpoint(endpoint, Outcome::nothing(), |endpoint| {
        endpoint.receive(now, remote, local, ecn as u8, data, Admission::from_number(admission))
    });
    // SAFETY: the caller's contract; the connection, if any, lives.
    unsafe {
        let user = if outcome.connection.is_null() { std::ptr::null_mut() } else { (*outcome.connection).user };
        *out = Received {
            kind: outcome.kind as u32,
            response_kind: outcome.response_kind as u32,
            connection: outcome.connection,
            user,
            validated: outcome.validated,
            policy: outcome.policy,
            response: transmit(&*endpoint, outcome.transmit),
        };
    }
}

/// Null if it cannot be dialled; `cq_last_panic` then says why.
///
/// # Safety
/// `key` points to 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_endpoint_connect(
    endpoint: *mut Endpoint,
    now: u64,
    remote: Address,
    key: *const u8,
    alpn: *const u8,
    alpn_size: usize,
) -> *mut Conn {
    let mut peer = [0; 32];
    peer.copy_from_slice(bytes_of(key, 32));
    let alpn = bytes_of(alpn, alpn_size);
    dialled(on_endpoint(endpoint, Err(String::new()), |endpoint| endpoint.connect(now, remote, peer, alpn)))
}

/// The same for a server with an X.509 certificate. `proves_key`: this side proves its own.
#[unsafe(no_mangle)]
pub extern "C" fn cq_endpoint_connect_x509(
    endpoint: *mut Endpoint,
    now: u64,
    remote: Address,
    name: Slice,
    roots: *const Slice,
    root_count: usize,
    proves_key: bool,
    alpn: *const u8,
    alpn_size: usize,
) -> *mut Conn {
    let roots = slices_of(roots, root_count);
    let name = String::from_utf8_lossy(bytes_of(name.data, name.size));
    let alpn = bytes_of(alpn, alpn_size);
    dialled(on_endpoint(endpoint, Err(String::new()), |endpoint| {
        endpoint.connect_x509(now, remote, &name, &roots, proves_key, alpn)
    }))
}

fn dialled(result: Result<*mut Conn, String>) -> *mut Conn {
    result.unwrap_or_else(|error| {
        if !error.is_empty() {
            panics::set(error);
        }
        std::ptr::null_mut()
    })
}
