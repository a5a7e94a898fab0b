//! noq-proto, n0's QUIC state machine, behind a C interface: opaque handles, plain structs, buffers of the caller.
//!
//! One endpoint and its connections belong to one thread. No panic crosses the boundary: it is caught and counted, and
//! ends the connection that it happened in. `unsafe` is in this file and where the endpoint follows its own pointers.
//!
//! Pointers that are passed in are valid for the call; `Transmit::data` that is passed out, until the next call on the
//! same endpoint. A connection handle is valid until `cq_connection_free`, and must be freed before its endpoint.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use noq_proto::{Dir, FourTuple, PathId, PathStatus, SendDatagramError, StreamId};

pub mod abi;
pub mod connection;
pub mod delivery;
pub mod endpoint;
pub mod keys;
pub mod panics;
pub mod probe;
pub mod recv;
pub mod send;
pub mod tls;
mod unprotected;

use abi::{
    Address, Admission, CertificateSource, CqEvent, FindCertificate, Layout, Liveness, PathInfo, Received, Slice,
    Status, StreamState, Transmit, X509Identity,
};
use connection::{Conn, varint};
use endpoint::{Endpoint, Outcome, PolicyParts, instant, nanoseconds};
use recv::End;

/// Runs `work` on an endpoint; `fallback` is the answer if it panics.
fn on_endpoint<R>(endpoint: *mut Endpoint, fallback: R, work: impl FnOnce(&mut Endpoint) -> R) -> R {
    // SAFETY: the caller passes a handle from cq_endpoint_new that it has not freed, from one thread.
    let endpoint = unsafe { &mut *endpoint };
    match catch_unwind(AssertUnwindSafe(|| work(endpoint))) {
        Ok(result) => result,
        Err(_) => {
            endpoint.panics += 1;
            fallback
        }
    }
}

/// Runs `work` on a connection that no panic has left unusable; a panic ends the connection.
fn on_connection<R>(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    fallback: R,
    work: impl FnOnce(&mut Endpoint, &mut Conn) -> R,
) -> R {
    // SAFETY: the caller passes handles that it has not freed, from one thread; the two objects are distinct.
    let (endpoint, conn) = unsafe { (&mut *endpoint, &mut *connection) };
    if conn.dead {
        return fallback;
    }
    endpoint.guarded(conn, work).unwrap_or(fallback)
}

fn bytes_of<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: the caller passes `size` readable bytes that live for the call.
    unsafe { std::slice::from_raw_parts(data, size) }
}

fn slices_of<'a>(list: *const Slice, count: usize) -> Vec<&'a [u8]> {
    (0..count)
        .map(|i| {
            // SAFETY: the caller passes `count` slices that live for the call.
            let slice = unsafe { *list.add(i) };
            bytes_of(slice.data, slice.size)
        })
        .collect()
}

fn copy_out(text: &str, out: *mut u8, capacity: usize) -> usize {
    let size = text.len().min(capacity);
    if size > 0 {
        // SAFETY: the caller passes `capacity` writable bytes.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, size) };
    }
    size
}

fn stream_id(id: u64) -> StreamId {
    StreamId::from(varint(id))
}

fn transmit(endpoint: &Endpoint, transmit: Option<noq_proto::Transmit>) -> Transmit {
    match transmit {
        None => Transmit {
            data: std::ptr::null(),
            size: 0,
            segment_size: 0,
            remote: Address::default(),
            local: Address::default(),
            ecn: 0,
        },
        Some(transmit) => Transmit {
            data: endpoint.buffer.as_ptr(),
            size: transmit.size,
            segment_size: transmit.segment_size.unwrap_or(transmit.size),
            remote: Address::from_socket(transmit.destination),
            local: Address::from_ip(transmit.src_ip),
            ecn: transmit.ecn.map_or(0, |ecn| ecn as u32),
        },
    }
}

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

fn finder(source: CertificateSource) -> Option<tls::FindCertificate> {
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

// ---- Connections

/// Forgets the connection at once, whatever its state.
///
/// # Safety
/// The handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_free(endpoint: *mut Endpoint, connection: *mut Conn) {
    // SAFETY: the caller's contract.
    let conn = unsafe { Box::from_raw(connection) };
    on_endpoint(endpoint, (), |endpoint| {
        endpoint.forget(&conn);
        drop(conn);
    });
}

/// # Safety
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_set_user(connection: *mut Conn, user: *mut c_void) {
    // SAFETY: the caller's contract.
    unsafe { (*connection).user = user };
}

/// Up to `capacity` events; returns how many.
///
/// # Safety
/// The handle is valid, `out` has room for `capacity` events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_events(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    out: *mut CqEvent,
    capacity: usize,
) -> usize {
    on_connection(endpoint, connection, (), |endpoint, conn| {
        let now = instant(now);
        conn.collect(now);
        endpoint.settle(conn, now);
    });
    // SAFETY: the caller's contract. Events of a dead connection are still told.
    let conn = unsafe { &mut *connection };
    let mut count = 0;
    while count < capacity {
        let Some(event) = conn.next_event() else { break };
        // SAFETY: the caller's contract.
        unsafe { out.add(count).write(event) };
        count += 1;
    }
    count
}

/// # Safety
/// The handle is valid, `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_status(endpoint: *mut Endpoint, connection: *mut Conn, out: *mut Status) {
    let fallback = Status {
        deadline: u64::MAX,
        lingering: 0,
        drained: true,
        handshaking: false,
        multipath: false,
        liveness: Liveness::NONE,
    };
    let status = on_connection(endpoint, connection, fallback, |_, conn| Status {
        deadline: conn.deadline().map_or(u64::MAX, nanoseconds),
        drained: conn.is_drained(),
        handshaking: conn.inner.is_handshaking(),
        multipath: conn.inner.is_multipath_negotiated(),
        lingering: conn.lingering(),
        liveness: conn.liveness(),
    });
    // SAFETY: the caller's contract.
    unsafe { out.write(status) };
}

/// The next batch to send; size 0 when there is none now.
///
/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_transmit(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    max_segments: usize,
    out: *mut Transmit,
) {
    let result = on_connection(endpoint, connection, None, |endpoint, conn| {
        let now = instant(now);
        endpoint.buffer.clear();
        let result = conn.transmit(now, max_segments, &mut endpoint.buffer);
        endpoint.settle(conn, now);
        result
    });
    // SAFETY: the caller's contract; on_connection checked the endpoint.
    unsafe { out.write(transmit(&*endpoint, result)) };
}

#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_timeout(endpoint: *mut Endpoint, connection: *mut Conn, now: u64) {
    on_connection(endpoint, connection, (), |endpoint, conn| {
        let now = instant(now);
        conn.handle_timeout(now);
        endpoint.settle(conn, now);
    });
}

/// Application close; the peer is told by what is transmitted next.
#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_close(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    code: u64,
    reason: *const u8,
    reason_size: usize,
) {
    let reason = bytes_of(reason, reason_size);
    on_connection(endpoint, connection, (), |endpoint, conn| {
        let now = instant(now);
        conn.inner.close(now, varint(code), Bytes::copy_from_slice(reason));
        endpoint.settle(conn, now);
    });
}

/// Why the connection was lost: CloseKind, code and text; returns the size of the text.
///
/// # Safety
/// The handle is valid, the outputs are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_close_reason(
    connection: *mut Conn,
    kind: *mut u32,
    code: *mut u64,
    text: *mut u8,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's contract.
    let conn = unsafe { &*connection };
    let Some(closed) = &conn.closed else { return 0 };
    // SAFETY: the caller's contract.
    unsafe {
        kind.write(closed.kind as u32);
        code.write(closed.code);
    }
    copy_out(&closed.text, text, capacity)
}

/// The peer's Ed25519 key. False before the handshake, and for X.509.
///
/// # Safety
/// The handle is valid, `out` has 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_peer_key(connection: *mut Conn, out: *mut u8) -> bool {
    // SAFETY: the caller's contract.
    let conn = unsafe { &*connection };
    let Some(key) = &conn.peer_key else { return false };
    // SAFETY: the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(key.as_ptr(), out, key.len()) };
    true
}

/// The negotiated application protocol; returns its size.
///
/// # Safety
/// `out` must have room for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_alpn(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    out: *mut u8,
    capacity: usize,
) -> usize {
    use noq_proto::crypto::rustls::HandshakeData;
    on_connection(endpoint, connection, 0, |_, conn| {
        let data = conn.inner.crypto_session().handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let Some(protocol) = data.and_then(|data| data.protocol) else { return 0 };
        let size = protocol.len().min(capacity);
        // SAFETY: the caller passes `capacity` writable bytes.
        unsafe { std::ptr::copy_nonoverlapping(protocol.as_ptr(), out, size) };
        size
    })
}

/// The local addresses changed. `recoverable`: the paths may go on as they are; otherwise a client opens new ones.
#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_network_changed(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    recoverable: bool,
) {
    on_connection(endpoint, connection, (), |endpoint, conn| {
        let now = instant(now);
        conn.network_changed(now, recoverable);
        endpoint.settle(conn, now);
    });
}

/// How many acknowledgements of the peer's were processed, over all paths.
#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_acks(endpoint: *mut Endpoint, connection: *mut Conn) -> u64 {
    on_connection(endpoint, connection, 0, |_, conn| {
        let stats = conn.inner.stats();
        stats.frame_rx.acks + stats.frame_rx.path_acks
    })
}

/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_connection_liveness(endpoint: *mut Endpoint, connection: *mut Conn, out: *mut Liveness) {
    let liveness = on_connection(endpoint, connection, Liveness::NONE, |_, conn| conn.liveness());
    // SAFETY: the caller's contract.
    unsafe { out.write(liveness) };
}

#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_ping(endpoint: *mut Endpoint, connection: *mut Conn) {
    on_connection(endpoint, connection, (), |_, conn| conn.inner.ping());
}

/// What the core may keep of written data until it is acknowledged; nothing at first. Not less than before, except for what
/// was granted since and nothing used.
#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_set_send_window(endpoint: *mut Endpoint, connection: *mut Conn, window: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.grant_send_window(window));
}

/// Makes what the core may keep `window` bytes, if it is sure to keep no more. `probe`: a stream that may be written to;
/// u64::MAX for none.
#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_try_reduce_send_window(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    window: u64,
    probe: u64,
) -> bool {
    let probe = (probe != u64::MAX).then(|| stream_id(probe));
    on_connection(endpoint, connection, false, |_, conn| conn.try_reduce_send_window(window, probe))
}

/// What the peer may send on all streams beyond what was read.
#[unsafe(no_mangle)]
pub extern "C" fn cq_connection_set_receive_window(endpoint: *mut Endpoint, connection: *mut Conn, window: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.inner.set_receive_window(varint(window)));
}

// ---- Streams

/// u64::MAX: the peer allows no more now.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_open(endpoint: *mut Endpoint, connection: *mut Conn, unidirectional: bool) -> u64 {
    let dir = if unidirectional { Dir::Uni } else { Dir::Bi };
    on_connection(endpoint, connection, u64::MAX, |_, conn| conn.inner.streams().open(dir).map_or(u64::MAX, u64::from))
}

/// u64::MAX: none waits.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_accept(endpoint: *mut Endpoint, connection: *mut Conn, unidirectional: bool) -> u64 {
    let dir = if unidirectional { Dir::Uni } else { Dir::Bi };
    on_connection(endpoint, connection, u64::MAX, |_, conn| conn.accept(dir).map_or(u64::MAX, u64::from))
}

/// Drops `consumed` bytes that were used, takes what arrived, and gives the peer credit for it. What was peeked at is not
/// valid any more.
///
/// # Safety
/// `state` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_stream_fill(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    id: u64,
    consumed: u64,
    state: *mut StreamState,
) {
    let filled = on_connection(endpoint, connection, None, |_, conn| conn.fill(stream_id(id), consumed));
    let (available, held, end) = filled.map_or((0, 0, Some(End::Gone)), |it| (it.available, it.held, it.end));
    let (end, code) = match end {
        None => (0, 0),
        Some(End::Finished) => (1, 0),
        Some(End::Reset(code)) => (2, code),
        Some(End::Gone) => (3, 0),
    };
    // SAFETY: the caller's contract.
    unsafe { state.write(StreamState { available, held, end, code }) };
}

/// Up to `capacity` pieces of what is available; returns how many. They are valid until the next fill or compact of the
/// stream, and until the next packet of the connection.
///
/// # Safety
/// `out` has room for `capacity` slices.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_stream_pieces(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    id: u64,
    out: *mut Slice,
    capacity: usize,
) -> usize {
    on_connection(endpoint, connection, 0, |_, conn| {
        let Some(recv) = conn.unread(stream_id(id)) else { return 0 };
        let mut count = 0;
        for piece in recv.pieces().take(capacity) {
            // SAFETY: the caller's contract.
            unsafe { out.add(count).write(Slice { data: piece.as_ptr(), size: piece.len() }) };
            count += 1;
        }
        count
    })
}

/// The first available bytes in one piece; valid as long as pieces are.
///
/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_stream_front(endpoint: *mut Endpoint, connection: *mut Conn, id: u64, out: *mut Slice) {
    let empty = Slice { data: std::ptr::null(), size: 0 };
    let front = on_connection(endpoint, connection, empty, |_, conn| {
        let front = conn.unread(stream_id(id)).map(|recv| recv.front());
        front.map_or(empty, |bytes| Slice { data: bytes.as_ptr(), size: bytes.len() })
    });
    // SAFETY: the caller's contract.
    unsafe { out.write(front) };
}

/// Drops the unread data of a stream that ended.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_forget(endpoint: *mut Endpoint, connection: *mut Conn, id: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.forget(stream_id(id)));
}

/// Makes the unread data of a stream one piece. What was peeked at is not valid any more; a fill must follow.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_compact(endpoint: *mut Endpoint, connection: *mut Conn, id: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.compact(stream_id(id)));
}

/// Stops receiving: what was not read is dropped.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_stop(endpoint: *mut Endpoint, connection: *mut Conn, id: u64, code: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.stop(stream_id(id), varint(code)));
}

/// How many bytes were taken; usize::MAX when the stream takes nothing any more.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_write(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    id: u64,
    data: *const u8,
    size: usize,
) -> usize {
    let data = bytes_of(data, size);
    on_connection(endpoint, connection, usize::MAX, |_, conn| conn.write(stream_id(id), data).unwrap_or(usize::MAX))
}

#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_finish(endpoint: *mut Endpoint, connection: *mut Conn, id: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.finish(stream_id(id)));
}

/// `written`: how many bytes were ever written to the stream.
#[unsafe(no_mangle)]
pub extern "C" fn cq_stream_reset(endpoint: *mut Endpoint, connection: *mut Conn, id: u64, code: u64, written: u64) {
    on_connection(endpoint, connection, (), |_, conn| conn.reset(stream_id(id), varint(code), written));
}

// ---- Datagrams (RFC 9221)

/// 0 queued, 1 too large, 2 the queue is full, 3 the peer takes none.
#[unsafe(no_mangle)]
pub extern "C" fn cq_datagram_send(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    data: *const u8,
    size: usize,
) -> u32 {
    let data = bytes_of(data, size);
    on_connection(endpoint, connection, 3, |_, conn| {
        match conn.inner.datagrams().send(Bytes::copy_from_slice(data), false) {
            Ok(()) => 0,
            Err(SendDatagramError::TooLarge) => 1,
            Err(SendDatagramError::Blocked(_)) => 2,
            Err(_) => 3,
        }
    })
}

/// 0: the peer takes none.
#[unsafe(no_mangle)]
pub extern "C" fn cq_datagram_max_size(endpoint: *mut Endpoint, connection: *mut Conn) -> usize {
    on_connection(endpoint, connection, 0, |_, conn| conn.inner.datagrams().max_size().unwrap_or(0))
}

/// Size of the datagram that was copied to `out`, cut if that is too small; usize::MAX: none waits.
///
/// # Safety
/// `out` has `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_datagram_receive(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    out: *mut u8,
    capacity: usize,
) -> usize {
    let datagram = on_connection(endpoint, connection, None, |_, conn| conn.inner.datagrams().recv());
    let Some(datagram) = datagram else { return usize::MAX };
    let size = datagram.len().min(capacity);
    // SAFETY: the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(datagram.as_ptr(), out, size) };
    size
}

// ---- Paths (draft-ietf-quic-multipath), NAT traversal, address discovery

/// Up to `capacity` paths; returns how many there are.
///
/// # Safety
/// `out` has room for `capacity` paths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cq_paths(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    out: *mut PathInfo,
    capacity: usize,
) -> usize {
    on_connection(endpoint, connection, 0, |_, conn| {
        let ids = conn.inner.paths();
        for (i, id) in ids.iter().take(capacity).enumerate() {
            let info = path_info(conn, *id);
            // SAFETY: the caller's contract.
            unsafe { out.add(i).write(info) };
        }
        ids.len().min(capacity)
    })
}

fn path_info(conn: &mut Conn, id: PathId) -> PathInfo {
    let mut info = PathInfo { id: connection::path_number(id), ..PathInfo::default() };
    if let Ok(path) = conn.inner.network_path(id) {
        (info.remote, info.local) = connection::address_of(path);
    }
    info.backup = matches!(conn.inner.path_status(id), Ok(PathStatus::Backup));
    info.remote_backup = matches!(conn.inner.remote_path_status(id), Some(PathStatus::Backup));
    info.established = conn.is_established(id);
    if let Ok(Some(observed)) = conn.inner.path_observed_address(id) {
        info.observed = Address::from_socket(observed);
    }
    if let Some(stats) = conn.inner.path_stats(id) {
        info.rtt_ns = stats.rtt.as_nanos() as u64;
        info.congestion_window = stats.cwnd;
        info.mtu = stats.current_mtu.into();
        info.bytes_sent = stats.udp_tx.bytes;
        info.bytes_received = stats.udp_rx.bytes;
        info.packets_lost = stats.lost_packets;
        info.congestion_events = stats.congestion_events;
        info.black_holes = stats.black_holes_detected;
    }
    info
}

/// The new path's id; u32::MAX - n: 0 no multipath, 1 only clients open paths, 2 no path id left, 3 no connection id
/// of the peer's left, 4 another reason.
#[unsafe(no_mangle)]
pub extern "C" fn cq_path_open(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    remote: Address,
    backup: bool,
) -> u32 {
    use noq_proto::PathError;
    on_connection(endpoint, connection, u32::MAX, |endpoint, conn| {
        let now = instant(now);
        let path = FourTuple::from_remote(remote.socket());
        let status = if backup { PathStatus::Backup } else { PathStatus::Available };
        let opened = conn.inner.open_path_ensure(path, status, now);
        endpoint.settle(conn, now);
        match opened {
            Ok((id, _)) => connection::path_number(id),
            Err(PathError::MultipathNotNegotiated) => u32::MAX,
            Err(PathError::ServerSideNotAllowed) => u32::MAX - 1,
            Err(PathError::MaxPathIdReached) => u32::MAX - 2,
            Err(PathError::RemoteCidsExhausted) => u32::MAX - 3,
            Err(_) => u32::MAX - 4,
        }
    })
}

/// False for the last path, and where there is none of that id.
#[unsafe(no_mangle)]
pub extern "C" fn cq_path_close(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    path: u32,
    code: u64,
) -> bool {
    on_connection(endpoint, connection, false, |endpoint, conn| {
        let now = instant(now);
        let closed = conn.inner.close_path(now, PathId::from(path), varint(code)).is_ok();
        endpoint.settle(conn, now);
        closed
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cq_path_set_backup(endpoint: *mut Endpoint, connection: *mut Conn, path: u32, backup: bool) -> bool {
    let status = if backup { PathStatus::Backup } else { PathStatus::Available };
    on_connection(endpoint, connection, false, |_, conn| conn.inner.set_path_status(PathId::from(path), status).is_ok())
}

/// 0 turns either off.
#[unsafe(no_mangle)]
pub extern "C" fn cq_path_set_timers(
    endpoint: *mut Endpoint,
    connection: *mut Conn,
    now: u64,
    path: u32,
    idle_timeout_ms: u64,
    keep_alive_ms: u64,
) -> bool {
    on_connection(endpoint, connection, false, |_, conn| {
        conn.set_path_timers(instant(now), PathId::from(path), idle_timeout_ms, keep_alive_ms)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cq_path_ping(endpoint: *mut Endpoint, connection: *mut Conn, path: u32) -> bool {
    on_connection(endpoint, connection, false, |_, conn| conn.inner.ping_path(PathId::from(path)).is_ok())
}

/// An address at which the peer may reach us. False where NAT traversal is not negotiated, or at the peer's limit.
#[unsafe(no_mangle)]
pub extern "C" fn cq_candidate_add(endpoint: *mut Endpoint, connection: *mut Conn, address: Address) -> bool {
    on_connection(endpoint, connection, false, |_, conn| conn.inner.add_nat_traversal_address(address.socket()).is_ok())
}

#[unsafe(no_mangle)]
pub extern "C" fn cq_candidate_remove(endpoint: *mut Endpoint, connection: *mut Conn, address: Address) -> bool {
    on_connection(endpoint, connection, false, |_, conn| {
        conn.inner.remove_nat_traversal_address(address.socket()).is_ok()
    })
}

/// Clients: tells the server our candidates and probes its own. How many are probed; u32::MAX where NAT traversal is
/// not negotiated or not possible.
#[unsafe(no_mangle)]
pub extern "C" fn cq_nat_traversal_round(endpoint: *mut Endpoint, connection: *mut Conn, now: u64) -> u32 {
    on_connection(endpoint, connection, u32::MAX, |_, conn| {
        conn.nat_traversal_round(instant(now)).map_or(u32::MAX, |probed| probed as u32)
    })
}
