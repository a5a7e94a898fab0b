//! One connection: its events, packets, timers and state.

use std::ffi::c_void;

use bytes::Bytes;

use super::{bytes_of, copy_out, on_connection, on_endpoint, stream_id, transmit};
use crate::abi::{CqEvent, Liveness, Status, Transmit};
use crate::connection::{Conn, varint};
use crate::endpoint::{Endpoint, instant, nanoseconds};

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
