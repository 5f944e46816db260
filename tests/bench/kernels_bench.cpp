// How fast the kernels of every table are, beside what the machine gives in the same seconds: one token (bytes of
// weights per second over a plain read loop, from the second-level cache and from memory) and many (multiply-adds per
// second over those of a loop on registers). Kernel and yardstick take turns, time is the thread's own: neighbours
// hardly show in the ratios.  Usage: kernels_bench [TYPE ...]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "backends/cpu/kernels.h"
#include "tests/backends/cpu/random_blocks.h"
#include "tests/bench/peaks.h"

namespace lfm::bench {
namespace {

constexpr std::uint32_t kInputs = 2048;
constexpr std::size_t kCacheBytes = 384 << 10, kMemoryBytes = 96 << 20, kChunkBytes = 64 << 10;
constexpr int kRepetitions = 9;

double thread_seconds() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <typename Work>
double seconds(Work&& work) {
    const double start = thread_seconds();
    work();
    return thread_seconds() - start;
}

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

struct Rate {
    double value, ratio;  // medians; ratio to the yardstick
};

/// Both must do `amount`, of bytes or multiply-adds.
template <typename Work, typename Yardstick>
Rate compare(double amount, Work&& work, Yardstick&& yardstick) {
    std::vector<double> rates, ratios;
    for (int i = -1; i < kRepetitions; ++i) {
        const double mine = seconds(work), best = seconds(yardstick);
        if (i < 0) continue;  // warming up
        rates.push_back(amount / mine);
        ratios.push_back(best / mine);
    }
    return {median(rates), median(ratios)};
}

/// Weights of one type: a random piece, repeated to the size of memory.
struct Weights {
    explicit Weights(DType type)
        : row_bytes(lfm::row_bytes(type, kInputs)), cache_rows(count(kCacheBytes)), chunk_rows(count(kChunkBytes)) {
        test::Random random(1);
        const std::vector<std::byte> piece = test::random_blocks(type, std::size_t{cache_rows} * kInputs, random);
        while (bytes.size() < kMemoryBytes) bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
    std::uint32_t count(std::size_t size) const { return static_cast<std::uint32_t>(size / row_bytes / 8 * 8); }

    std::size_t row_bytes;
    std::uint32_t cache_rows, chunk_rows;
    std::vector<std::byte> bytes;
};

struct Activations {
    explicit Activations(std::uint32_t n_tokens)
        : x(std::size_t{n_tokens} * kInputs), quantised(n_tokens * cpu::activation_stride(kInputs)) {
        test::Random random(2);
        x = test::random_floats(x.size(), random);
        for (std::size_t row = 0; row < n_tokens; ++row)
            cpu::portable_kernels().quantise(x.data() + row * kInputs, kInputs,
                                             quantised.data() + row * cpu::activation_stride(kInputs));
    }
    std::vector<float> x;
    std::vector<cpu::ActivationBlock> quantised;
};

struct Bench {
    const cpu::Kernels& kernels;
    DType type;
    const Weights& weights;
    Activations& activations;

    void multiply(std::size_t first_row, std::uint32_t n_rows, std::uint32_t n_tokens) const {
        static thread_local std::vector<float> y;
        y.resize(std::size_t{n_rows} * n_tokens);
        cpu::MatmulTile tile;
        tile.weights = weights.bytes.data() + first_row * weights.row_bytes;
        tile.row_bytes = weights.row_bytes;
        tile.n_rows = n_rows;
        tile.n_in = kInputs;
        tile.x = activations.x.data();
        tile.xq = activations.quantised.data();
        tile.n_tokens = n_tokens;
        tile.y = y.data();
        tile.y_stride = n_rows;
        kernels.matmul_for(type).run(tile);
    }

    Rate from_cache() const {
        const std::size_t bytes = weights.cache_rows * weights.row_bytes;
        constexpr int kTimes = 20;
        return compare(
            static_cast<double>(kTimes * bytes),
            [&] {
                for (int i = 0; i < kTimes; ++i) multiply(0, weights.cache_rows, 1);
            },
            [&] {
                for (int i = 0; i < kTimes; ++i) sink = sink + read_all(weights.bytes.data(), bytes);
            });
    }

    /// The thread's share of the weights: kernel and yardstick swap halves of it every few chunks.
    Rate from_memory(std::uint32_t thread, std::uint32_t n_threads) const {
        const std::size_t chunk = weights.chunk_rows * weights.row_bytes, segment = 16 * chunk;
        const std::size_t n_segments = weights.bytes.size() / segment / 2 / n_threads;
        std::vector<double> rates, ratios;
        for (int repetition = 0; repetition < kRepetitions; ++repetition) {
            double mine = 0, best = 0;
            for (std::size_t i = 0; i < n_segments; ++i) {
                const std::size_t pair = 2 * (thread * n_segments + i), half = static_cast<std::size_t>(repetition % 2);
                const std::size_t row = (pair + half) * 16 * weights.chunk_rows;
                mine += seconds([&] {
                    for (std::uint32_t c = 0; c < 16; ++c)
                        multiply(row + c * weights.chunk_rows, weights.chunk_rows, 1);
                });
                const std::byte* other = weights.bytes.data() + (pair + 1 - half) * segment;
                best += seconds([&] { sink = sink + read_all(other, segment); });
            }
            rates.push_back(static_cast<double>(n_segments * segment) / mine);
            ratios.push_back(best / mine);
        }
        return {median(rates), median(ratios)};
    }

    /// All threads at once: rates add up, ratios are averaged.
    Rate from_memory_parallel(std::uint32_t n_threads) const {
        std::vector<Rate> rates(n_threads);
        std::vector<std::thread> threads;
        for (std::uint32_t i = 0; i < n_threads; ++i)
            threads.emplace_back([&, i] { rates[i] = from_memory(i, n_threads); });
        Rate all{};
        for (std::uint32_t i = 0; i < n_threads; ++i) {
            threads[i].join();
            all.value += rates[i].value;
            all.ratio += rates[i].ratio / n_threads;
        }
        return all;
    }

    Rate batch(std::uint32_t n_tokens) const {
        constexpr std::uint32_t kRows = 64;
        const std::size_t work = std::size_t{kRows} * kInputs * n_tokens;
        const bool wide = kernels.name == "avx512";
        const bool floats = kernels.matmul_for(type).activations == cpu::ActivationForm::kF32;
        const std::size_t round =
            floats ? (wide ? kAvx512FloatRound : kAvx2FloatRound) : (wide ? kVnniRound : kAvx2Int8Round);
        const auto yardstick = floats ? (wide ? multiply_float_avx512 : multiply_float_avx2)
                                      : (wide ? multiply_int8_vnni : multiply_int8_avx2);
        return compare(
            static_cast<double>(work), [&] { multiply(0, kRows, n_tokens); }, [&] { yardstick(work / round); });
    }

    static inline thread_local volatile std::uint64_t sink = 0;
};

void print(const char* unit, Rate rate) { std::printf("  %6.1f %s (%.2f)", rate.value / 1e9, unit, rate.ratio); }

void run_type(DType type, Activations& activations) {
    const Weights weights(type);
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        if (kernels == &cpu::exact_kernels()) continue;
        const Bench bench{*kernels, type, weights, activations};
        std::printf("%-7s %-8s", dtype_name(type).data(), kernels->name.data());
        print("GB/s", bench.from_cache());
        print("GB/s", bench.from_memory(0, 1));
        print("GB/s", bench.from_memory_parallel(std::max(1u, std::thread::hardware_concurrency())));
        for (const std::uint32_t n_tokens : {4u, 32u, 128u, 512u}) print("Gmac/s", bench.batch(n_tokens));
        std::printf("\n");
        std::fflush(stdout);
    }
}

}  // namespace
}  // namespace lfm::bench

int main(int argc, char** argv) {
    using namespace lfm;
    std::printf(
        "type    table     one token: cache       memory             memory, all cores  4 tokens              "
        "32 tokens             128 tokens\n");
    bench::Activations activations(512);
    for (const DTypeInfo& info : all_dtypes()) {
        const auto named = [&](const char* name) { return dtype_from_name(name) == info.type; };
        if (argc == 1 || std::any_of(argv + 1, argv + argc, named)) bench::run_type(info.type, activations);
    }
}
