// A sequence and its pages: what steps leave, what is taken back, what follows when the pool is lost.
#include "runtime/state/sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "planner/model/shape.h"
#include "tests/backends/device_work.h"

namespace lfm::test {
namespace {

constexpr const char* kShape = "lfm2,n_layer=4,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_vocab=300,attention=1:F16";

class SequenceTest : public testing::Test {
protected:
    SequenceTest() : pool_(model_.hyper, {.n_ctx = 64, .n_batch = 16, .n_rewind = 3}) {
        pool_.place({}, ledger_);
        sequence_.emplace(pool_, 64);
    }

    /// Writes rows as the convolutions of a step do, each filled with its token's number; the first n_accepted stay.
    void step(std::vector<std::int32_t> tokens, std::uint32_t n_accepted) {
        const ConvRing ring = pool_.ring();
        ASSERT_TRUE(sequence_->reserve(static_cast<std::uint32_t>(tokens.size())));
        const StepSequence next = sequence_->next(0, static_cast<std::uint32_t>(tokens.size()));
        const std::uint32_t n_kept = ring.n_kept(next.n_rows);
        for (std::size_t layer = 0; layer < model_.hyper.n_layer; ++layer) {
            if (pool_.conv_rows(layer) == nullptr) continue;
            for (std::uint32_t i = 0; i < n_kept; ++i)
                std::fill_n(pool_.conv_rows(layer) + ring.slot(next.window, ring.n_past + i) * model_.hyper.n_embd,
                            model_.hyper.n_embd, static_cast<float>(tokens[next.n_rows - n_kept + i]));
        }
        sequence_->commit(tokens, n_accepted);
    }
    /// The tokens whose rows stand in the windows.
    std::vector<float> window() {
        std::vector<float> rows(pool_.n_window_floats());
        pool_.read_windows(0, sequence_->next(0, 1).window, rows);
        std::vector<float> first;
        for (std::size_t i = 0; i < rows.size(); i += model_.hyper.n_embd) first.push_back(rows[i]);
        return first;
    }

    Ledger ledger_;
    ModelDescription model_ = describe_shape(kShape);
    StatePool pool_;
    std::optional<Sequence> sequence_;
};

using Tokens = std::vector<std::int32_t>;
Tokens tokens_of(const Sequence& sequence) { return {sequence.tokens().begin(), sequence.tokens().end()}; }

TEST_F(SequenceTest, KeepsWhatIsAccepted) {
    step({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10);
    EXPECT_EQ(window(), (std::vector<float>{9, 10, 9, 10, 9, 10}));
    step({11, 12, 13}, 1);
    EXPECT_EQ(window(), (std::vector<float>{10, 11, 10, 11, 10, 11}));
    EXPECT_EQ(tokens_of(*sequence_), (Tokens{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
    step({20, 21, 22, 23, 24, 25, 26}, 4);
    EXPECT_EQ(window(), (std::vector<float>{22, 23, 22, 23, 22, 23}));
    EXPECT_EQ(sequence_->n_computed(), 15u);
    EXPECT_EQ(error_of([&] { step({30, 31, 32, 33, 34, 35, 36}, 3); }), ErrorCode::kUsage);
    EXPECT_EQ(window(), (std::vector<float>{22, 23, 22, 23, 22, 23})) << "a refused commit changes nothing";
}

TEST_F(SequenceTest, ACheckpointIsReachedAgain) {
    step({1, 2, 3, 4, 5}, 5);
    const Checkpoint checkpoint = sequence_->checkpoint();
    step({6, 7, 8}, 3);
    sequence_->restore(checkpoint);
    EXPECT_EQ(window(), (std::vector<float>{4, 5, 4, 5, 4, 5}));
    EXPECT_EQ(tokens_of(*sequence_), (Tokens{1, 2, 3, 4, 5}));
    sequence_->clear();
    EXPECT_EQ(error_of([&] { sequence_->restore(checkpoint); }), ErrorCode::kInvalidInput);
}

TEST_F(SequenceTest, ALostPoolIsComputedAgain) {
    step({1, 2, 3, 4, 5}, 5);
    const Checkpoint checkpoint = sequence_->checkpoint();
    pool_.place({}, ledger_);
    EXPECT_EQ(sequence_->n_computed(), 0u);
    EXPECT_EQ(sequence_->tokens().size(), 5u);
    step({1, 2}, 2);  // known tokens are not appended twice
    EXPECT_EQ(sequence_->n_computed(), 2u);
    EXPECT_EQ(sequence_->tokens().size(), 5u);
    sequence_->restore(checkpoint);
    EXPECT_EQ(sequence_->n_computed(), 2u) << "keys and values before the checkpoint are gone";
    step({3, 4, 5, 6}, 4);
    EXPECT_EQ(tokens_of(*sequence_), (Tokens{1, 2, 3, 4, 5, 6}));
}

TEST_F(SequenceTest, StateIsTakenWhenNeededAndGivenBack) {
    Sequence other(pool_, 64);
    step({1, 2, 3}, 3);
    EXPECT_FALSE(other.reserve(1)) << "the one ring is taken";
    Sequence moved = std::move(*sequence_);
    sequence_.reset();
    EXPECT_FALSE(other.reserve(1)) << "by a sequence that moved";
    moved.give_back();
    EXPECT_EQ(moved.tokens().size(), 3u);
    EXPECT_EQ(moved.n_computed(), 0u);
    EXPECT_TRUE(other.reserve(64));
    EXPECT_FALSE(other.reserve(65)) << "the pool has two pages";
    { const Sequence last = std::move(other); }
    EXPECT_EQ(pool_.pages().n_free(), 2u);
    EXPECT_TRUE(moved.reserve(3));
}

/// A page that was to be copied to is given back before the step: nobody writes to it.
TEST(SharedPages, ACutForgetsACopyThatWasToCome) {
    const ModelDescription model = describe_shape(kShape);
    Ledger ledger;
    StatePool pool(model.hyper, {.n_ctx = 128, .n_batch = 64, .n_sequences = 2});
    pool.place({}, ledger);
    const std::uint32_t n_pages = pool.pages().n_pages();
    std::vector<std::int32_t> tokens(40, 7);
    {
        Sequence sequence(pool, 128);
        ASSERT_TRUE(sequence.reserve(40));
        sequence.commit(tokens, 40);
        const PageId last = sequence.pages().back();
        pool.pages().share(last);  // as a cache does
        ASSERT_TRUE(sequence.reserve(1));
        ASSERT_TRUE(sequence.page_copy());
        EXPECT_EQ(sequence.page_copy()->from, last);
        EXPECT_EQ(sequence.page_copy()->n_tokens, 8u);
        EXPECT_NE(sequence.pages().back(), last);
        sequence.cut(20, pool.n_replay());
        EXPECT_FALSE(sequence.page_copy());
        EXPECT_EQ(pool.pages().n_users(last), 1u);
        pool.pages().release(last);
    }
    EXPECT_EQ(pool.pages().n_free(), n_pages);
}

}  // namespace
}  // namespace lfm::test
