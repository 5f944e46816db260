// Which table runs here.
#include <array>

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {
namespace {

struct Available {
    std::array<const Kernels*, 5> tables{};  // from the slowest to the fastest
    std::size_t count = 0;
};

Available find_available() {
    Available available;
    for (const Kernels* table :
         {&exact_kernels(), &portable_kernels(), neon_kernels(), avx2_kernels(), avx512_kernels()})
        if (table) available.tables[available.count++] = table;
    return available;
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
    static const Available available = find_available();
    return std::span(available.tables).first(available.count);
}

const Kernels& best_kernels() { return *available_kernels().back(); }

}  // namespace lfm::cpu
