// The shipped model through lfm-run: asked for an animal, it tells a story about it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>

#include "tests/tools/process.h"

namespace lfm::test {
namespace {

const std::string kRun = LFM_BINARY_DIR "/bin/lfm-run";
const std::string kModel = LFM_SOURCE_DIR "/tools/demo_model/demo.gguf";

const std::vector<std::string> kAnimals{"fox",    "owl",   "hedgehog", "cow",   "cat",    "dog",    "bear",
                                        "rabbit", "mouse", "horse",    "sheep", "turtle", "frog",   "duck",
                                        "monkey", "lion",  "tiger",    "whale", "bee",    "penguin"};

/// Lower-case words without punctuation.
std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text + " ") {
        const auto letter = static_cast<unsigned char>(c);
        if (std::isalpha(letter) || c == '\'')
            word += static_cast<char>(std::tolower(letter));
        else if (!word.empty())
            words.push_back(std::exchange(word, {}));
    }
    return words;
}

/// A run of eight words that occurs twice; empty when there is none.
std::string repeated_eight(const std::vector<std::string>& words) {
    std::map<std::string, int> seen;
    for (std::size_t i = 0; i + 8 <= words.size(); ++i) {
        std::string run;
        for (std::size_t j = i; j < i + 8; ++j) run += words[j] + " ";
        if (++seen[run] > 1) return run;
    }
    return "";
}

class DemoModel : public testing::TestWithParam<std::vector<std::string>> {};
INSTANTIATE_TEST_SUITE_P(Sampling, DemoModel,
                         testing::Values(std::vector<std::string>{"--temp", "0"}, std::vector<std::string>{"-s", "7"}),
                         [](const auto& test) { return test.index == 0 ? "greedy" : "recommended"; });

TEST_P(DemoModel, TellsOfTheAnimalItWasAskedFor) {
    for (const std::string& animal : kAnimals) {
        const std::string article = std::string("aeiou").find(animal[0]) == std::string::npos ? "a " : "an ";
        std::vector<std::string> command{kRun, "-m",  kModel, "-q",
                                         "-n", "300", "-p",   "Tell me a story about " + article + animal + "."};
        command.insert(command.end(), GetParam().begin(), GetParam().end());
        const Result result = run(command);
        ASSERT_EQ(result.code, 0) << result.err;
        const auto words = words_of(result.out);
        EXPECT_GE(std::ranges::count(words, animal), 2) << result.out;
        EXPECT_EQ(repeated_eight(words), "") << result.out;
        EXPECT_GT(words.size(), 50u) << result.out;
        EXPECT_TRUE(result.out.ends_with(".\n") || result.out.ends_with("\"\n") || result.out.ends_with("!\n"))
            << result.out;
    }
}

}  // namespace
}  // namespace lfm::test
