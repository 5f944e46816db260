// tools/trace_picture.py as a reader calls it, on a trace of lfm-bench.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

using Words = std::vector<std::string>;

class TracePicture : public testing::Test {
protected:
    void SetUp() override {
        if (run({"/usr/bin/env", "python3", "--version"}).code != 0) GTEST_SKIP() << "python3 is not installed";
        // All layers are at home on the device; some experts of every layer are in RAM.
        const Result bench = run({LFM_BINARY_DIR "/bin/lfm-bench", "--shape", "lfm2-24b-a2b:Q8_0", "--backend", "sim",
                                  "--profile", LFM_SOURCE_DIR "/profiles/gpu/rtx-4060-ti-16gb.json", "--vram-budget",
                                  "12GiB", "-p", "64", "-n", "2", "-r", "1", "--no-warmup", "--trace", trace_});
        ASSERT_EQ(bench.code, 0) << bench.err;
    }

    Result draw(const Words& options) const {
        Words words{"/usr/bin/env", "python3", LFM_SOURCE_DIR "/tools/trace_picture.py", "-o", picture_};
        words.insert(words.end(), options.begin(), options.end());
        return run(words);
    }
    std::string drawn(Words options) const {
        options.push_back(trace_);
        const Result result = draw(options);
        EXPECT_EQ(result.code, 0) << result.err;
        std::stringstream text;
        text << std::ifstream(picture_).rdbuf();
        return text.str();
    }

    ScratchDir dir_;
    std::string trace_ = dir_.file("trace.json"), picture_ = dir_.file("picture.svg");
};

TEST_F(TracePicture, ShowsTheLayersAskedFor) {
    const std::string svg = drawn({"--layers", "6-7"});
    for (const char* text :
         {">host<", ">device<", ">bus<", ">layer 6<", ">layer 7<", "blk.7 cold", "a step of 1 token"})
        EXPECT_NE(svg.find(text), std::string::npos) << text;
    for (const char* text : {">layer 5<", ">layer 8<", "blk.5", "blk.8"})
        EXPECT_EQ(svg.find(text), std::string::npos) << text;
    EXPECT_LT(svg.size(), 60u << 10);
}

TEST_F(TracePicture, ShowsAnyStepAndSpan) {
    const std::string prompt = drawn({"--tokens", "64"});
    EXPECT_NE(prompt.find("a step of 64 tokens"), std::string::npos);
    EXPECT_NE(drawn({"--step", "0", "--from", "1.5", "--to", "4"}).find("after 0 others"), std::string::npos);
    EXPECT_NE(drawn({"--step", "1"}).find("after 1 others"), std::string::npos);
    EXPECT_NE(drawn({"--title", "<a & b>"}).find("&lt;a &amp; b&gt;"), std::string::npos);
}

TEST_F(TracePicture, SaysInOneLineWhatIsWrong) {
    const std::string other = dir_.file("other.json");
    std::ofstream(other) << "[1, 2]";
    for (const Words& options :
         {Words{trace_, "--tokens", "5"}, Words{trace_, "--step", "9"}, Words{trace_, "--layers", "x"},
          Words{trace_, "--layers", "7-6"}, Words{trace_, "--layers", "0-1"}, Words{trace_, "--from", "3", "--to", "2"},
          Words{dir_.file("absent")}, Words{other}}) {
        const Result result = draw(options);
        EXPECT_EQ(result.code, 1) << testing::PrintToString(options);
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    }
}

}  // namespace
}  // namespace lfm::test
