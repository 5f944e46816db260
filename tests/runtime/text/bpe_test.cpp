// The heap against the definition of BPE, over random vocabularies.
#include "runtime/text/bpe.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/runtime/small_vocabulary.h"

namespace lfm::test {
namespace {

/// Joins the best-ranked pair, of equal ones the leftmost, until none is left. Quadratic.
class NaiveBpe {
public:
    void add_merge(const std::string& left, const std::string& right) {
        ranks_.emplace(std::pair(left, right), ranks_.size());
    }
    std::vector<std::string> encode(std::string_view word) const {
        std::vector<std::string> parts;
        for (const char c : word) parts.emplace_back(1, c);
        while (true) {
            std::size_t best = 0, best_rank = ranks_.size();
            for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
                const auto rank = ranks_.find({parts[i], parts[i + 1]});
                if (rank != ranks_.end() && rank->second < best_rank) best = i, best_rank = rank->second;
            }
            if (best_rank == ranks_.size()) return parts;
            parts[best] += parts[best + 1];
            parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
        }
    }

private:
    std::map<std::pair<std::string, std::string>, std::size_t> ranks_;
};

/// A vocabulary of random merges of the letters a to d, in any order of rank: also merges that cannot be reached,
/// and several that make the same token.
struct RandomBpe {
    explicit RandomBpe(std::mt19937& random) {
        std::vector<std::string> known{"a", "b", "c", "d"};
        std::vector<std::pair<std::string, std::string>> pairs;
        for (std::uint32_t n = 5 + random() % 60; n > 0; --n) {
            const std::string left = known[random() % known.size()], right = known[random() % known.size()];
            if (left.size() + right.size() > 12) continue;
            pairs.emplace_back(left, right);
            known.push_back(left + right);
        }
        std::ranges::shuffle(pairs, random);
        for (const auto& [left, right] : pairs) {
            naive.add_merge(left, right);
            vocabulary.add_merge(left, right);  // the same token twice: the first counts
        }
        // Whole pre-tokens that no merge makes.
        for (int i = 0; i < 3; ++i) whole_words.push_back(random_word(random, 3 + random() % 4));
        for (const std::string& word : whole_words) vocabulary.add_token(word);
    }
    static std::string random_word(std::mt19937& random, std::size_t length) {
        std::string word(length, 'a');
        for (char& c : word) c = static_cast<char>('a' + random() % 4);
        return word;
    }

    NaiveBpe naive;
    SmallVocabulary vocabulary;
    std::vector<std::string> whole_words;
};

TEST(Bpe, EqualsTheDefinition) {
    std::mt19937 random(3);
    for (int i = 0; i < 100; ++i) {
        const RandomBpe bpe(random);
        const Tokenizer tokenizer = bpe.vocabulary.load();
        for (int j = 0; j < 50; ++j) {
            const std::string word = RandomBpe::random_word(random, 1 + random() % (j % 10 == 0 ? 300 : 20));
            std::vector<std::string> expected = bpe.naive.encode(word);
            if (tokenizer.find(word)) expected = {word};
            std::vector<std::string> found;
            for (const auto id : tokenizer.encode(word, SpecialTokens::kAsText))
                found.emplace_back(tokenizer.piece(id));
            ASSERT_EQ(found, expected) << "vocabulary " << i << ", " << word;
        }
    }
}

TEST(Bpe, AWholePreTokenNeedsNoMerges) {
    SmallVocabulary vocabulary;
    vocabulary.add_merge("w", "o");
    const auto word = vocabulary.add_token("word");
    const auto spaced = vocabulary.add_token(spell(" word"));
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.encode("word word", SpecialTokens::kAsText), (std::vector{word, spaced}));
    EXPECT_EQ(tokenizer.encode("words", SpecialTokens::kAsText).size(), 4u);  // wo r d s
}

TEST(Bpe, OfEqualMergesTheFirstCounts) {
    SmallVocabulary vocabulary;
    const auto ab = vocabulary.add_merge("a", "b");
    const auto bc = vocabulary.add_merge("b", "c");
    vocabulary.add_merge("a", "b");
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.encode("abc", SpecialTokens::kAsText)[0], ab);
    EXPECT_EQ(tokenizer.encode("dbc", SpecialTokens::kAsText)[1], bc);
}

}  // namespace
}  // namespace lfm::test
