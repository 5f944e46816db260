// The shapes with which the CPU's matmul kernels are tested.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "memory/dtype.h"

namespace lfm::test {

struct MatmulCase {
    DType type;
    std::uint32_t n_rows, n_in, n_tokens;
};

/// Around the sizes of registers and tiles; 94 tokens crashed other engines.
inline constexpr std::uint32_t kRowCounts[] = {1, 2, 3, 5, 8, 17, 33};
inline constexpr std::uint32_t kTokenCounts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 94};

inline std::vector<std::uint32_t> input_sizes(DType type) {
    const std::uint32_t block = dtype_info(type).block_size;
    if (block == 1) return {1, 7, 63, 64, 65, 250, 256, 1001};
    return {block, 2 * block, 3 * block, 5 * block, 8 * block};
}

/// Every pair of row and token counts; the input sizes take turns.
inline std::vector<MatmulCase> matmul_cases(DType type) {
    std::vector<MatmulCase> cases;
    const std::vector<std::uint32_t> sizes = input_sizes(type);
    for (std::size_t row = 0; row < std::size(kRowCounts); ++row)
        for (std::size_t token = 0; token < std::size(kTokenCounts); ++token)
            cases.push_back({type, kRowCounts[row], sizes[(3 * row + token) % sizes.size()], kTokenCounts[token]});
    return cases;
}

}  // namespace lfm::test
