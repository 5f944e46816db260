#include "backends/weight_check.h"

#include <cstdint>
#include <limits>
#include <string>

#include "memory/error.h"

namespace lfm {
namespace {

/// The largest power of two up to 4 that divides the block: where a block may begin.
std::uint32_t alignment_of(DType type) {
    const std::uint32_t bytes = dtype_info(type).block_bytes;
    return bytes % 4 == 0 ? 4 : bytes % 2 == 0 ? 2 : 1;
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
