//! The C interface: all that the embedding program calls. quic/core.h declares the same.
//!
//! Pointers that are passed in are valid for the call; `Transmit::data` that is passed out, until the next call on the
//! same endpoint. A connection handle is valid until `cq_connection_free`, and must be freed before its endpoint.

use std::panic::{AssertUnwindSafe, catch_unwind};

use noq_proto::StreamId;

use crate::abi::{Address, Slice, Transmit};
use crate::connection::{Conn, varint};
use crate::endpoint::Endpoint;

mod connection;
mod endpoint;
mod identity;
mod paths;
mod streams;

/// Runs `work` on an endpoint; `fallback` is the answer if it panics.
pub fn on_endpoint<R>(endpoint: *mut Endpoint, fallback: R, work: impl FnOnce(&mut Endpoint) -> R) -> R {
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
pub fn on_connection<R>(
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

pub fn bytes_of<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: the caller passes `size` readable bytes that live for the call.
    unsafe { std::slice::from_raw_parts(data, size) }
}

pub fn slices_of<'a>(list: *const Slice, count: usize) -> Vec<&'a [u8]> {
    (0..count)
        .map(|i| {
            // SAFETY: the caller passes `count` slices that live for the call.
            let slice = unsafe { *list.add(i) };
            bytes_of(slice.data, slice.size)
        })
        .collect()
}

pub fn copy_out(text: &str, out: *mut u8, capacity: usize) -> usize {
    let size = text.len().min(capacity);
    if size > 0 {
        // SAFETY: the caller passes `capacity` writable bytes.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, size) };
    }
    size
}

pub fn stream_id(id: u64) -> StreamId {
    StreamId::from(varint(id))
}

pub fn transmit(endpoint: &Endpoint, transmit: Option<noq_proto::Transmit>) -> Transmit {
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
