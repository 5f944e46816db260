// What a session is made with: the one struct that every part of it takes whole.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cpu/kernels/kernels.h"
#include "planner/cost/decode_cost.h"
#include "planner/cost/inventory.h"
#include "runtime/experts/expert_residency.h"

namespace lfm {

class Trace;

/// What to do when the device is lost: go on with the host alone, from the tokens, or throw Error{kDeviceLost}.
enum class AfterLoss : std::uint8_t { kGoOnWithHost, kThrow };

struct SessionOptions {
    std::uint32_t n_ctx = 0;      // most tokens of a sequence
    std::uint32_t n_batch = 512;  // most tokens of one step
    std::uint32_t n_outputs = 1;  // most rows of logits kept from one step
    std::uint32_t n_rewind = 0;   // most tokens of a step that may be taken back after it
    std::uint32_t n_threads = 1;
    std::uint32_t n_sequences = 1;   // that have state at once
    std::uint32_t n_saved = 0;       // windows of convolutions kept beside theirs, for prefixes that come again
    std::uint32_t n_shared_ctx = 0;  // tokens that all sequences may have together, at least n_ctx; 0: n_ctx each
    KvTypes kv;
    const cpu::Kernels* kernels = nullptr;  // null: the fastest here
    /// [n_layer], of the machine profile: decides which missing experts travel in decode. Empty: none does.
    std::vector<ExpertTimes> expert_times;
    Adaptation adaptation = Adaptation::kOn;
    Trace* trace = nullptr;  // outlives the session
    AfterLoss after_loss = AfterLoss::kGoOnWithHost;

    SessionSizes sizes() const {
        return {.n_ctx = n_ctx,
                .n_batch = n_batch,
                .n_outputs = n_outputs,
                .n_rewind = n_rewind,
                .kv = kv,
                .n_sequences = n_sequences,
                .n_saved = n_saved,
                .n_shared_ctx = n_shared_ctx};
    }
    BackendLimits limits() const { return {.n_batch = n_batch, .n_ctx = n_ctx, .n_sequences = n_sequences}; }
};

/// Throws Error{kUsage} for values out of range. Returns them.
const SessionOptions& checked(const SessionOptions& options);

}  // namespace lfm
