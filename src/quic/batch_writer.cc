#include "quic/batch_writer.h"

#include <algorithm>

#include "quic/core.h"

namespace culvert::quic {
namespace {

// Linux takes just under 64 KiB in one UDP_SEGMENT send.
constexpr size_t kMaxBatchBytes = 65'000;
// Batches that one connection sends before the others get their turn.
constexpr int kMaxBatches = 4;

}  // namespace

bool BatchWriter::write_kept(BatchSink& sink) {
  if (kept_.empty()) return true;
  kept_batch_.data = kept_;
  if (!sink.send(kept_batch_)) return false;
  Bytes().swap(kept_);
  return true;
}

bool BatchWriter::write(TimePoint now, BatchSink& sink, Liveness& liveness) {
  const size_t max_segments = std::max<size_t>(1, kMaxBatchBytes / context_.limits().max_udp_payload);
  for (int batches = 0;; ++batches) {
    core::Transmit out;
    core::cq_connection_transmit(context_.endpoint(), context_.core, core::to_core(now), max_segments, &out);
    if (out.size == 0) return true;
    liveness.transmitted(now);
    net::DatagramBatch batch{.data = {out.data, out.size},
                             .segment_size = out.segment_size,
                             .remote = core::from_core(out.remote),
                             .local = core::from_core(out.local),
                             .ecn = static_cast<uint8_t>(out.ecn)};
    if (!sink.send(batch)) {
      kept_ = to_bytes(batch.data);
      kept_batch_ = batch;
      return false;
    }
    if (batches == kMaxBatches) {
      context_.mark_dirty();
      return true;
    }
  }
}

}  // namespace culvert::quic
