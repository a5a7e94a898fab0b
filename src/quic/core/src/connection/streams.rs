//! Streams of a connection.

use noq_proto::{Dir, StreamId, VarInt, WriteError};

use super::Conn;
use crate::recv::{End, Recv};

/// Assumed for the first frame of a stream, of which noq does not tell.
const FIRST_FRAME: u64 = 1500;

/// The receiving half of a stream.
pub struct StreamState {
    pub available: u64,
    pub held: u64,
    pub end: Option<End>,
}

impl Conn {
    fn may_receive(&self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || id.initiator() != self.inner.side()
    }

    fn may_send(&self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || id.initiator() == self.inner.side()
    }

    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        let id = self.inner.streams().accept(dir)?;
        self.streams.entry(id).or_default().arrived(FIRST_FRAME, 1, self.window);
        Some(id)
    }

    /// Drops `consumed` bytes that were used, and takes what noq has. None: there is no such stream.
    pub fn fill(&mut self, id: StreamId, consumed: u64) -> Option<StreamState> {
        if !self.may_receive(id) {
            return None;
        }
        let recv = self.streams.entry(id).or_default();
        recv.consume(consumed);
        recv.fill(&mut self.inner, id, self.window);
        let state = StreamState { available: recv.available(), held: recv.held(), end: recv.end() };
        if state.end.is_some() && state.available == 0 {
            self.forget(id);
        }
        Some(state)
    }

    pub fn unread(&mut self, id: StreamId) -> Option<&mut Recv> {
        self.streams.get_mut(&id)
    }

    pub fn compact(&mut self, id: StreamId) {
        if self.may_receive(id) {
            self.streams.entry(id).or_default().compact(&mut self.inner, id, self.window);
        }
    }

    pub fn stop(&mut self, id: StreamId, code: VarInt) {
        if self.may_receive(id) {
            self.forget(id);
            let _ = self.inner.recv_stream(id).stop(code);
        }
    }

    /// Drops the unread data of a stream that noq is done with.
    pub fn forget(&mut self, id: StreamId) {
        self.streams.remove(&id);
    }

    /// How much of `data` was taken; None when the stream takes nothing more.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Option<usize> {
        if !self.may_send(id) {
            return None;
        }
        match self.inner.send_stream(id).write(data) {
            Ok(count) => Some(count),
            Err(WriteError::Blocked) => Some(0),
            Err(_) => None,
        }
    }

    pub fn finish(&mut self, id: StreamId) {
        if self.may_send(id) {
            let _ = self.inner.send_stream(id).finish();
        }
    }

    /// `written`: how much was ever written to it.
    pub fn reset(&mut self, id: StreamId, code: VarInt, written: u64) {
        if self.may_send(id) {
            self.send.reset(&mut self.inner, id, code, written);
        }
    }

    pub fn grant_send_window(&mut self, window: u64) {
        self.send.grant(&mut self.inner, window);
    }

    pub fn try_reduce_send_window(&mut self, window: u64, probe: Option<StreamId>) -> bool {
        let probe = probe.filter(|id| self.may_send(*id));
        self.send.try_reduce(&mut self.inner, window, probe)
    }

    /// Bytes of streams that were reset and that noq still keeps.
    pub fn lingering(&self) -> u64 {
        self.send.lingering()
    }
}
