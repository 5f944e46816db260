#include "runtime/tensors/sequence_state.h"

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

/// The caches of the layers that are asked for, one after another. `take(bytes)` gives each its memory.
template <typename Wanted, typename Take>
std::vector<KvView> lay_out(const HyperParameters& hyper, KvTypes types, std::uint32_t n_ctx, const Wanted& wanted,
                            const Take& take) {
    std::vector<KvView> views(hyper.n_layer);
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const std::uint64_t n = std::uint64_t{hyper.n_head_kv[i]} * hyper.head_dim;
        if (n == 0 || !wanted(i)) continue;
        KvView& view = views[i];
        view.k = take(row_bytes(types.k, n) * n_ctx);
        view.v = take(row_bytes(types.v, n) * n_ctx);
        view.k_type = types.k;
        view.v_type = types.v;
        view.n_head_kv = hyper.n_head_kv[i];
        view.head_dim = hyper.head_dim;
    }
    return views;
}

std::size_t conv_floats(const HyperParameters& hyper) { return std::size_t{hyper.l_cache - 1} * hyper.n_embd; }

}  // namespace

void check_kv_types(KvTypes types, const HyperParameters& hyper) {
    check_type(types.k, hyper, "--cache-type-k");
    check_type(types.v, hyper, "--cache-type-v");
}

SequenceState::SequenceState(const HyperParameters& hyper, KvTypes types, std::uint32_t n_ctx,
                             const StatePlaces& places, Ledger& ledger)
    : n_ctx_(n_ctx), device_(places.device), conv_(hyper.n_layer) {
    check_kv_types(types, hyper);
    const auto on_device = [&](std::uint32_t layer) { return device_ != nullptr && places.layers[layer] != kHost; };
    const auto on_host = [&](std::uint32_t layer) { return !on_device(layer); };
    Carver measuring;
    lay_out(hyper, types, n_ctx, on_host, [&](std::size_t size) { return measuring.take<std::byte>(size); });
    kv_buffer_ = HostBuffer(ledger, Purpose::kKvCache, measuring.used());
    Carver carver(kv_buffer_.bytes());
    kv_ = lay_out(hyper, types, n_ctx, on_host, [&](std::size_t size) { return carver.take<std::byte>(size); });
    if (device_ != nullptr) place_kv(hyper, types, places);

    std::size_t n_host = 0, n_device = 0;
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i)
        if (hyper.n_head_kv[i] == 0) {
            ++(on_device(i) ? n_device : n_host);
            conv_places_.push_back(on_device(i) ? places.device->id() : kHost);
        }
    n_conv_floats_ = conv_floats(hyper);
    device_copy_.resize(n_device * conv_floats(hyper));
    conv_buffer_ = HostBuffer(ledger, Purpose::kConvState, n_host * conv_floats(hyper) * sizeof(float));
    if (n_device > 0)
        device_conv_ =
            device_->allocate(MemoryKind::kOwn, Purpose::kConvState, n_device * conv_floats(hyper) * sizeof(float));
    float* next_host = conv_buffer_.as<float>().data();
    float* next_device = reinterpret_cast<float*>(device_conv_.address());
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        if (hyper.n_head_kv[i] != 0) continue;
        float*& next = on_device(i) ? next_device : next_host;
        conv_[i] = next;
        next += conv_floats(hyper);
    }
}

void SequenceState::place_kv(const HyperParameters& hyper, KvTypes types, const StatePlaces& places) {
    const auto on_device = [&](std::uint32_t layer) { return places.layers[layer] != kHost; };
    lay_out(hyper, types, n_ctx_, on_device, [&](std::size_t size) {
        device_kv_.add(size);
        return static_cast<std::byte*>(nullptr);
    });
    device_kv_.allocate(*device_, Purpose::kKvCache);
    std::size_t piece = 0;
    const auto views =
        lay_out(hyper, types, n_ctx_, on_device, [&](std::size_t) { return device_kv_.address(piece++); });
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i)
        if (on_device(i)) kv_[i] = views[i];
}

Checkpoint SequenceState::checkpoint() const {
    Checkpoint checkpoint{0, std::vector<float>(conv_places_.size() * n_conv_floats_)};
    checkpoint_into(checkpoint);
    return checkpoint;
}

void SequenceState::checkpoint_into(Checkpoint& checkpoint) const {
    checkpoint.position = position_;
    if (!device_copy_.empty())
        device_->download(std::as_writable_bytes(std::span(device_copy_)), device_conv_.address());
    const float* from[] = {conv_buffer_.as<float>().data(), device_copy_.data()};
    float* to = checkpoint.conv.data();
    for (const DeviceId place : conv_places_) {
        const float*& next = from[place == kHost ? 0 : 1];
        to = std::copy_n(next, n_conv_floats_, to);
        next += n_conv_floats_;
    }
}

void SequenceState::restore(const Checkpoint& checkpoint) {
    position_ = checkpoint.position;
    float* to[] = {conv_buffer_.as<float>().data(), device_copy_.data()};
    const float* from = checkpoint.conv.data();
    for (const DeviceId place : conv_places_) {
        float*& next = to[place == kHost ? 0 : 1];
        next = std::copy_n(from, n_conv_floats_, next);
        from += n_conv_floats_;
    }
    if (device_copy_.empty()) return;
    const auto bytes = std::as_bytes(std::span(device_copy_));
    const CopyRegion region{device_conv_.address(), bytes.data(), bytes.size()};
    device_->upload({&region, 1});
}

void SequenceState::keep_host() {
    const auto conv = conv_buffer_.as<float>();
    kept_.assign(conv.begin(), conv.end());
}

void SequenceState::put_back_host() { std::ranges::copy(kept_, conv_buffer_.as<float>().begin()); }

}  // namespace lfm
