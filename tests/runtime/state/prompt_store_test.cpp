// Prefixes from files: what goes on behind them has the bits of a cold run; whatever is wrong with a file costs nothing
// but the file.
#include "runtime/state/prompt_store.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Tokens = std::vector<std::int32_t>;

constexpr const char* kShape = "lfm2,n_layer=5,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_vocab=300,attention=1.3:Q4_0";
constexpr std::uint32_t kContext = 200;

SessionOptions options(DType kv) {
    return {.n_ctx = kContext, .n_batch = 64, .n_threads = 1, .n_sequences = 2, .n_saved = 3, .kv = {kv, kv}};
}

Tokens text(std::uint32_t n, std::uint32_t seed = 1) {
    Tokens tokens;
    for (std::uint32_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((i * 7919 + seed) % 300));
    return tokens;
}

/// A process: a model with a cache of its own.
class Process {
public:
    Process(DType kv, bool on_device)
        : device_(on_device ? open_sim({.budget = {1ull << 30}, .limits = options(kv).limits()}, ledger_) : nullptr),
          model_(Model::random(description_, plan(kv), 5, ledger_, {device_.get()})),
          runner_(model_, options(kv), ledger_),
          cache_(runner_.pool().pages(), 3, runner_.pool().n_replay()) {}

    /// Logits of the last token. `n_reused`: tokens that the cache had.
    std::vector<float> logits(const Tokens& tokens, std::uint32_t* n_reused = nullptr) {
        Sequence sequence(runner_.pool(), kContext);
        const PrefixHit hit = cache_.find(tokens);
        sequence.assign(tokens);
        if (n_reused != nullptr) *n_reused = hit.n_saved();
        if (hit.n_tokens > 0) {
            EXPECT_TRUE(sequence.begin_from(hit));
        }
        compute(sequence, nullptr);
        const float* found = runner_.engine().rows().logits.data;
        return {found, found + 300};
    }
    /// Computes a text and stores it.
    bool store(PromptStore& store, const Tokens& tokens, std::uint64_t scope = 0) {
        Sequence sequence(runner_.pool(), kContext);
        sequence.assign(tokens);
        const SnapshotId windows = cache_.take_snapshot().value();
        compute(sequence, &windows);
        const bool stored = store.store(tokens, scope, sequence.pages(), windows, runner_.pool());
        cache_.return_snapshot(windows);
        return stored;
    }
    std::uint32_t load(PromptStore& store, const Tokens& prompt, std::uint64_t scope = 0) {
        return store.load(prompt, scope, runner_.pool(), cache_);
    }
    std::uint32_t n_free() { return cache_.clear(), runner_.pool().pages().n_free(); }
    std::uint32_t n_pages() { return runner_.pool().pages().n_pages(); }

private:
    Plan plan(DType kv) {
        if (device_ == nullptr) return make_host_plan(description_, options(kv).sizes());
        return placed_plan(description_, options(kv).sizes(), Placing::kRandom, 12);
    }
    void compute(Sequence& sequence, const SnapshotId* saves) {
        StepWishes wishes;
        while (sequence.n_computed() < sequence.tokens().size()) {
            const auto left = sequence.tokens().subspan(sequence.n_computed());
            const std::size_t n = std::min<std::size_t>(64, left.size());
            StepPart part{&sequence, left.first(n)};
            if (saves != nullptr && n == left.size()) part.save_to = runner_.pool().saved_row(*saves);
            ASSERT_TRUE(sequence.reserve(static_cast<std::uint32_t>(n)));
            runner_.run({{part}}, wishes);
            cache_.end_step();
        }
    }

    ModelDescription description_ = describe_shape(kShape);
    Ledger ledger_;
    std::unique_ptr<Device> device_;
    Model model_;
    Runner runner_;
    PrefixCache cache_;
};

class PromptStoreTest : public testing::TestWithParam<std::tuple<DType, bool>> {
protected:
    PromptStore open(const std::string& identity = "one", std::uint64_t limit = 1u << 30) {
        return PromptStore({.folder = folder_, .identity = identity, .limit = {limit}});
    }
    Process process() { return Process(std::get<0>(GetParam()), std::get<1>(GetParam())); }
    std::vector<fs::path> files() const {
        std::vector<fs::path> found;
        for (const auto& each : fs::directory_iterator(folder_)) found.push_back(each.path());
        return found;
    }

    ScratchDir dir_;
    fs::path folder_ = fs::path(dir_.file("a")) / "b";
};
INSTANTIATE_TEST_SUITE_P(Caches, PromptStoreTest,
                         testing::Values(std::tuple{DType::kF16, false}, std::tuple{DType::kQ8_0, false},
                                         std::tuple{DType::kF32, true}),
                         [](const auto& test) {
                             return std::string(dtype_name(std::get<0>(test.param))) +
                                    (std::get<1>(test.param) ? "OnSim" : "");
                         });

TEST_P(PromptStoreTest, TheNextProcessGoesOnWithTheSameBits) {
    {
        PromptStore store = open();
        EXPECT_TRUE(Process(process()).store(store, text(101)));
    }
    for (const std::uint32_t n_same : {101u, 100u, 97u, 64u, 50u}) {
        SCOPED_TRACE(n_same);
        Tokens prompt = text(n_same);
        const Tokens other = text(30, 77);
        prompt.insert(prompt.end(), other.begin(), other.end());
        Process cold = process(), warm = process();
        PromptStore store = open();
        EXPECT_EQ(store.n_files(), 1u);
        EXPECT_EQ(warm.load(store, prompt), n_same);
        std::uint32_t n_reused = 0;
        const auto found = warm.logits(prompt, &n_reused);
        EXPECT_EQ(n_reused, n_same == 101 ? 101 : n_same - 6);
        EXPECT_EQ(found, cold.logits(prompt));
        EXPECT_EQ(store.take_remarks(), std::vector<std::string>{});
        EXPECT_EQ(warm.n_free(), warm.n_pages());
    }
}

TEST_P(PromptStoreTest, OthersFindNothing) {
    PromptStore store = open();
    Process first = process();
    ASSERT_TRUE(first.store(store, text(80), 3));
    Process second = process();
    EXPECT_EQ(second.load(store, text(90)), 0u) << "of another scope";
    EXPECT_EQ(second.load(store, text(90, 2), 3), 0u) << "of another beginning";
    EXPECT_EQ(second.load(store, {}, 3), 0u);
    PromptStore other = open("two");
    EXPECT_EQ(other.n_files(), 0u) << "of another model";
    EXPECT_EQ(second.load(other, text(90), 3), 0u);
    EXPECT_EQ(second.load(store, text(90), 3), 80u);
    EXPECT_EQ(second.load(store, text(90), 3), 0u) << "it is in the cache";
}

TEST_P(PromptStoreTest, WhatGrowsTakesThePlaceOfItsBeginning) {
    PromptStore store = open();
    Process one = process();
    EXPECT_FALSE(one.store(store, text(63))) << "too little to be worth a file";
    EXPECT_TRUE(one.store(store, text(80)));
    EXPECT_FALSE(one.store(store, text(80)));
    EXPECT_FALSE(one.store(store, text(70))) << "the longer one has it";
    EXPECT_TRUE(one.store(store, text(150)));
    EXPECT_EQ(files().size(), 1u);
    EXPECT_TRUE(one.store(store, text(80, 5)));
    EXPECT_EQ(files().size(), 2u);
    EXPECT_EQ(open().n_files(), 2u);
    EXPECT_EQ(fs::status(files()[0]).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_EQ(fs::status(folder_).permissions(), fs::perms::owner_all);
}

TEST_P(PromptStoreTest, TheLongestUnusedLeavesFirst) {
    PromptStore store = open();
    Process one = process();
    ASSERT_TRUE(one.store(store, text(100, 1)));
    const std::uint64_t size = fs::file_size(files()[0]);
    PromptStore small = open("one", 3 * size);
    for (std::uint32_t seed = 2; seed < 4; ++seed) ASSERT_TRUE(one.store(small, text(100, seed)));
    for (const fs::path& file : files())  // not used for long
        fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(1));
    Process two = process();
    ASSERT_EQ(two.load(small, text(110, 1)), 100u);
    ASSERT_TRUE(one.store(small, text(100, 4)));
    EXPECT_EQ(files().size(), 3u);
    EXPECT_EQ(two.load(small, text(105, 1)), 0u) << "it is in the cache";
    Process three = process();
    EXPECT_EQ(three.load(small, text(110, 1)), 100u);
    PromptStore tiny = open("one", size - 1);
    EXPECT_FALSE(one.store(tiny, text(100, 9))) << "larger than the limit";
    EXPECT_EQ(files().size(), 3u);
}

TEST_P(PromptStoreTest, DamageCostsTheFileAlone) {
    {
        PromptStore store = open();
        Process one = process();
        ASSERT_TRUE(one.store(store, text(80)));
    }
    const fs::path path = files()[0];
    std::string whole;
    {
        std::ifstream file(path, std::ios::binary);
        whole.assign(std::istreambuf_iterator<char>(file), {});
    }
    Process one = process();
    const auto try_with = [&](const std::string& content) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
        PromptStore store = open();
        const std::uint32_t n = one.load(store, text(90));
        EXPECT_TRUE(n == 0 || store.take_remarks().empty());
        return n;
    };
    for (const std::size_t n :
         {std::size_t{0}, std::size_t{1}, std::size_t{55}, std::size_t{56}, whole.size() / 2, whole.size() - 1})
        EXPECT_EQ(try_with(whole.substr(0, n)), 0u) << n << " bytes";
    EXPECT_EQ(try_with(whole + "x"), 0u);
    for (std::size_t at = 0; at < whole.size(); at += at < 64 ? 1 : 997) {
        std::string changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ 0x40);
        EXPECT_EQ(try_with(changed), 0u) << "byte " << at;
    }
    EXPECT_EQ(try_with(whole), 80u);
    PromptStore store = open();
    fs::remove(path);
    Process two = process();
    EXPECT_EQ(two.load(store, text(90)), 0u);
    EXPECT_EQ(store.take_remarks().size(), 1u);
    EXPECT_EQ(two.n_free(), two.n_pages());
}

TEST_P(PromptStoreTest, AFolderThatCannotBe) {
    const auto code = [](const fs::path& folder) {
        try {
            PromptStore({.folder = folder, .identity = "one"});
        } catch (const Error& error) {
            return error.code();
        }
        return ErrorCode::kUsage;
    };
    EXPECT_EQ(code(""), ErrorCode::kUsage);
    std::ofstream(dir_.file("file")) << "x";
    EXPECT_EQ(code(dir_.file("file")), ErrorCode::kIo);
    EXPECT_EQ(code(fs::path(dir_.file("file")) / "below"), ErrorCode::kIo);
    EXPECT_EQ(code("/proc/none"), ErrorCode::kIo);
}

}  // namespace
}  // namespace lfm::test
