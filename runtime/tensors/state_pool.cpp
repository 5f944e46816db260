#include "runtime/tensors/state_pool.h"

#include <algorithm>
#include <string>

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

bool is_conv(const HyperParameters& hyper, std::uint32_t layer) { return hyper.n_head_kv[layer] == 0; }
bool on_device(const StatePlaces& places, std::uint32_t layer) {
    return places.device != nullptr && places.layers[layer] != kHost;
}

}  // namespace

void check_kv_types(KvTypes types, const HyperParameters& hyper) {
    check_type(types.k, hyper, "--cache-type-k");
    check_type(types.v, hyper, "--cache-type-v");
}

StatePool::StatePool(const HyperParameters& hyper, const SessionSizes& sizes)
    : hyper_(hyper), sizes_(sizes), ring_(ConvRing::of(hyper.l_cache, sizes.n_rewind)), n_embd_(hyper.n_embd) {
    check_kv_types(sizes.kv, hyper);
    n_conv_ = static_cast<std::size_t>(std::ranges::count(hyper.n_head_kv, 0u));
}

void StatePool::give_back() {
    kv_.clear();
    rings_.clear();
    seen_.clear();
    kv_buffer_ = HostBuffer();
    ring_buffer_ = HostBuffer();
    device_kv_ = DeviceArena();
    device_rings_ = DeviceBlock();
    device_copy_.clear();
    device_ = nullptr;
    ++n_lost_;
}

void StatePool::place(const StatePlaces& places, Ledger& ledger) {
    give_back();
    device_ = places.device;
    try {
        place_kv(places, ledger);
        place_rings(places, ledger);
    } catch (...) {
        give_back();
        throw;
    }
}

void StatePool::place_kv(const StatePlaces& places, Ledger& ledger) {
    const auto there = [&](std::uint32_t layer) { return on_device(places, layer); };
    const auto here = [&](std::uint32_t layer) { return !on_device(places, layer); };
    const auto views = [&](const auto& wanted, const auto& take) {
        return lay_out(hyper_, sizes_.kv, sizes_.n_ctx, wanted, take);
    };
    Carver measuring;
    views(here, [&](std::size_t size) { return measuring.take<std::byte>(size); });
    kv_buffer_ = HostBuffer(ledger, Purpose::kKvCache, measuring.used());
    Carver carver(kv_buffer_.bytes());
    kv_ = views(here, [&](std::size_t size) { return carver.take<std::byte>(size); });
    if (device_ == nullptr) return;
    views(there, [&](std::size_t size) {
        device_kv_.add(size);
        return static_cast<std::byte*>(nullptr);
    });
    device_kv_.allocate(*device_, Purpose::kKvCache);
    std::size_t piece = 0;
    const auto on_it = views(there, [&](std::size_t) { return device_kv_.address(piece++); });
    for (std::uint32_t i = 0; i < hyper_.n_layer; ++i)
        if (there(i)) kv_[i] = on_it[i];
}

void StatePool::place_rings(const StatePlaces& places, Ledger& ledger) {
    std::size_t n_here = 0, n_there = 0;
    for (std::uint32_t i = 0; i < hyper_.n_layer; ++i)
        if (is_conv(hyper_, i)) ++(on_device(places, i) ? n_there : n_here);
    const std::size_t bytes = ring_floats() * sizeof(float);
    ring_buffer_ = HostBuffer(ledger, Purpose::kConvState, n_here * bytes);
    if (n_there > 0) device_rings_ = device_->allocate(MemoryKind::kOwn, Purpose::kConvState, n_there * bytes);
    device_copy_.resize(n_there * ring_floats());
    float* here = ring_buffer_.as<float>().data();
    float* there = reinterpret_cast<float*>(device_rings_.address());
    float* copy = device_copy_.data();
    rings_.assign(hyper_.n_layer, nullptr);
    seen_ = rings_;
    for (std::uint32_t i = 0; i < hyper_.n_layer; ++i) {
        if (!is_conv(hyper_, i)) continue;
        float*& next = on_device(places, i) ? there : here;
        rings_[i] = seen_[i] = next;
        next += ring_floats();
        if (!on_device(places, i)) continue;
        seen_[i] = copy;
        copy += ring_floats();
    }
}

void StatePool::take_page() {
    if (page_taken_) throw Error(ErrorCode::kShortfall, "sequences", "expected at most 1, found one more");
    page_taken_ = true;
}

void StatePool::read_windows(std::uint32_t window, std::span<float> to) {
    if (!device_copy_.empty())
        device_->download(std::as_writable_bytes(std::span(device_copy_)), device_rings_.address());
    float* next = to.data();
    for (const float* ring : seen_)
        for (std::uint32_t i = 0; ring != nullptr && i < ring_.n_past; ++i)
            next = std::copy_n(ring + ring_.slot(window, i) * n_embd_, n_embd_, next);
}

void StatePool::write_windows(std::span<const float> from) {
    const std::size_t n_window = ring_.n_past * n_embd_;
    const float* next = from.data();
    for (float* ring : seen_) {
        if (ring == nullptr) continue;
        std::copy_n(next, n_window, ring);
        next += n_window;
    }
    if (device_copy_.empty()) return;
    const auto bytes = std::as_bytes(std::span(device_copy_));  // what is outside the windows does not matter
    const CopyRegion region{device_rings_.address(), bytes.data(), bytes.size()};
    device_->upload({&region, 1});
}

}  // namespace lfm
