#include "runtime/machine/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "runtime/machine/side_by_side.h"

namespace lfm {
namespace {

constexpr int kPasses = 4;

std::uint64_t word_at(const std::byte* address) {
    std::uint64_t word;
    std::memcpy(&word, address, sizeof(word));
    return word;
}

/// Four streams side by side keep more loads in flight than one. The odd bytes at the end are left out.
std::uint64_t sum_words(std::span<const std::byte> part) {
    const std::size_t stream = part.size() / 4 / sizeof(std::uint64_t) * sizeof(std::uint64_t);
    const std::byte* data = part.data();
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < stream; at += sizeof(sum))
        sum += word_at(data + at) + word_at(data + stream + at) + word_at(data + 2 * stream + at) +
               word_at(data + 3 * stream + at);
    return sum;
}

}  // namespace

double measure_read_bandwidth(std::span<const std::byte> memory, std::uint32_t n_threads) {
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) best = std::max(best, read_bandwidth_once(memory, n_threads));
    return best;
}

double read_bandwidth_once(std::span<const std::byte> memory, std::uint32_t n_threads) {
    if (memory.empty()) return 0;
    const std::size_t count = std::max<std::uint32_t>(n_threads, 1);
    const std::size_t share = memory.size() / count;
    std::atomic<std::uint64_t> kept_alive = 0;  // else the compiler may drop the reading
    const double seconds = seconds_side_by_side(static_cast<std::uint32_t>(count), [&](std::uint32_t i) {
        kept_alive += sum_words(memory.subspan(i * share, i + 1 == count ? memory.size() - i * share : share));
    });
    return static_cast<double>(memory.size()) / seconds;
}

}  // namespace lfm
