// Everything that takes memory, with its bytes: what a placement can put on either side, and what it takes besides.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/needs/conv_ring.h"
#include "backends/needs/kv_pages.h"
#include "planner/model/model.h"

namespace lfm {

struct KvTypes {
    DType k = DType::kF16;  // F32, F16 or Q8_0
    DType v = DType::kF16;
};

/// What a session asks for.
struct SessionSizes {
    std::uint32_t n_ctx = 0;
    std::uint32_t n_batch = 512;
    std::uint32_t n_outputs = 1;  // rows of logits kept from one step
    std::uint32_t n_rewind = 0;   // tokens of a step that may be taken back after it
    KvTypes kv;
    std::uint32_t n_sequences = 1;   // that have state at once, each of up to n_ctx tokens
    std::uint32_t n_saved = 0;       // windows of convolutions that are kept beside theirs
    std::uint32_t n_shared_ctx = 0;  // tokens that all of them may have together; 0: n_ctx each

    /// Whether sequences share a pool of pages; else the only one's pages lie side by side.
    bool is_paged() const { return n_sequences > 1 || n_saved > 0; }
    /// Pages of keys and values for them all.
    std::uint32_t n_pages() const {
        return n_shared_ctx > 0 ? n_kv_pages(n_shared_ctx) : n_sequences * n_kv_pages(n_ctx);
    }
    /// Rows of a cache.
    std::uint32_t n_kv_rows() const { return is_paged() ? n_pages() * kKvPageTokens : n_ctx; }
    /// Rows of the state of one convolution.
    std::uint32_t n_conv_rows(std::uint32_t l_cache) const {
        const ConvRing ring = ConvRing::of(l_cache, n_rewind);
        return n_sequences * ring.n_slots + n_saved * ring.n_past;
    }
};

/// A layer: the parts that share one home, and its experts, each of which has its own.
struct LayerInventory {
    Bytes mixer;  // attn_norm and the operator's weights
    Bytes ffn;    // ffn_norm and the dense FFN, or ffn_norm, router and bias
    Bytes kv;     // of all sequences
    Bytes conv_state;
    Bytes expert;  // gate, up and down of one
    std::uint32_t n_expert = 0;

    Bytes home() const { return mixer + ffn + kv + conv_state; }
    Bytes experts() const { return {expert.value * n_expert}; }
};

struct Inventory {
    Bytes embedding;  // also the output when that is tied
    Bytes output;     // a matrix of its own, else 0
    Bytes output_norm;
    std::vector<LayerInventory> layers;
    Bytes activations;         // rows between operations, choices, a step's parameters
    Bytes device_activations;  // the rows on a device
    Bytes bridge;              // rows that cross between host and device
    Bytes scratch;             // of the host's backend, for the largest step
    Bytes vectors;             // norms, taps and biases, copied to f32

    /// Bytes of all tensors: those of the file's data section but for padding.
    Bytes weights() const;
    Bytes kv() const;
    Bytes conv_state() const;
};

/// Sizes of tensors come from the description; those of working memory are what the runtime will allocate.
Inventory take_inventory(const ModelDescription& model, const SessionSizes& sizes);

/// Of norms, taps and biases in f32, each on a cache line of its own: the tensors that no matmul reads.
Bytes vector_bytes(const ModelDescription& model);

/// Bytes of the keys and values of one layer's n_rows tokens.
Bytes kv_bytes(const HyperParameters& hyper, std::uint32_t n_head_kv, KvTypes types, std::uint32_t n_rows);

}  // namespace lfm
