// 20 bytes: scale, minimum, 16 bytes of two levels each, 0 … 15.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q4_1 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    struct Raw {
        std::uint32_t head;
        Words4 qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 20 * item;
        return {load_word(block), load_16_words(block + 4)};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        return item_of(low_nibbles(raw.qs), high_nibbles(raw.qs), half_of(raw.head & 0xffff), -half_of(raw.head >> 16));
    }

    static constexpr Stored kLow{1, 0}, kHigh{kUpperTimes, 0};
    static __device__ Item unpack_stored(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                         [[maybe_unused]] std::uint32_t item) {
        return item_of(low_nibbles(raw.qs), upper_nibbles(raw.qs), half_of(raw.head & 0xffff),
                       -half_of(raw.head >> 16));
    }
};

MatmulKernels q4_1_kernels() { return kernels_of<Q4_1>(); }

}  // namespace lfm::gpu
