#include "runtime/state/state_pool.h"

#include <algorithm>
#include <cstring>
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
std::vector<KvView> lay_out(const HyperParameters& hyper, KvTypes types, std::uint32_t n_rows, const Wanted& wanted,
                            const Take& take) {
    std::vector<KvView> views(hyper.n_layer);
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const std::uint64_t n = std::uint64_t{hyper.n_head_kv[i]} * hyper.head_dim;
        if (n == 0 || !wanted(i)) continue;
        KvView& view = views[i];
        view.k = take(row_bytes(types.k, n) * n_rows);
        view.v = take(row_bytes(types.v, n) * n_rows);
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
    : hyper_(hyper),
      sizes_(sizes),
      ring_(ConvRing::of(hyper.l_cache, sizes.n_rewind)),
      n_embd_(hyper.n_embd),
      pages_(sizes.n_pages()) {
    check_kv_types(sizes.kv, hyper);
    n_conv_ = static_cast<std::size_t>(std::ranges::count(hyper.n_head_kv, 0u));
    for (std::uint32_t i = sizes.n_sequences; i > 0; --i) free_rings_.push_back((i - 1) * ring_.n_slots);
}

std::optional<std::uint32_t> StatePool::take_ring() {
    if (free_rings_.empty()) return std::nullopt;
    const std::uint32_t first = free_rings_.back();
    free_rings_.pop_back();
    return first;
}

void StatePool::give_back() {
    kv_.clear();
    conv_rows_.clear();
    on_device_.clear();
    kv_on_device_.clear();
    kv_buffer_ = HostBuffer();
    conv_buffer_ = HostBuffer();
    device_kv_ = DeviceArena();
    device_conv_ = DeviceBlock();
    device_copy_.clear();
    device_ = nullptr;
    ++n_lost_;
}

void StatePool::place(const StatePlaces& places, Ledger& ledger) {
    give_back();
    device_ = places.device;
    try {
        place_kv(places, ledger);
        place_conv_rows(places, ledger);
    } catch (...) {
        give_back();
        throw;
    }
}

void StatePool::place_kv(const StatePlaces& places, Ledger& ledger) {
    const auto there = [&](std::uint32_t layer) { return on_device(places, layer); };
    const auto here = [&](std::uint32_t layer) { return !on_device(places, layer); };
    const auto views = [&](const auto& wanted, const auto& take) {
        return lay_out(hyper_, sizes_.kv, sizes_.n_kv_rows(), wanted, take);
    };
    Carver measuring;
    views(here, [&](std::size_t size) { return measuring.take<std::byte>(size); });
    kv_buffer_ = HostBuffer(ledger, Purpose::kKvCache, measuring.used());
    Carver carver(kv_buffer_.bytes());
    kv_ = views(here, [&](std::size_t size) { return carver.take<std::byte>(size); });
    kv_on_device_.assign(hyper_.n_layer, false);
    if (device_ == nullptr) return;
    views(there, [&](std::size_t size) {
        device_kv_.add(size);
        return static_cast<std::byte*>(nullptr);
    });
    device_kv_.allocate(*device_, Purpose::kKvCache);
    std::size_t piece = 0;
    const auto on_it = views(there, [&](std::size_t) { return device_kv_.address(piece++); });
    for (std::uint32_t i = 0; i < hyper_.n_layer; ++i)
        if (there(i)) {
            kv_[i] = on_it[i];
            kv_on_device_[i] = true;
        }
}

void StatePool::place_conv_rows(const StatePlaces& places, Ledger& ledger) {
    std::size_t n_here = 0, n_there = 0;
    on_device_.assign(hyper_.n_layer, false);
    for (std::uint32_t i = 0; i < hyper_.n_layer; ++i)
        if (is_conv(hyper_, i)) ++((on_device_[i] = on_device(places, i)) ? n_there : n_here);
    const std::size_t n = std::size_t{sizes_.n_conv_rows(hyper_.l_cache)} * n_embd_, bytes = n * sizeof(float);
    conv_buffer_ = HostBuffer(ledger, Purpose::kConvState, n_here * bytes);
    if (n_there > 0) device_conv_ = device_->allocate(MemoryKind::kOwn, Purpose::kConvState, n_there * bytes);
    if (n_there > 0) device_copy_.resize(ring_floats());
    float* here = conv_buffer_.as<float>().data();
    float* there = reinterpret_cast<float*>(device_conv_.address());
    conv_rows_.assign(hyper_.n_layer, nullptr);
    for (std::uint32_t i = 0; i < hyper_.n_layer; ++i) {
        if (!is_conv(hyper_, i)) continue;
        float*& next = on_device_[i] ? there : here;
        conv_rows_[i] = next;
        next += n;
    }
}

void StatePool::read_windows(std::uint32_t ring, std::uint32_t window, std::span<float> to) {
    float* next = to.data();
    for (std::uint32_t layer = 0; layer < hyper_.n_layer; ++layer) {
        const float* rows = conv_rows_[layer];
        if (rows == nullptr || ring_.n_past == 0) continue;
        rows += ring * n_embd_;
        if (on_device_[layer]) {
            const std::span<float> copy(device_copy_);
            device_->download(std::as_writable_bytes(copy), reinterpret_cast<const std::byte*>(rows));
            rows = copy.data();
        }
        for (std::uint32_t i = 0; i < ring_.n_past; ++i)
            next = std::copy_n(rows + ring_.slot(window, i) * n_embd_, n_embd_, next);
    }
}

void StatePool::write_windows(std::uint32_t ring, std::span<const float> from) {
    const std::size_t n_window = ring_.n_past * n_embd_;
    const float* next = from.data();
    std::vector<CopyRegion> regions;
    for (std::uint32_t layer = 0; layer < hyper_.n_layer; ++layer) {
        if (conv_rows_[layer] == nullptr) continue;
        float* const to = conv_rows_[layer] + ring * n_embd_;
        const auto bytes = std::as_bytes(std::span(next, n_window));
        if (on_device_[layer])
            regions.push_back({reinterpret_cast<std::byte*>(to), bytes.data(), bytes.size()});
        else
            std::copy_n(next, n_window, to);
        next += n_window;
    }
    if (!regions.empty() && n_window > 0) device_->upload(regions);
}

void StatePool::read_saved(std::uint32_t id, std::span<float> to) {
    const std::size_t n = ring_.n_past * n_embd_;
    for (std::uint32_t layer = 0; layer < hyper_.n_layer; ++layer) {
        if (conv_rows_[layer] == nullptr || n == 0) continue;
        const float* const from = conv_rows_[layer] + saved_row(id) * n_embd_;
        const auto there = std::as_writable_bytes(to.first(n));
        if (on_device_[layer])
            device_->download(there, reinterpret_cast<const std::byte*>(from));
        else
            std::memcpy(there.data(), from, there.size());
        to = to.subspan(n);
    }
}

void StatePool::write_saved(std::uint32_t id, std::span<const float> from) { write_windows(saved_row(id), from); }

template <typename Each>
void StatePool::for_each_cache(const Each& each) const {
    for (std::uint32_t layer = 0; layer < hyper_.n_layer; ++layer) {
        const std::uint64_t n = std::uint64_t{hyper_.n_head_kv[layer]} * hyper_.head_dim;
        if (n == 0) continue;
        const bool there = !kv_on_device_.empty() && kv_on_device_[layer];
        std::byte* const k = kv_.empty() ? nullptr : kv_[layer].k;
        std::byte* const v = kv_.empty() ? nullptr : kv_[layer].v;
        each(k, row_bytes(sizes_.kv.k, n), there);
        each(v, row_bytes(sizes_.kv.v, n), there);
    }
}

std::size_t StatePool::n_kv_bytes(std::uint32_t n_tokens) const {
    std::size_t n_bytes = 0;
    for_each_cache([&](std::byte*, std::size_t n, bool) { n_bytes += n * n_tokens; });
    return n_bytes;
}

void StatePool::read_kv(std::span<const PageId> pages, std::uint32_t n_tokens,
                        const std::function<void(std::span<const std::byte>)>& take) {
    std::vector<std::byte> copy;
    for_each_cache([&](const std::byte* cache, std::size_t row, bool there) {
        for (std::uint32_t first = 0; first < n_tokens; first += kKvPageTokens) {
            const std::byte* const page = cache + std::size_t{pages[first / kKvPageTokens]} * kKvPageTokens * row;
            const std::size_t n = std::min(kKvPageTokens, n_tokens - first) * row;
            if (there) {
                copy.resize(n);
                device_->download(copy, page);
                take(copy);
            } else {
                take({page, n});
            }
        }
    });
}

void StatePool::write_kv(std::span<const PageId> pages, std::uint32_t n_tokens, std::span<const std::byte> from,
                         std::uint32_t n_read) {
    std::vector<CopyRegion> regions;
    for_each_cache([&](std::byte* cache, std::size_t row, bool there) {
        for (std::uint32_t first = 0; first < n_tokens; first += kKvPageTokens) {
            std::byte* const page = cache + std::size_t{pages[first / kKvPageTokens]} * kKvPageTokens * row;
            const auto piece = from.subspan(first * row, std::min(kKvPageTokens, n_tokens - first) * row);
            if (there)
                regions.push_back({page, piece.data(), piece.size()});
            else
                std::memcpy(page, piece.data(), piece.size());
        }
        from = from.subspan(n_read * row);
    });
    if (!regions.empty()) device_->upload(regions);
}

}  // namespace lfm
