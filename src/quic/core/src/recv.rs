//! The receiving half of one stream between noq and the application.
//!
//! noq is read without order, so that what it still holds is known exactly whenever a read found nothing more; this
//! puts the pieces into order again.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes, BytesMut};
use noq_proto::{Connection, ReadError, StreamId};

/// Charged for each piece that waits for the bytes before it, beyond its own size.
const PIECE_COST: u64 = 128;
/// What a frame takes in noq at least, however small it is.
const FRAME_COST: u64 = 160;
/// Bytes that are taken from noq at once. They count as read: not so many that an idle reader seems to read.
const BATCH: u64 = 64 * 1024;
/// What `front` makes of smaller pieces.
const PIECE: usize = 16 * 1024;
/// A piece that waits is copied if it is smaller: it must not keep a whole packet alive.
const COPY_BELOW: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer finished the stream and every byte was taken from noq.
    Finished,
    Reset(u64),
    /// noq does not know the stream (any more).
    Gone,
}

#[derive(Debug, Default)]
pub struct Recv {
    ordered: VecDeque<Bytes>,
    ordered_size: u64,
    /// Offset of the byte after `ordered`.
    next: u64,
    waiting: BTreeMap<u64, Bytes>,
    waiting_cost: u64,
    /// Upper bounds of what noq holds for the stream: bytes and frames.
    in_core: u64,
    frames: u64,
    end: Option<End>,
}

impl Recv {
    /// Bytes of memory that the stream's unread data takes, at most.
    pub fn held(&self) -> u64 {
        self.ordered_size + self.waiting_cost + self.in_core.max(self.frames * FRAME_COST)
    }

    /// noq took up to `size` bytes for the stream, in `frames` frames; it never holds more than `window`. Returns the
    /// frames that it may hold now.
    pub fn arrived(&mut self, size: u64, frames: u64, window: u64) -> u64 {
        self.in_core = (self.in_core + size).min(window);
        self.frames += frames;
        self.frames
    }

    /// Bytes that can be read now.
    pub fn available(&self) -> u64 {
        self.ordered_size
    }

    /// How the stream ended, behind what is available.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Takes what noq has, up to a batch, unless enough is available already. `window` bounds what is taken out of order.
    pub fn fill(&mut self, connection: &mut Connection, id: StreamId, window: u64) {
        if self.end.is_some() {
            return;
        }
        if self.ordered_size < PIECE as u64 {
            self.pull(connection, id, BATCH, window);
        } else if let Ok(Some(code)) = connection.recv_stream(id).received_reset() {
            self.end_by_reset(code.into_inner());
            self.in_core = 0;
            self.frames = 0;
        }
    }

    fn end_by_reset(&mut self, code: u64) {
        self.waiting.clear();
        self.waiting_cost = 0;
        self.end = Some(End::Reset(code));
    }

    /// The pieces that are available, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.ordered.iter()
    }

    /// The first available bytes as one piece, a few KiB if there are so many.
    pub fn front(&mut self) -> &[u8] {
        let small = self.ordered.front().is_some_and(|front| front.len() < PIECE) && self.ordered.len() > 1;
        if small {
            let mut joined = BytesMut::with_capacity(PIECE.min(self.ordered_size as usize));
            while let Some(piece) = self.ordered.front_mut() {
                let size = piece.len().min(joined.capacity() - joined.len());
                joined.extend_from_slice(&piece.split_to(size));
                if !piece.is_empty() {
                    break;
                }
                self.ordered.pop_front();
            }
            self.ordered.push_front(joined.freeze());
        }
        self.ordered.front().map_or(&[], |front| front)
    }

    /// `count` available bytes were used.
    pub fn consume(&mut self, count: u64) {
        let mut left = count.min(self.ordered_size);
        self.ordered_size -= left;
        while left > 0 {
            let Some(front) = self.ordered.front_mut() else { return };
            let size = (front.len() as u64).min(left);
            left -= size;
            front.advance(size as usize);
            if front.is_empty() {
                self.ordered.pop_front();
            }
        }
        if self.ordered.is_empty() {
            // Most connections are idle most of the time.
            self.ordered = VecDeque::new();
        }
    }

    /// Takes everything from noq, and puts it into one piece. noq ends the connection of a peer whose unread frames are
    /// too many, even if they are in order.
    pub fn compact(&mut self, connection: &mut Connection, id: StreamId, window: u64) {
        self.pull(connection, id, u64::MAX, window);
        let mut all = BytesMut::with_capacity(self.ordered_size as usize);
        for piece in self.ordered.drain(..) {
            all.extend_from_slice(&piece);
        }
        self.append_piece(all.freeze());
    }

    /// Takes chunks from noq until `wanted` bytes are in order.
    fn pull(&mut self, connection: &mut Connection, id: StreamId, wanted: u64, window: u64) {
        let mut stream = connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(false) else {
            self.end = Some(End::Gone);
            self.in_core = 0;
            self.frames = 0;
            return;
        };
        let mut blocked = false;
        let mut reset = None;
        let mut full = self.waiting_cost >= window;
        while self.ordered_size < wanted {
            // The piece that a full window waits for must still come in. noq has the lowest offset first, so that one
            // byte tells whether it arrived.
            match chunks.next(if full { 1 } else { usize::MAX }) {
                Ok(Some(chunk)) => {
                    let is_next = chunk.offset == self.next;
                    self.in_core = self.in_core.saturating_sub(chunk.bytes.len() as u64);
                    self.insert(chunk.offset, chunk.bytes);
                    if full && !is_next {
                        break;
                    }
                    full = !is_next && self.waiting_cost >= window;
                }
                Ok(None) => {
                    self.end = Some(End::Finished);
                    break;
                }
                Err(ReadError::Blocked) => {
                    blocked = true;
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    reset = Some(code.into_inner());
                    break;
                }
            }
        }
        let _ = chunks.finalize();
        if let Some(code) = reset {
            self.end_by_reset(code);
        }
        if blocked || self.end.is_some() {
            self.in_core = 0;
            self.frames = 0;
        }
    }

    fn insert(&mut self, offset: u64, bytes: Bytes) {
        if offset != self.next {
            self.waiting_cost += bytes.len() as u64 + PIECE_COST;
            let bytes = if bytes.len() < COPY_BELOW { Bytes::copy_from_slice(&bytes) } else { bytes };
            self.waiting.insert(offset, bytes);
            return;
        }
        self.append(bytes);
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() != self.next {
                break;
            }
            let bytes = entry.remove();
            self.waiting_cost -= bytes.len() as u64 + PIECE_COST;
            self.append(bytes);
        }
    }

    fn append(&mut self, bytes: Bytes) {
        self.next += bytes.len() as u64;
        self.ordered_size += bytes.len() as u64;
        self.append_piece(bytes);
    }

    fn append_piece(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.ordered.push_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(recv: &mut Recv) -> Vec<u8> {
        let bytes: Vec<u8> = recv.pieces().flatten().copied().collect();
        assert_eq!(bytes.len() as u64, recv.available());
        recv.consume(recv.available());
        bytes
    }

    #[test]
    fn small_pieces_are_joined_at_the_front_and_consumed_across_their_borders() {
        let mut recv = Recv::default();
        let mut offset = 0;
        for piece in ["ab", "cde", "f"] {
            recv.insert(offset, Bytes::from(piece));
            offset += piece.len() as u64;
        }
        recv.consume(1);
        assert_eq!(recv.front(), b"bcdef");
        recv.insert(offset, Bytes::from(vec![7; PIECE]));
        recv.consume(4);
        assert_eq!(recv.front().len(), PIECE);
        assert_eq!(recv.available(), 1 + PIECE as u64);
        recv.consume(2);
        assert_eq!(recv.front().len(), PIECE - 1);
        recv.consume(u64::MAX);
        assert!(recv.front().is_empty());
        assert_eq!(recv.held(), 0);
    }

    #[test]
    fn pieces_come_out_in_order() {
        let mut recv = Recv::default();
        recv.insert(3, Bytes::from_static(b"de"));
        recv.insert(6, Bytes::from_static(b"g"));
        assert_eq!(recv.held(), 2 + 1 + 2 * PIECE_COST);
        assert!(taken(&mut recv).is_empty());
        recv.insert(0, Bytes::from_static(b"abc"));
        assert_eq!(taken(&mut recv), b"abcde");
        recv.insert(5, Bytes::from_static(b"f"));
        assert_eq!(taken(&mut recv), b"fg");
        assert_eq!(recv.held(), 0);
    }

    #[test]
    fn what_the_core_holds_is_bounded_by_the_window() {
        let mut recv = Recv::default();
        for _ in 0..10 {
            recv.arrived(1000, 1, 5000);
        }
        assert_eq!(recv.held(), 5000);
    }

    #[test]
    fn small_frames_count_for_more_than_their_bytes() {
        let mut recv = Recv::default();
        for _ in 0..100 {
            recv.arrived(1, 1, 5000);
        }
        assert_eq!(recv.held(), 100 * FRAME_COST);
    }
}
