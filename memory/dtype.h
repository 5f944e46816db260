// Weight and cache element types: GGUF's names, ids and block sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace lfm {

/// The values are the type ids of the GGUF format.
enum class DType : std::uint32_t {
    kF32 = 0,
    kF16 = 1,
    kQ4_0 = 2,
    kQ4_1 = 3,
    kQ5_0 = 6,
    kQ5_1 = 7,
    kQ8_0 = 8,
    kQ2_K = 10,
    kQ3_K = 11,
    kQ4_K = 12,
    kQ5_K = 13,
    kQ6_K = 14,
    kIQ4_NL = 20,
    kIQ4_XS = 23,
    kBF16 = 30,
    kMXFP4 = 39,
};
/// One more than the largest id: the size of a table that is indexed by id.
inline constexpr std::size_t kTypeIds = 40;

struct DTypeInfo {
    DType type;
    std::string_view name;      // "Q4_K"
    std::uint32_t block_size;   // weights in a block
    std::uint32_t block_bytes;  // bytes of a block
};

/// Every supported type, in the order of their ids.
std::span<const DTypeInfo> all_dtypes();

/// Nothing when `id` is unknown or removed from the format.
std::optional<DType> dtype_from_id(std::uint32_t id);

/// By name, as in "Q4_0" (case-insensitive).
std::optional<DType> dtype_from_name(std::string_view name);

const DTypeInfo& dtype_info(DType type);

inline std::string_view dtype_name(DType type) { return dtype_info(type).name; }

/// Bytes of a row of `n` weights; n must be a multiple of the block size.
inline std::uint64_t row_bytes(DType type, std::uint64_t n) {
    const DTypeInfo& info = dtype_info(type);
    return n / info.block_size * info.block_bytes;
}

}  // namespace lfm
