// The emulation's products of small matrices against plain loops, fragments laid out element by element as the manual
// numbers them: a wrong place here would be a wrong result on a card.
#include "backends/gpu/platform/tiles.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "backends/gpu/platform/launch.h"
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

/// Element i of a lane's part of A, `each` of them in a register, four lanes side by side.
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

void multiply_float_matrices(FloatMatrices of_all) {
    const float* a = of_all.a + lane_set() * 16 * 8;
    const float* b = of_all.b + lane_set() * 8 * 8;
    float a_part[4], b_part[2], sums[4] = {};
    for (std::uint32_t i = 0; i < 4; ++i) a_part[i] = a[row_of_a(i, 1) * 8 + column_of_a(i, 1)];
    for (std::uint32_t i = 0; i < 2; ++i) b_part[i] = b[row_of_b(i, 1) * 8 + column_of_b()];
    multiply_tf32(sums, a_part, b_part);
    for (std::uint32_t i = 0; i < 4; ++i)
        of_all.sums[lane_set() * 16 * 8 + row_of_sum(i) * 8 + column_of_sum(i)] = sums[i];
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
}

TEST_P(GpuTiles, NumbersLieAsTheManualSays) {
    // Small integers, so that sums are exact in any order.
    check<float, float>(multiply_float_matrices, 8, [this] { return static_cast<float>(noise_.below(200)) - 100; });
}

TEST(GpuTileNumbers, AreRoundedToTenBits) {
    EXPECT_EQ(rounded_to_tf32(1.0f), 1.0f);
    EXPECT_EQ(rounded_to_tf32(1.0f + 0x1p-10f), 1.0f + 0x1p-10f);
    EXPECT_EQ(rounded_to_tf32(1.0f + 0x1p-12f), 1.0f);
    EXPECT_EQ(rounded_to_tf32(-1.0f - 0x1p-11f), -1.0f - 0x1p-10f);
    EXPECT_TRUE(std::isnan(rounded_to_tf32(NAN)));
    EXPECT_EQ(rounded_to_tf32(INFINITY), INFINITY);
    EXPECT_EQ(rounded_to_tf32(65504 * 1024.0f), 65504 * 1024.0f);
}

}  // namespace
}  // namespace lfm::gpu::test
