//! Paths (draft-ietf-quic-multipath), NAT traversal and address discovery.

use noq_proto::{FourTuple, PathId, PathStatus};

use super::on_connection;
use crate::abi::{Address, PathInfo};
use crate::connection::{self, Conn, varint};
use crate::endpoint::{Endpoint, instant};

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
