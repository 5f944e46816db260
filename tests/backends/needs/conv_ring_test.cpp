// A ring compared with the whole list of rows: whatever is written and taken back, the window holds the last rows.
#include "backends/needs/conv_ring.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace lfm::test {
namespace {

/// A ring whose rows are single numbers, and the list of all accepted rows.
class Rows {
public:
    explicit Rows(ConvRing ring) : ring_(ring), slots_(ring.n_slots, -1) {}

    /// A step of n rows of which n_accepted stay, as a convolution writes them.
    void step(std::uint32_t n, std::uint32_t n_accepted) {
        check_window("before");
        const std::uint32_t n_kept = ring_.n_kept(n);
        for (std::uint32_t i = 0; i < n_kept; ++i)
            slots_[ring_.slot(window_, ring_.n_past + i)] = next_ + static_cast<int>(n - n_kept + i);
        check_window("while a step's rows are written");
        window_ = ring_.after(window_, n, n_accepted);
        for (std::uint32_t i = 0; i < n_accepted; ++i) all_.push_back(next_ + static_cast<int>(i));
        next_ += 1000;  // what was taken back is never seen again
        check_window("after");
    }

private:
    void check_window(const char* when) {
        for (std::uint32_t i = 0; i < ring_.n_past; ++i) {
            if (all_.size() + i < ring_.n_past) continue;  // before the first row
            EXPECT_EQ(slots_[ring_.slot(window_, i)], all_[all_.size() + i - ring_.n_past]) << when << ", row " << i;
        }
    }

    ConvRing ring_;
    std::vector<int> slots_, all_;
    int next_ = 0;
    std::uint32_t window_ = 0;
};

TEST(ConvRing, TheWindowIsWhatCameLast) {
    std::mt19937 random(5);
    for (const std::uint32_t l_cache : {1u, 2u, 3u, 4u, 9u})
        for (const std::uint32_t n_rewind : {0u, 1u, 5u, 16u}) {
            const ConvRing ring = ConvRing::of(l_cache, n_rewind);
            SCOPED_TRACE(testing::Message() << l_cache << " taps, " << n_rewind << " may be taken back");
            Rows rows(ring);
            for (int i = 0; i < 200; ++i) {
                const std::uint32_t n = 1 + static_cast<std::uint32_t>(random() % (i % 3 == 0 ? 40 : 3));
                const std::uint32_t least = ring.least_accepted(n);
                EXPECT_TRUE(least == 0 || n - least == n_rewind) << least << " of " << n;
                rows.step(n, least + static_cast<std::uint32_t>(random() % (n - least + 1)));
            }
        }
}

}  // namespace
}  // namespace lfm::test
