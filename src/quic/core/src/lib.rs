//! noq-proto, n0's QUIC state machine, behind a C interface: opaque handles, plain structs, buffers of the caller.
//!
//! One endpoint and its connections belong to one thread. No panic crosses the boundary: it is caught and counted, and
//! ends the connection that it happened in. `unsafe` is in `ffi` and where the endpoint follows its own pointers.

pub mod abi;
pub mod connection;
pub mod delivery;
pub mod endpoint;
mod ffi;
pub mod keys;
pub mod panics;
pub mod probe;
pub mod recv;
pub mod send;
pub mod tls;
mod unprotected;
