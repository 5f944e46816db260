#include "runtime/tensors/device_arena.h"

#include <numeric>
#include <string>

#include "backends/needs/device_needs.h"
#include "memory/error.h"

namespace lfm {
namespace {

constexpr std::size_t kAlignment = needs::kArenaPiece;

}  // namespace

std::size_t DeviceArena::add(std::size_t size) {
    sizes_.push_back((size + kAlignment - 1) / kAlignment * kAlignment);
    return sizes_.size() - 1;
}

std::size_t DeviceArena::size() const { return std::accumulate(sizes_.begin(), sizes_.end(), std::size_t{0}); }

void DeviceArena::allocate(Device& device, Purpose purpose) {
    const std::size_t largest = device.limits().largest_block.value;
    addresses_.reserve(sizes_.size());
    for (std::size_t first = 0; first < sizes_.size();) {
        std::size_t end = first, block = 0;
        while (end < sizes_.size() && sizes_[end] <= largest - block) block += sizes_[end++];
        if (end == first)
            throw Error(ErrorCode::kShortfall, std::string(device.name()),
                        "expected at most " + format_bytes({largest}) + " in one piece, found " +
                            format_bytes({sizes_[first]}) + " of " + std::string(purpose_name(purpose)));
        if (block > 0) blocks_.push_back(device.allocate(MemoryKind::kOwn, purpose, block));
        std::byte* at = block > 0 ? blocks_.back().address() : nullptr;
        for (; first < end; ++first) {
            addresses_.push_back(at);
            at += sizes_[first];
        }
    }
}

}  // namespace lfm
