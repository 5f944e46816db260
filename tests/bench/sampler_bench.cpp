// Microseconds that the sampler takes for one token of 65536 logits, the best of 40 rounds, by kind of parameters.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include "runtime/session/sampler.h"

int main() {
    using namespace lfm;
    constexpr std::uint32_t kVocab = 65536;
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 2.5f);
    std::vector<std::vector<float>> logits(16, std::vector<float>(kVocab));
    for (auto& token : logits) {
        for (float& logit : token) logit = normal(random);
        token[random() % kVocab] = 18;  // one or two that stand out, as with a trained model
        token[random() % kVocab] = 17;
    }
    struct Case {
        const char* name;
        SamplingParams params;
    };
    const Case cases[] = {
        {"greedy", {.temperature = 0}},
        {"LFM2: temp 0.3, min-p 0.15", {.temperature = 0.3f, .min_p = 0.15f, .repeat_penalty = 1.05f}},
        {"LFM2.5: temp 0.1, top-k 50, top-p 0.1",
         {.temperature = 0.1f, .top_k = 50, .top_p = 0.1f, .repeat_penalty = 1.05f}},
        {"top-p 0.9 alone", {.temperature = 0.7f, .top_p = 0.9f}},
        {"temp 0.8 alone", {.temperature = 0.8f}},
    };
    for (const auto& [name, params] : cases) {
        Sampler sampler(params, kVocab);
        for (int i = 0; i < 64; ++i) sampler.accept(static_cast<std::int32_t>(random() % kVocab));
        double best = 1e9;
        long sum = 0;  // of the tokens: the same before and after a change that should not be seen
        for (int round = 0; round < 40; ++round) {
            const auto start = std::chrono::steady_clock::now();
            for (const auto& token : logits) sum += sampler.sample(token);
            const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - start;
            best = std::min(best, passed.count() / static_cast<double>(logits.size()));
        }
        std::printf("%-40s %7.1f us  (tokens add up to %ld)\n", name, best, sum);
    }
}
