//! Streams and datagrams of a connection.

use bytes::Bytes;
use noq_proto::{Dir, SendDatagramError};

use super::{bytes_of, on_connection, stream_id};
use crate::abi::{Slice, StreamState};
use crate::connection::{Conn, varint};
use crate::endpoint::Endpoint;
use crate::recv::End;

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
