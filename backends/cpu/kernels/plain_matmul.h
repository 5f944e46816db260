// Matmul with quantised weights of any type: blocks are unpacked to 8-bit levels and multiplied as integers. For
// all of them in the portable table, and in the others for those that have no kernel of their own.
//
// Target as in unpack.h (local to one translation unit), with one more function:
//     /// dot[h] = Σ level[i] · q[i] over the h-th 16 of 32.
//     static void dot_16(const std::int8_t* level, const std::int8_t* q, std::int32_t (&dot)[2]);
#pragma once

#include <cstring>

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/unpack.h"

namespace lfm::cpu {

template <class Target, class Block>
struct PlainMatmul {
    static constexpr std::uint32_t kTileTokens = 32;  // tokens that share one unpacking
    static constexpr std::size_t kBlockWeights = 32 * kGroups<Block>;

    struct Tokens {
        const ActivationBlock* row[kTileTokens];
        std::uint32_t count;
    };

    static void run(const MatmulTile& tile) {
        for (std::uint32_t first = 0; first < tile.n_tokens; first += kTileTokens) {
            const Tokens tokens = gather(tile, first);
            for (std::uint32_t row = 0; row < tile.n_rows; ++row) {
                float y[kTileTokens];
                multiply_row(tile.weights + row * tile.row_bytes, tile.n_in, tokens, y);
                for (std::uint32_t t = 0; t < tokens.count; ++t) tile.y[(first + t) * tile.y_stride + row] = y[t];
            }
        }
    }

private:
    static Tokens gather(const MatmulTile& tile, std::uint32_t first) {
        Tokens tokens;
        tokens.count = tile.n_tokens - first < kTileTokens ? tile.n_tokens - first : kTileTokens;
        for (std::uint32_t t = 0; t < tokens.count; ++t) {
            const std::size_t x_row = tile.x_rows ? tile.x_rows[first + t] : first + t;
            tokens.row[t] = tile.xq + x_row * activation_stride(tile.n_in);
        }
        return tokens;
    }

    /// The block in place where it is aligned, as in every sound file, else its copy. Copying always would halve the
    /// speed, as vector loads wait for the copy's narrower stores.
    static const Block& aligned(const std::byte* block, Block& copy) {
        if (reinterpret_cast<std::uintptr_t>(block) % alignof(Block) == 0)
            return *reinterpret_cast<const Block*>(block);
        std::memcpy(&copy, block, sizeof copy);
        return copy;
    }

    /// y[t] for one weight row. A token's sum does not depend on the other tokens of the tile.
    static void multiply_row(const std::byte* weights, std::size_t n_in, const Tokens& tokens, float* y) {
        for (std::uint32_t t = 0; t < tokens.count; ++t) y[t] = 0;
        for (std::size_t i = 0; i < n_in; i += kBlockWeights, weights += sizeof(Block)) {
            Block copy;
            UnpackedGroup groups[kGroups<Block>];
            Unpack<Target>::run(aligned(weights, copy), groups);
            for (std::uint32_t t = 0; t < tokens.count; ++t)
                for (std::size_t g = 0; g < kGroups<Block>; ++g) {
                    const ActivationBlock& x = tokens.row[t][i / 32 + g];
                    y[t] += x.scale * multiply_group(groups[g], x);
                }
        }
    }

    static float multiply_group(const UnpackedGroup& group, const ActivationBlock& x) {
        std::int32_t dot[2];
        Target::dot_16(group.level, x.q, dot);
        return (group.scale[0] * static_cast<float>(dot[0]) + group.scale[1] * static_cast<float>(dot[1])) -
               (group.min[0] * static_cast<float>(x.sum[0]) + group.min[1] * static_cast<float>(x.sum[1]));
    }
};

/// Gives every quantised type of the table the plain kernel.
template <class Target>
void use_plain_matmul(Kernels& table) {
    const auto use = [&table](DType type, void (*run)(const MatmulTile&)) {
        table.matmul[static_cast<std::size_t>(type)] = {run, ActivationForm::kQ8};
    };
    use(DType::kQ4_0, PlainMatmul<Target, BlockQ4_0>::run);
    use(DType::kQ4_1, PlainMatmul<Target, BlockQ4_1>::run);
    use(DType::kQ5_0, PlainMatmul<Target, BlockQ5_0>::run);
    use(DType::kQ5_1, PlainMatmul<Target, BlockQ5_1>::run);
    use(DType::kQ8_0, PlainMatmul<Target, BlockQ8_0>::run);
    use(DType::kQ2_K, PlainMatmul<Target, BlockQ2_K>::run);
    use(DType::kQ3_K, PlainMatmul<Target, BlockQ3_K>::run);
    use(DType::kQ4_K, PlainMatmul<Target, BlockQ4_K>::run);
    use(DType::kQ5_K, PlainMatmul<Target, BlockQ5_K>::run);
    use(DType::kQ6_K, PlainMatmul<Target, BlockQ6_K>::run);
    use(DType::kIQ4_NL, PlainMatmul<Target, BlockIQ4_NL>::run);
    use(DType::kIQ4_XS, PlainMatmul<Target, BlockIQ4_XS>::run);
    use(DType::kMXFP4, PlainMatmul<Target, BlockMXFP4>::run);
}

}  // namespace lfm::cpu
