// The emulation's products of small matrices against plain loops, fragments laid out element by element as the manual
// numbers them: a wrong place here would be a wrong result on a card. And that what the lanes of a set read or write
// together lies in different banks of shared memory.
#include "backends/gpu/platform/tiles.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "backends/gpu/kernels/tile_places.h"
#include "backends/gpu/platform/launch.h"
#include "backends/gpu/platform/shared_places.h"
#include "tests/backends/gpu/kernel_backend.h"
#include "tests/backends/operation_cases/operands.h"

namespace lfm::gpu::test {
namespace {

constexpr std::uint32_t kThreads = 64;  // two sets, each with matrices of its own

/// Matrices of a set: A [16, n_columns], B [n_columns, 8], sums [16, 8].
template <typename Element, typename Sum>
struct Matrices {
    const Element* a;
    const Element* b;
    Sum* sums;
    std::uint32_t n_columns;
};

/// Row and column of element i of a lane's part of A; a register holds `each` elements, four lanes share a row.
std::uint32_t row_of_a(std::uint32_t i, std::uint32_t each) { return lane() / 4 + (i / each % 2 == 1 ? 8 : 0); }
std::uint32_t column_of_a(std::uint32_t i, std::uint32_t each) {
    return lane() % 4 * each + i % each + (i >= 2 * each ? 4 * each : 0);
}
/// Of B.
std::uint32_t row_of_b(std::uint32_t i, std::uint32_t each) {
    return lane() % 4 * each + i % each + (i >= each ? 4 * each : 0);
}
std::uint32_t column_of_b() { return lane() / 4; }
/// Of the sums.
std::uint32_t row_of_sum(std::uint32_t i) { return lane() / 4 + (i >= 2 ? 8 : 0); }
std::uint32_t column_of_sum(std::uint32_t i) { return lane() % 4 * 2 + i % 2; }

using ByteMatrices = Matrices<std::int8_t, std::int32_t>;

template <std::uint32_t kColumns>
void multiply_byte_matrices(ByteMatrices of_all) {
    const std::int8_t* a = of_all.a + lane_set() * 16 * kColumns;
    const std::int8_t* b = of_all.b + lane_set() * 8 * kColumns;
    std::uint32_t a_part[kColumns / 8] = {}, b_part[kColumns / 16] = {};
    const auto add = [](std::uint32_t& word, std::uint32_t i, std::int8_t byte) {
        word |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(byte)) << 8 * (i % 4);
    };
    for (std::uint32_t i = 0; i < kColumns / 2; ++i)
        add(a_part[i / 4], i, a[row_of_a(i, 4) * kColumns + column_of_a(i, 4)]);
    for (std::uint32_t i = 0; i < kColumns / 4; ++i) add(b_part[i / 4], i, b[row_of_b(i, 4) * 8 + column_of_b()]);
    std::int32_t sums[4] = {1, 2, 3, 4};  // what was there stays
    multiply_bytes(sums, a_part, b_part);
    for (std::uint32_t i = 0; i < 4; ++i)
        of_all.sums[lane_set() * 16 * 8 + row_of_sum(i) * 8 + column_of_sum(i)] =
            sums[i] - static_cast<std::int32_t>(i + 1);
}

using FloatMatrices = Matrices<float, float>;

/// Two As and two Bs at once. Each set stores the sums of its own A and B.
template <SixteenBits kind>
void multiply_float_matrices(FloatMatrices of_all) {
    std::uint32_t a[2][4], b[2][2];
    for (std::uint32_t which = 0; which < 2; ++which) {
        const float* from_a = of_all.a + which * 16 * 16;
        const float* from_b = of_all.b + which * 16 * 8;
        const auto of_a = [&](std::uint32_t i) { return from_a[row_of_a(i, 2) * 16 + column_of_a(i, 2)]; };
        const auto of_b = [&](std::uint32_t i) { return from_b[row_of_b(i, 2) * 8 + column_of_b()]; };
        for (std::uint32_t i = 0; i < 4; ++i) a[which][i] = two_of<kind>(of_a(2 * i), of_a(2 * i + 1));
        for (std::uint32_t i = 0; i < 2; ++i) b[which][i] = two_of<kind>(of_b(2 * i), of_b(2 * i + 1));
    }
    float sums[2][2][4];
    for (auto& of_row : sums)
        for (auto& of_both : of_row)
            for (float& sum : of_both) sum = 5;  // what was there stays
    add_products_of_16_bits<kind>(sums, a, b);
    for (std::uint32_t i = 0; i < 4; ++i)
        of_all.sums[lane_set() * 16 * 8 + row_of_sum(i) * 8 + column_of_sum(i)] = sums[lane_set()][lane_set()][i] - 5;
}

/// Two As and two Bs at once.
void multiply_pairs_of_byte_matrices(ByteMatrices of_all) {
    std::uint32_t a[2][4] = {}, b[2][2] = {};
    const auto add = [](std::uint32_t& word, std::uint32_t i, std::int8_t byte) {
        word |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(byte)) << 8 * (i % 4);
    };
    for (std::uint32_t which = 0; which < 2; ++which) {
        for (std::uint32_t i = 0; i < 16; ++i)
            add(a[which][i / 4], i, of_all.a[(which * 16 + row_of_a(i, 4)) * 32 + column_of_a(i, 4)]);
        for (std::uint32_t i = 0; i < 8; ++i)
            add(b[which][i / 4], i, of_all.b[(which * 32 + row_of_b(i, 4)) * 8 + column_of_b()]);
    }
    std::int32_t sums[2][2][4];
    multiply_all_bytes(sums, a, b, 1000);
    // Each set stores those of its own B with its own A.
    for (std::uint32_t i = 0; i < 4; ++i)
        of_all.sums[lane_set() * 16 * 8 + row_of_sum(i) * 8 + column_of_sum(i)] =
            sums[lane_set()][lane_set()][i] - 1000;
}

class GpuTiles : public KernelTest {
protected:
    template <typename Element, typename Sum, typename Random>
    void check(void (*kernel)(Matrices<Element, Sum>), std::uint32_t n_columns, const Random& random) {
        std::vector<Element> a(2 * 16 * n_columns), b(2 * 8 * n_columns);
        for (Element& each : a) each = random();
        for (Element& each : b) each = random();
        std::vector<Sum> sums(2 * 16 * 8, Sum(77));
        const Matrices<Element, Sum> push{a.data(), b.data(), sums.data(), n_columns};
        api::Stream stream;
        ASSERT_EQ(api::create_stream(&stream), api::kSuccess);
        EXPECT_EQ(api::launch(make_kernel("tiles", kernel, kThreads), {1, 1, 1}, &push, stream), api::kSuccess);
        EXPECT_EQ(api::synchronize_stream(stream), api::kSuccess);
        api::destroy_stream(stream);
        for (std::uint32_t set = 0; set < 2; ++set)
            for (std::uint32_t row = 0; row < 16; ++row)
                for (std::uint32_t column = 0; column < 8; ++column) {
                    Sum expected{};
                    for (std::uint32_t k = 0; k < n_columns; ++k)
                        expected += static_cast<Sum>(a[(set * 16 + row) * n_columns + k]) *
                                    static_cast<Sum>(b[(set * n_columns + k) * 8 + column]);
                    ASSERT_EQ(sums[(set * 16 + row) * 8 + column], expected) << set << ' ' << row << ' ' << column;
                }
    }

    operation_cases::Noise noise_{1};
};
INSTANTIATE_TEST_SUITE_P(Threads, GpuTiles, kBothOrders, order_name);

TEST_P(GpuTiles, BytesLieAsTheManualSays) {
    const auto any = [this] { return static_cast<std::int8_t>(noise_.bits()); };
    check<std::int8_t, std::int32_t>(multiply_byte_matrices<16>, 16, any);
    check<std::int8_t, std::int32_t>(multiply_byte_matrices<32>, 32, any);
    check<std::int8_t, std::int32_t>(multiply_pairs_of_byte_matrices, 32, any);
}

TEST_P(GpuTiles, NumbersLieAsTheManualSays) {
    // Small integers, so that sums are exact in any order.
    const auto small = [this] { return static_cast<float>(noise_.below(200)) - 100; };
    check<float, float>(multiply_float_matrices<SixteenBits::kHalf>, 16, small);
    check<float, float>(multiply_float_matrices<SixteenBits::kUpper>, 16, small);
}

struct Rows {
    Words4 at[32];
};
/// Row r of matrix m lies at the place of row 31 - (8 m + r).
struct TurnedRows {
    std::uint32_t operator()(std::uint32_t n) const { return sizeof(Words4) * (31 - n); }
};
struct LoadPush {
    std::uint32_t* out;  // [matrix, lane]
};
void load_turned_matrices(LoadPush push) {
    Rows& rows = shared_memory<Rows>();
    for (std::uint32_t i = 0; i < 4; ++i) rows.at[lane()].at[i] = 100 * lane() + i;
    sync_group();
    std::uint32_t words[4];
    MatrixRows<TurnedRows> of_lanes(place_in_shared(&rows), MatrixPlaces(TurnedRows{}));
    of_lanes.change(16);  // neighbours change places
    load_matrices(words, of_lanes, 0);
    for (std::uint32_t m = 0; m < 4; ++m) push.out[32 * m + lane()] = words[m];
}

TEST_P(GpuTiles, MatricesAreLoadedFromWhereTheirRowsLie) {
    std::vector<std::uint32_t> out(4 * 32);
    const LoadPush push{out.data()};
    api::Stream stream;
    ASSERT_EQ(api::create_stream(&stream), api::kSuccess);
    EXPECT_EQ(api::launch(make_kernel<Rows>("load", load_turned_matrices, 32), {1, 1, 1}, &push, stream),
              api::kSuccess);
    EXPECT_EQ(api::synchronize_stream(stream), api::kSuccess);
    api::destroy_stream(stream);
    for (std::uint32_t m = 0; m < 4; ++m)
        for (std::uint32_t l = 0; l < 32; ++l) EXPECT_EQ(out[32 * m + l], 100 * ((31 - (8 * m + l / 4)) ^ 1) + l % 4);
}

/// Whether lanes that each access `words` words from their place (in bytes) on never touch different words of one bank.
bool is_without_conflicts(const std::vector<std::uint32_t>& places, std::uint32_t words) {
    std::map<std::uint32_t, std::uint32_t> place_in_bank;
    for (const std::uint32_t place : places)
        for (std::uint32_t i = 0; i < words; ++i) {
            const std::uint32_t word = place / 4 + i;
            if (place_in_bank.emplace(word % 32, word).first->second != word) return false;
        }
    return true;
}
/// place(lane) of all 32 lanes, 32 / words lanes at a time, as the hardware serves them.
template <typename Place>
::testing::AssertionResult has_no_conflicts(std::uint32_t words, const Place& place) {
    for (std::uint32_t first = 0; first < 32; first += 32 / words) {
        std::vector<std::uint32_t> places;
        for (std::uint32_t i = 0; i < 32 / words; ++i) places.push_back(place(first + i));
        if (!is_without_conflicts(places, words)) return ::testing::AssertionFailure() << "lanes from " << first;
    }
    return ::testing::AssertionSuccess();
}

TEST(GpuTileBanks, HoldWhatIsReadTogetherApart) {
    EXPECT_FALSE(has_no_conflicts(4, [](std::uint32_t n) { return 64 * n; })) << "rows as they come share banks";
    for (std::uint32_t first = 0; first < 128; first += 16)
        for (const std::uint32_t change : {0u, kOtherBlock}) {
            EXPECT_TRUE(has_no_conflicts(4, [&](std::uint32_t n) { return WeightMatrices{first}(n) ^ change; }));
            EXPECT_TRUE(has_no_conflicts(4, [&](std::uint32_t n) { return InputMatrices{first}(n) ^ change; }));
        }
    // Sixteen rows further on, a row's parts lie with kOtherBlock's bit changed: kernels rely on it.
    for (std::uint32_t first = 0; first < 64; first += 16)
        for (std::uint32_t n = 0; n < 32; ++n)
            EXPECT_EQ(WeightMatrices{first + 16}(n), (WeightMatrices{first}(n) ^ kOtherBlock) + 1024);
}

TEST(GpuTileBanks, HoldWhatIsWrittenTogetherApart) {
    for (std::uint32_t set = 0; set < 4; ++set) {
        const auto row = [set](std::uint32_t n) { return fast_weight_row(32 * set + n); };
        for (const std::uint32_t apart : {1u, 2u})  // parts of the two items of a row
            for (std::uint32_t part = 0; part < 4; part += apart == 1 ? 1 : 2)
                EXPECT_TRUE(has_no_conflicts(4, [&](std::uint32_t n) {
                    return 16 * place_of_part(place_of_weight_row(row(n)), (part + apart * fast_half(n)) % 4);
                }));
        EXPECT_TRUE(has_no_conflicts(4, [&](std::uint32_t n) {
            return 16 * place_of_part(fast_input_row(32 * set + n), 2 * fast_half(n) + n % 2);
        }));
        // Scales of two blocks: their sizes are 64 bytes more than a multiple of 128.
        for (const std::uint32_t apart : {64u, 64u + 1280})
            EXPECT_TRUE(has_no_conflicts(2, [&](std::uint32_t n) { return 8 * row(n) + apart * fast_half(n); }));
        EXPECT_TRUE(has_no_conflicts(1, [&](std::uint32_t n) { return 4 * row(n) + 64 * fast_half(n); }));
        EXPECT_TRUE(
            has_no_conflicts(1, [&](std::uint32_t n) { return 4 * fast_scale_row(32 * set + n) + 64 * fast_half(n); }));
    }
}

template <SixteenBits kind>
float rounded(float value) {
    const std::uint32_t two = two_of<kind>(value, -value);
    EXPECT_TRUE(std::isnan(value) || second_of<kind>(two) == -first_of<kind>(two));
    return first_of<kind>(two);
}

TEST(GpuTileNumbers, AreRoundedToTheNearest) {
    constexpr SixteenBits kHalf = SixteenBits::kHalf, kUpper = SixteenBits::kUpper;
    EXPECT_EQ(rounded<kHalf>(1.0f + 0x1p-10f), 1.0f + 0x1p-10f);
    EXPECT_EQ(rounded<kHalf>(1.0f + 0x1p-11f), 1.0f) << "ties to even";
    EXPECT_EQ(rounded<kHalf>(1.0f + 0x1.8p-10f), 1.0f + 0x1p-9f);
    EXPECT_EQ(rounded<kUpper>(1.0f + 0x1p-7f), 1.0f + 0x1p-7f);
    EXPECT_EQ(rounded<kUpper>(1.0f + 0x1p-8f), 1.0f) << "ties to even";
    EXPECT_EQ(rounded<kUpper>(-1.0f - 0x1.8p-7f), -1.0f - 0x1p-6f);
    EXPECT_EQ(rounded<kUpper>(0x1.8p100f), 0x1.8p100f);
    EXPECT_EQ(rounded<kUpper>(INFINITY), INFINITY);
    EXPECT_TRUE(std::isnan(rounded<kHalf>(NAN)));
    EXPECT_TRUE(std::isnan(rounded<kUpper>(NAN)));
}

}  // namespace
}  // namespace lfm::gpu::test
