// A model file that is cut or written to while a session uses it: an error within the step, never a token.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "backends/sim/sim_device.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "runtime/tensors/random_model_file.h"
#include "tests/runtime/random_placement.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMoe =
    "lfm2moe,n_layer=6,n_layer_dense=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=8,"
    "n_expert_used=3,n_vocab=300:F16";
const SessionOptions kOptions{.n_ctx = 256, .n_batch = 16, .n_outputs = 16, .n_threads = 2};
const std::vector<std::int32_t> kPrompt{3, 1, 4, 1, 5, 9, 2, 6};

class ChangedFile : public testing::Test {
protected:
    ChangedFile() {
        write(path_, 1);
        description_ = describe_model(GgufFile::open(path_));
    }
    /// An old file: what is written to it later changes its time.
    static void write(const std::string& path, std::uint64_t seed) {
        write_random_model(describe_shape(kMoe), path, seed);
        fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
    }
    Model load(const Plan& plan, Device* device = nullptr) {
        return Model::load(GgufFile::open(path_), description_, plan, ledger_, {device, {}});
    }
    Model load() { return load(make_host_plan(description_, {})); }
    /// Where a tensor begins in the file.
    std::size_t place(const TensorRef& tensor) const {
        const GgufFile file = GgufFile::open(path_);
        return tensor.offset + static_cast<std::size_t>(file.data().data() - file.mapping()->bytes().data());
    }
    /// Overwrites some weights in place; the file keeps its length.
    void overwrite() const {
        std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(place(description_.layers[2].ffn_norm)));
        file << std::string(1000, 'x');
    }
    /// The message of the error that `act` throws; empty: it throws none.
    template <typename Act>
    std::string error_of(const Act& act) const {
        try {
            act();
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kInvalidModel) << error.what();
            EXPECT_NE(std::string(error.what()).find(path_), std::string::npos) << error.what();
            return error.what();
        }
        return "";
    }

    ScratchDir folder_;
    std::string path_ = folder_.file("model.gguf");
    Ledger ledger_;
    ModelDescription description_;
};

TEST_F(ChangedFile, ACutFileNamesTensorAndOffset) {
    const Model model = load();
    Session session(model, kOptions, ledger_);
    session.append(kPrompt);
    const TensorRef& lost = std::get<MoeTensors>(description_.layers[3].ffn).up;
    const std::size_t end = place(lost) + 10;
    fs::resize_file(path_, end);
    const std::string error = error_of([&] { session.append({kPrompt.data(), 1}); });
    EXPECT_NE(error.find(lost.name), std::string::npos) << error;
    EXPECT_NE(error.find("offset " + std::to_string(end)), std::string::npos) << error;
    EXPECT_EQ(session.position(), kPrompt.size()) << "nothing is appended";
}

TEST_F(ChangedFile, AnEmptyFileNamesTheFirstTensor) {
    const Model model = load();
    Session session(model, kOptions, ledger_);
    const std::size_t first = place(description_.token_embd);
    fs::resize_file(path_, 0);
    const std::string error = error_of([&] { session.append(kPrompt); });
    EXPECT_NE(error.find("token_embd.weight"), std::string::npos) << error;
    EXPECT_NE(error.find("offset " + std::to_string(first)), std::string::npos) << error;
}

TEST_F(ChangedFile, NothingIsGivenOutOfTheStepOrAfterIt) {
    for (const bool cut : {true, false}) {
        SCOPED_TRACE(cut ? "cut" : "written to");
        write(path_, 1);
        const Model model = load();
        Session session(model, kOptions, ledger_);
        const auto size = fs::file_size(path_);
        const auto time = fs::last_write_time(path_);
        const Checkpoint checkpoint = (session.append(kPrompt), session.checkpoint());
        if (cut)
            fs::resize_file(path_, fs::file_size(path_) / 2);
        else
            overwrite();
        const auto refuse = [](std::size_t, std::span<const float>) { ADD_FAILURE() << "logits were given out"; };
        const std::string error = error_of([&] { session.append_all(kPrompt, refuse); });
        EXPECT_NE(error, "");
        EXPECT_EQ(error_of([&] { session.append(kPrompt); }), error);
        EXPECT_EQ(error_of([&] { session.checkpoint(); }), error);
        EXPECT_EQ(error_of([&] { session.restore(checkpoint); }), error);
        session.reset();
        EXPECT_EQ(error_of([&] { session.append_all(kPrompt, refuse); }), error);
        // Also when the file looks as before.
        fs::resize_file(path_, size);
        fs::last_write_time(path_, time);
        EXPECT_EQ(error_of([&] { session.append(kPrompt); }), error);
    }
}

TEST_F(ChangedFile, AnotherFileUnderTheNameChangesNothing) {
    const Model model = load();
    Session session(model, kOptions, ledger_);
    const std::span<const float> logits = session.append(kPrompt);
    const std::vector<float> expected(logits.begin(), logits.end());
    session.reset();
    write(path_, 2);  // writes beside and renames
    const std::span<const float> again = session.append(kPrompt);
    EXPECT_EQ(std::vector<float>(again.begin(), again.end()), expected);
}

TEST_F(ChangedFile, WhatChangedBeforeLoadingIsRefused) {
    GgufFile cut = GgufFile::open(path_);
    fs::resize_file(path_, fs::file_size(path_) - 1);
    EXPECT_NE(error_of([&] { Model::load(std::move(cut), description_, make_host_plan(description_, {}), ledger_); }),
              "");
    EXPECT_NE(error_of([&] { describe_model(GgufFile::open(path_)); }), "") << "a file that is too short";
}

TEST_F(ChangedFile, AFileOfOtherShapesIsRefused) {
    write_random_model(describe_shape(std::string(kMoe).replace(std::string(kMoe).find("n_ff=96"), 7, "n_ff=64")),
                       path_, 1);
    const std::string error = error_of([&] { load(); });
    EXPECT_NE(error.find("blk.0.ffn_gate.weight"), std::string::npos) << error;
}

TEST_F(ChangedFile, RandomWeightsHaveNone) {
    const Model model = Model::random(description_, make_host_plan(description_, {}), 1, ledger_);
    EXPECT_FALSE(model.file_error());
}

// Experts are in slots, on their way there, and travel for one step; the device's copies read the file as well.
class ChangedFileBesideADevice : public ChangedFile {
protected:
    /// The logits of a prompt and single tokens, up to the error. `meanwhile` runs beside all but a last token.
    std::vector<float> run(std::uint32_t seed, std::string& error, const std::function<void()>& meanwhile) {
        const auto device = sim::make_sim_device(
            {.budget = {1ull << 30}, .limits = {.n_batch = kOptions.n_batch, .n_ctx = kOptions.n_ctx}}, ledger_);
        const Plan plan = placed_plan(description_, {.n_ctx = 256, .n_batch = 16}, Placing::kRandom, seed);
        const Model model = load(plan, device.get());
        SessionOptions options = kOptions;
        options.expert_times.assign(description_.hyper.n_layer, ExpertTimes{.host = 1, .host_while_copying = 1});
        Session session(model, options, ledger_);
        std::vector<float> all;
        const auto keep = [&](std::size_t, std::span<const float> logits) {
            all.insert(all.end(), logits.begin(), logits.end());
        };
        std::thread other(meanwhile);
        error = error_of([&] {
            session.append_all(kPrompt, keep);
            for (std::uint32_t i = 0; i < 100; ++i) session.append_all({kPrompt.data() + i % 8, 1}, keep);
        });
        other.join();
        if (error.empty()) error = error_of([&] { session.append_all({kPrompt.data(), 1}, keep); });
        EXPECT_FALSE(session.loss());
        return all;
    }
};

TEST_F(ChangedFileBesideADevice, WhatIsGivenOutIsRight) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        write(path_, 1);
        std::string error;
        const std::vector<float> expected = run(seed, error, [] {});
        ASSERT_EQ(error, "");
        const std::vector<float> logits = run(seed, error, [&] {
            std::this_thread::sleep_for(std::chrono::microseconds(100 * seed));
            fs::resize_file(path_, fs::file_size(path_) / 3);
        });
        EXPECT_NE(error.find("cut to"), std::string::npos) << error << " after " << logits.size();
        ASSERT_LT(logits.size(), expected.size());
        EXPECT_TRUE(std::equal(logits.begin(), logits.end(), expected.begin()));
    }
}

}  // namespace
}  // namespace lfm::test
