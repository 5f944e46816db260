#include "runtime/sequence_state.h"

#include <algorithm>

#include "memory/error.h"

namespace lfm {
namespace {

void check_type(DType type, const HyperParameters& hyper, const char* option) {
    if (type != DType::kF32 && type != DType::kF16 && type != DType::kQ8_0)
        throw Error(ErrorCode::kUsage, option, "expected f32, f16 or q8_0, found " + std::string(dtype_name(type)));
    if (hyper.head_dim % dtype_info(type).block_size != 0)
        throw Error(ErrorCode::kUsage, option,
                    "expected a type whose block divides the head size " + std::to_string(hyper.head_dim) + ", found " +
                        std::string(dtype_name(type)));
}

struct KvCarving {
    std::vector<KvView> views;
    std::size_t bytes = 0;
};

KvCarving carve_kv(const HyperParameters& hyper, KvTypes types, std::uint32_t n_ctx, std::span<std::byte> buffer) {
    Carver carver(buffer);
    KvCarving carving;
    carving.views.resize(hyper.n_layer);
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const std::uint64_t n = std::uint64_t{hyper.n_head_kv[i]} * hyper.head_dim;
        if (n == 0) continue;
        KvView& view = carving.views[i];
        view.k = carver.take<std::byte>(row_bytes(types.k, n) * n_ctx);
        view.v = carver.take<std::byte>(row_bytes(types.v, n) * n_ctx);
        view.k_type = types.k;
        view.v_type = types.v;
        view.n_head_kv = hyper.n_head_kv[i];
        view.head_dim = hyper.head_dim;
    }
    carving.bytes = carver.used();
    return carving;
}

std::size_t conv_floats(const HyperParameters& hyper) { return std::size_t{hyper.l_cache - 1} * hyper.n_embd; }

std::size_t n_conv_layers(const HyperParameters& hyper) {
    return static_cast<std::size_t>(std::ranges::count(hyper.n_head_kv, 0u));
}

}  // namespace

void check_kv_types(KvTypes types, const HyperParameters& hyper) {
    check_type(types.k, hyper, "--cache-type-k");
    check_type(types.v, hyper, "--cache-type-v");
}

Bytes kv_cache_bytes(const HyperParameters& hyper, KvTypes types, std::uint32_t n_ctx) {
    return Bytes{carve_kv(hyper, types, n_ctx, {}).bytes};
}

SequenceState::SequenceState(const HyperParameters& hyper, KvTypes types, std::uint32_t n_ctx, Ledger& ledger)
    : n_ctx_(n_ctx) {
    check_kv_types(types, hyper);
    kv_buffer_ = HostBuffer(ledger, Purpose::kKvCache, kv_cache_bytes(hyper, types, n_ctx).value);
    kv_ = carve_kv(hyper, types, n_ctx, kv_buffer_.bytes()).views;
    conv_buffer_ = HostBuffer(ledger, Purpose::kConvState, n_conv_layers(hyper) * conv_floats(hyper) * sizeof(float));
    float* next = conv_buffer_.as<float>().data();
    conv_.resize(hyper.n_layer);
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        if (hyper.n_head_kv[i] != 0) continue;
        conv_[i] = next;
        next += conv_floats(hyper);
    }
}

Checkpoint SequenceState::checkpoint() const {
    const auto state = conv_buffer_.as<float>();
    return {position_, {state.begin(), state.end()}};
}

void SequenceState::checkpoint_into(Checkpoint& checkpoint) const {
    checkpoint.position = position_;
    std::ranges::copy(conv_buffer_.as<float>(), checkpoint.conv.begin());
}

void SequenceState::restore(const Checkpoint& checkpoint) {
    position_ = checkpoint.position;
    std::ranges::copy(checkpoint.conv, conv_buffer_.as<float>().begin());
}

}  // namespace lfm
