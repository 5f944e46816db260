// Sequences that join, leave, fork, are rewound and interrupted, many in a step: each has the bits it has alone; partly
// on a device with kernels of its own, what the host gives within that device's bars.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>

#include "memory/error.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "runtime/state/prefix_cache.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kVocab = 300, kContext = 160, kBatch = 48, kSequences = 16, kSaved = 6;

struct ManyCase {
    const char* name;
    const char* shape;
    std::uint32_t n_threads = 2;
    KvTypes kv = {};
    const char* device = nullptr;  // of kDeviceKinds: some layers and experts are on it

    const DeviceKind* kind() const {
        const auto* found = std::ranges::find_if(kDeviceKinds, [this](const DeviceKind& kind) {
            return device != nullptr && std::string_view(kind.name) == device;
        });
        return found != kDeviceKinds.end() ? found : nullptr;
    }
    /// On the host's own arithmetic.
    bool has_same_bits() const { return device == nullptr || std::string_view(device) == "Sim"; }
    /// The largest NMSE of all rows otherwise; of one of them ten times that.
    double bar() const {
        return std::string_view(shape).ends_with(":F32") ? kind()->float_placement_nmse
                                                         : kind()->quantised_placement_nmse;
    }
};

using Tokens = std::vector<std::int32_t>;

/// The case's model, placed for a session of these options.
struct Placement {
    Placement(const ModelDescription& description, const DeviceKind* kind, const SessionOptions& options)
        : device(kind != nullptr ? kind->open({.budget = {1ull << 30}, .limits = options.limits()}, ledger) : nullptr),
          model(Model::random(description, plan(description, kind, options), 5, ledger, {device.get()})) {}

    /// None of the experts travels: in which order a row's experts are summed depends on nothing else.
    static Plan plan(const ModelDescription& description, const DeviceKind* kind, const SessionOptions& options) {
        if (kind == nullptr) return make_host_plan(description, options.sizes());
        Plan plan = placed_plan(description, options.sizes(), Placing::kRandom, 12);
        std::ranges::fill(plan.n_streamed, 0u);
        std::ranges::fill(plan.n_slots, 0u);
        plan.n_staged = 0;
        return plan;
    }

    Ledger ledger;
    std::unique_ptr<Device> device;
    Model model;
};

/// Logits after each beginning of a text, computed by a session of its own, once.
class Alone {
public:
    Alone(const ModelDescription& description, const ManyCase& wanted)
        : placement_(description, wanted.has_same_bits() ? wanted.kind() : nullptr, options(wanted.kv)),
          session_(placement_.model, options(wanted.kv), placement_.ledger) {}

    /// Of the last token.
    const std::vector<float>& logits(const Tokens& tokens) {
        const auto [found, is_new] = known_.try_emplace(tokens);
        if (!is_new) return found->second;
        session_.reset();
        const auto logits = session_.append(tokens);
        found->second.assign(logits.begin(), logits.end());
        return found->second;
    }

private:
    static SessionOptions options(KvTypes kv) {
        return {.n_ctx = kContext, .n_batch = kBatch, .n_threads = 1, .kv = kv};
    }
    Placement placement_;
    Session session_;
    std::map<Tokens, std::vector<float>> known_;
};

/// The case's sequences, side by side.
class Many {
public:
    explicit Many(const ManyCase& wanted)
        : wanted_(wanted),
          description_(describe_shape(wanted.shape)),
          placement_(description_, wanted.kind(), options()),
          runner_(placement_.model, options(), placement_.ledger),
          alone_(description_, wanted),
          cache_(runner_.pool().pages(), kSaved, n_replay()) {}

    SessionOptions options() const {
        return {.n_ctx = kContext,
                .n_batch = kBatch,
                .n_outputs = kBatch,
                .n_rewind = 16,
                .n_threads = wanted_.n_threads,
                .n_sequences = kSequences,
                .n_saved = kSaved,
                .kv = wanted_.kv};
    }
    void run(int n_steps) {
        for (int i = 0; i < n_steps && !testing::Test::HasFatalFailure(); ++i) {
            if (all_.size() < kSequences && below(2) == 0) join();
            if (!all_.empty() && below(8) == 0) leave(below(static_cast<std::uint32_t>(all_.size())));
            if (!all_.empty() && below(10) == 0) fork(below(static_cast<std::uint32_t>(all_.size())));
            if (!all_.empty() && below(6) == 0) rewind(below(static_cast<std::uint32_t>(all_.size())));
            step();
        }
        std::cout << n_compared_ << " rows compared, " << n_hits_ << " prefixes found, " << n_rewound_ << " rewound\n";
        EXPECT_GT(n_hits_, static_cast<std::size_t>(n_steps) / 30);
        if (!wanted_.has_same_bits()) {
            EXPECT_LT(all_rows_.error, wanted_.bar() * all_rows_.norm);
        }
        all_.clear();
        cache_.clear();
        EXPECT_EQ(runner_.pool().pages().n_free(), runner_.pool().pages().n_pages()) << "a page leaked";
    }

    /// Logits of token 60 of a text, computed again from where it was cut, with so many tokens done again.
    std::vector<float> logits_after_cut(std::uint32_t n_replayed) {
        Sequence sequence(runner_.pool(), kContext);
        compute_to(sequence, 90);
        sequence.cut(60, n_replayed);
        EXPECT_EQ(sequence.n_computed(), 60 - n_replayed);
        return compute_to(sequence, 61);
    }
    const std::vector<float>& logits_alone() { return alone_.logits(text(61)); }

    std::uint32_t n_replay() { return runner_.pool().n_replay(); }

private:
    static Tokens text(std::uint32_t n) {
        Tokens tokens;
        for (std::uint32_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((i * 7919 + 1) % kVocab));
        return tokens;
    }
    std::vector<float> compute_to(Sequence& sequence, std::uint32_t n) {
        const Tokens tokens = text(n);
        StepWishes wishes;
        while (sequence.n_computed() < n) {
            const auto rest = std::span(tokens).subspan(sequence.n_computed());
            runner_.run({{{&sequence, rest.first(std::min<std::size_t>(kBatch, rest.size()))}}}, wishes);
        }
        const float* logits = runner_.engine().rows().logits.data;
        return std::vector<float>(logits, logits + kVocab);
    }

    struct One {
        Sequence sequence;
        Tokens text;  // to be appended, from sequence.n_computed() on
    };
    std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

    void join() {
        // A text that begins as one of a few does.
        Tokens text;
        const std::uint32_t beginning = below(3), n_shared = below(kContext / 2);
        for (std::uint32_t i = 0; i < n_shared; ++i)
            text.push_back(static_cast<std::int32_t>((i * 7919 + beginning * 31 + 1) % kVocab));
        for (std::uint32_t n = 1 + below(kContext / 2 - 1); n > 0; --n)
            text.push_back(static_cast<std::int32_t>(below(kVocab)));
        One one{Sequence(runner_.pool(), kContext), text};
        const PrefixHit hit = cache_.find(text);
        if (hit.n_tokens > 0) {
            one.sequence.assign(std::span(text).first(hit.n_saved()));
            ++n_hits_;
            if (!one.sequence.begin_from(hit)) return;  // no ring
        }
        all_.push_back(std::move(one));
    }
    void leave(std::size_t i) {
        const One& one = all_[i];
        const auto n = one.sequence.n_computed();
        if (n > 0 && !one.sequence.pages().empty())
            cache_.add(one.sequence.tokens().first(n), one.sequence.pages().first(n_kv_pages(n)));
        all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    /// Another goes on from somewhere in this one's tokens, by the cache.
    void fork(std::size_t i) {
        const One& one = all_[i];
        const auto n = one.sequence.n_computed();
        if (n < 2 || all_.size() >= kSequences) return;
        cache_.add(one.sequence.tokens().first(n), one.sequence.pages().first(n_kv_pages(n)));
        Tokens text(one.sequence.tokens().begin(), one.sequence.tokens().begin() + 1 + below(n - 1));
        for (std::uint32_t more = 1 + below(20); more > 0 && text.size() < kContext; --more)
            text.push_back(static_cast<std::int32_t>(below(kVocab)));
        One other{Sequence(runner_.pool(), kContext), text};
        const PrefixHit hit = cache_.find(text);
        if (hit.n_tokens > 0) {
            other.sequence.assign(std::span(text).first(hit.n_saved()));
            if (!other.sequence.begin_from(hit)) return;
            ++n_hits_;
        }
        all_.push_back(std::move(other));
    }
    /// Its last tokens are others.
    void rewind(std::size_t i) {
        One& one = all_[i];
        const auto n = one.sequence.n_computed();
        if (n < 2) return;
        one.sequence.cut(n - 1 - below(std::min(n - 1, 16u)), n_replay());
        one.text.assign(one.sequence.tokens().begin(), one.sequence.tokens().end());
        for (std::uint32_t more = 1 + below(30); more > 0 && one.text.size() < kContext; --more)
            one.text.push_back(static_cast<std::int32_t>(below(kVocab)));
        ++n_rewound_;
    }

    void step() {
        std::vector<StepPart> parts;
        std::vector<std::size_t> which;
        std::uint32_t room = kBatch;
        for (std::size_t i = 0; i < all_.size(); ++i) {
            One& one = all_[i];
            const auto n_done = one.sequence.n_computed();
            const auto n_left = static_cast<std::uint32_t>(one.text.size()) - n_done;
            if (n_left == 0 || below(4) == 0) continue;
            const std::uint32_t n = std::min({room, n_left, 1 + below(2) * below(kBatch)});
            if (n == 0) break;
            if (!one.sequence.reserve(n)) {
                cache_.free_pages(n_kv_pages(n) + 1);
                if (!one.sequence.reserve(n)) continue;
            }
            parts.push_back({&one.sequence, std::span(one.text).subspan(n_done, n),
                             below(2) == 0   ? Outputs::kAll
                             : below(2) == 0 ? Outputs::kLast
                                             : Outputs::kNone});
            which.push_back(i);
            room -= n;
        }
        if (parts.empty()) return;
        std::vector<std::optional<SnapshotId>> saves(parts.size());
        std::vector<std::uint32_t> n_replayed;  // rows whose results mean nothing
        for (const StepPart& part : parts)
            n_replayed.push_back(part.sequence->next(0, static_cast<std::uint32_t>(part.tokens.size())).n_replayed);
        for (std::size_t p = 0; p < parts.size(); ++p)
            if (n_replayed[p] < parts[p].tokens.size() && below(4) == 0 && (saves[p] = cache_.take_snapshot()))
                parts[p].save_to = runner_.pool().saved_row(*saves[p]);
        std::vector<std::uint32_t> before;
        for (const std::size_t i : which) before.push_back(all_[i].sequence.n_computed());
        StepWishes wishes;
        std::atomic<bool> stop{below(10) == 0};
        wishes.stop = &stop;
        try {
            runner_.run(parts, wishes);
        } catch (const Error& error) {
            ASSERT_EQ(error.code(), ErrorCode::kInterrupted);
            for (std::size_t p = 0; p < parts.size(); ++p)
                ASSERT_EQ(all_[which[p]].sequence.n_computed(), before[p]) << "an interrupted step changed a sequence";
            stop = false;
            runner_.run(parts, wishes);
        }
        cache_.end_step();
        for (std::size_t p = 0; p < parts.size(); ++p) {
            if (!saves[p]) continue;
            const Sequence& sequence = all_[which[p]].sequence;
            const auto tokens = sequence.tokens().first(sequence.n_computed());
            cache_.add(tokens, sequence.pages().first(n_kv_pages(sequence.n_computed())));
            cache_.add_snapshot(*saves[p], tokens);
        }
        const float* logits = runner_.engine().rows().logits.data;
        for (std::size_t p = 0; p < parts.size(); ++p) {
            const One& one = all_[which[p]];
            const auto n = static_cast<std::uint32_t>(parts[p].tokens.size());
            ASSERT_EQ(one.sequence.n_computed(), before[p] + n);
            const std::uint32_t n_rows = parts[p].outputs == Outputs::kAll ? n : parts[p].outputs == Outputs::kLast;
            for (std::uint32_t row = n - n_rows; row < n; ++row, logits += kVocab) {
                if (row < n_replayed[p] || (row + 1 < n && below(4) != 0)) continue;  // each of them alone takes time
                const Tokens beginning(one.text.begin(), one.text.begin() + before[p] + row + 1);
                const auto& expected = alone_.logits(beginning);
                compare({logits, kVocab}, expected);
                if (testing::Test::HasFatalFailure())
                    FAIL() << "token " << beginning.size() - 1 << " of " << one.text.size();
                ++n_compared_;
            }
        }
    }

    void compare(std::span<const float> found, std::span<const float> expected) {
        if (wanted_.has_same_bits()) {
            ASSERT_TRUE(std::ranges::equal(found, expected));
            return;
        }
        Difference of_row;
        for (std::size_t i = 0; i < found.size(); ++i) {
            of_row.error += (double{found[i]} - expected[i]) * (double{found[i]} - expected[i]);
            of_row.norm += double{expected[i]} * expected[i];
        }
        ASSERT_LT(of_row.error, 10 * wanted_.bar() * of_row.norm);
        all_rows_.error += of_row.error;
        all_rows_.norm += of_row.norm;
    }

    struct Difference {
        double error = 0, norm = 0;  // squares
    };

    const ManyCase wanted_;
    Difference all_rows_;
    ModelDescription description_;
    Placement placement_;
    Runner runner_;
    Alone alone_;
    PrefixCache cache_;
    std::vector<One> all_;
    std::mt19937 random_{11};
    std::size_t n_compared_ = 0, n_hits_ = 0, n_rewound_ = 0;
};

class ManySequences : public testing::TestWithParam<ManyCase> {
protected:
    void SetUp() override {
        if (const DeviceKind* kind = GetParam().kind(); kind != nullptr && !kind->absence().empty())
            GTEST_SKIP() << kind->absence();
        many_.emplace(GetParam());
    }
    int n_steps() const {
        const bool full = std::getenv("LFM_FULL") != nullptr;
        if (GetParam().has_same_bits()) return full ? 10000 : 300;
        const bool emulated = std::string_view(GetParam().device).starts_with("GpuWarp");
        return emulated ? (full ? 50 : 12) : (full ? 300 : 60);
    }

    std::optional<Many> many_;
};

TEST_P(ManySequences, EachIsAsAlone) { many_->run(n_steps()); }

/// (l_cache − 1) × conv layers tokens done again give the windows exactly; one fewer does not.
TEST_P(ManySequences, AsManyTokensAsThatAndNoFewerAreDoneAgain) {
    if (!GetParam().has_same_bits()) GTEST_SKIP() << "a device's bits depend on how tokens are cut into steps";
    const auto expected = many_->logits_alone();
    EXPECT_EQ(many_->logits_after_cut(many_->n_replay()), expected);
    EXPECT_NE(many_->logits_after_cut(many_->n_replay() - 1), expected);
    EXPECT_EQ(many_->logits_after_cut(many_->n_replay() + 5), expected);
}

constexpr const char* kDense =
    "lfm2,n_layer=5,n_embd=256,n_head=4,n_head_kv=2,n_ff=256,n_vocab=300,attention=1.3:Q4_K_M";
constexpr const char* kMoe =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_expert=8,"
    "n_expert_used=2,n_vocab=300:Q4_0";
constexpr const char* kFloatMoe =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_expert=8,"
    "n_expert_used=2,n_vocab=300:F32";
std::string case_name(const testing::TestParamInfo<ManyCase>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Host, ManySequences,
                         testing::Values(ManyCase{"Dense", kDense}, ManyCase{"Moe", kMoe},
                                         ManyCase{"OneThread", kMoe, 1}, ManyCase{"EightThreads", kMoe, 8},
                                         ManyCase{"Q8_0Cache", kMoe, 2, {DType::kQ8_0, DType::kQ8_0}}),
                         case_name);
INSTANTIATE_TEST_SUITE_P(
    Devices, ManySequences,
    testing::Values(ManyCase{"SimDense", kDense, 2, {}, "Sim"}, ManyCase{"SimMoe", kMoe, 2, {}, "Sim"},
                    ManyCase{"VulkanDense", kDense, 2, {}, "Vulkan"},
                    ManyCase{"VulkanMoe", kFloatMoe, 2, {DType::kQ8_0, DType::kQ8_0}, "Vulkan"},
                    ManyCase{"CudaDense", kDense, 2, {}, "Cuda"},
                    ManyCase{"CudaMoe", kFloatMoe, 2, {DType::kQ8_0, DType::kQ8_0}, "Cuda"},
                    ManyCase{"HipDense", kDense, 2, {}, "Hip"},
                    ManyCase{"HipMoe", kFloatMoe, 2, {DType::kQ8_0, DType::kQ8_0}, "Hip"},
                    ManyCase{"GpuWarp32Dense", kDense, 2, {}, "GpuWarp32"},
                    ManyCase{"GpuWarp64Moe", kFloatMoe, 2, {DType::kQ8_0, DType::kQ8_0}, "GpuWarp64"}),
    case_name);

/// The host's kernels of every weight type.
class ManySequencesOfType : public testing::TestWithParam<DTypeInfo> {};
TEST_P(ManySequencesOfType, EachIsAsAlone) {
    const std::string shape = "lfm2,n_layer=3,n_embd=256,n_head=2,n_head_kv=1,n_ff=256,n_vocab=300,attention=1:" +
                              std::string(GetParam().name);
    Many({"", shape.c_str()}).run(std::getenv("LFM_FULL") != nullptr ? 500 : 40);
}
INSTANTIATE_TEST_SUITE_P(Host, ManySequencesOfType, testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace lfm::test
