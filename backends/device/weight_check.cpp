#include "backends/device/weight_check.h"

#include <cstdint>
#include <limits>
#include <string>

#include "memory/error.h"

namespace lfm {
namespace {

/// The largest power of two up to 16 that divides the block: where a block may begin. Device memory begins at multiples
/// of 256, the matrices of staged experts at multiples of 16.
std::uint32_t alignment_of(DType type) {
    const std::uint32_t bytes = dtype_info(type).block_bytes;
    std::uint32_t alignment = 16;
    while (bytes % alignment != 0) alignment /= 2;
    return alignment;
}

}  // namespace

void check_weight(std::string_view operation, const WeightView& weight) {
    const DTypeInfo& info = dtype_info(weight.type);
    if (weight.n_in == 0 || weight.n_in % info.block_size != 0)
        throw Error(ErrorCode::kUnsupportedModel, operation,
                    "expected rows of a multiple of " + std::to_string(info.block_size) + ", found " +
                        std::to_string(weight.n_in));
    const std::uint32_t alignment = alignment_of(weight.type);
    const auto address = reinterpret_cast<std::uintptr_t>(weight.data);
    if (address % alignment != 0 || weight.row_bytes % alignment != 0)
        throw Error(ErrorCode::kUnsupportedModel, operation,
                    "expected " + std::string(info.name) + " rows at multiples of " + std::to_string(alignment) +
                        " bytes, found them at " + std::to_string(address) + ", " + std::to_string(weight.row_bytes) +
                        " apart");
    if (weight.row_bytes > std::numeric_limits<std::uint32_t>::max())
        throw Error(ErrorCode::kUnsupportedModel, operation,
                    "expected rows at most 4294967295 bytes apart, found " + std::to_string(weight.row_bytes));
}

}  // namespace lfm
