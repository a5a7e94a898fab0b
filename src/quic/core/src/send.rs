//! What noq may keep of the data that was written to all streams of a connection, until the peer acknowledges it.

use noq_proto::{Connection, StreamId, VarInt};

/// noq 1.4 no longer counts the data of a stream that was reset, but keeps it until the reset is acknowledged: a peer that
/// acknowledges nothing would make it keep any amount. So what such streams may still take is taken off noq's window.
#[derive(Debug, Default)]
pub struct SendWindow {
    granted: u64,
    /// Streams that were reset, and the most that noq may still keep of each.
    resets: Vec<(StreamId, u64)>,
    lingering: u64,
}

impl SendWindow {
    /// Bytes of streams that were reset; part of what was granted.
    pub fn lingering(&self) -> u64 {
        self.lingering
    }

    fn usable(&self) -> u64 {
        self.granted.saturating_sub(self.lingering)
    }

    /// `window` is not less than what noq keeps: larger than before, or as before a larger one that nothing used.
    pub fn grant(&mut self, connection: &mut Connection, window: u64) {
        self.granted = window;
        connection.set_send_window(self.usable());
    }

    /// Reduces the window to `window` if noq is sure to keep no more than that; it does not say how much it keeps (1.4).
    /// `probe`, a stream that may be written to, takes an empty write only below the window. noq may send an empty STREAM
    /// frame then.
    pub fn try_reduce(&mut self, connection: &mut Connection, window: u64, probe: Option<StreamId>) -> bool {
        let Some(kept) = window.checked_sub(self.lingering) else { return false };
        // Exactly `kept` bytes are below a window of one more.
        connection.set_send_window(kept + 1);
        let proven = connection.streams().send_streams() == 0
            || probe.is_some_and(|id| connection.send_stream(id).write(&[]).is_ok());
        if proven {
            self.granted = window;
        }
        connection.set_send_window(self.usable());
        proven
    }

    /// Resets a stream that `written` bytes were ever written to.
    pub fn reset(&mut self, connection: &mut Connection, id: StreamId, code: VarInt, written: u64) {
        if connection.send_stream(id).reset(code).is_err() {
            return;
        }
        let kept = written.min(self.usable());
        if kept > 0 {
            self.resets.push((id, kept));
            self.lingering += kept;
            connection.set_send_window(self.usable());
        }
    }

    /// Notes which resets were acknowledged.
    pub fn collect(&mut self, connection: &mut Connection) {
        if self.resets.is_empty() {
            return;
        }
        // noq forgets the stream then.
        self.resets.retain(|(id, _)| connection.send_stream(*id).stopped().is_ok());
        self.lingering = self.resets.iter().map(|(_, kept)| kept).sum();
        connection.set_send_window(self.usable());
    }
}
