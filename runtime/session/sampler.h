// Picks the next token from logits: penalties, top-k, top-p, min-p, temperature, draw (llama.cpp's default order).
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace lfm {

struct SamplingParams {
    float temperature = 0.3f;  // <= 0: greedy
    int top_k = 0;             // keep the k best; 0: off
    float top_p = 1;           // keep the best until their probabilities reach p; 1: off
    float min_p = 0;           // drop what is less probable than min_p times the best; 0: off
    float repeat_penalty = 1;  // positive logits of recent tokens are divided by it, others multiplied; 1: off
    int repeat_last_n = 64;    // how many tokens count as recent
    std::uint64_t seed = 0;
};

/// Where a value came from decides its name in an error: "--top-p" or "general.sampling.top_p".
enum class SamplingSource { kOptions, kModelFile };

/// Throws kUsage (options) or kInvalidModel (file), naming the first value out of range.
void validate(const SamplingParams& params, SamplingSource source = SamplingSource::kOptions);

class Sampler {
public:
    /// Validates `params` and allocates everything; sample() and accept() allocate nothing.
    Sampler(const SamplingParams& params, std::uint32_t n_vocab);

    /// Remembers a token of the sequence for the repeat penalty. Throws kInvalidInput when it is not in [0, n_vocab).
    void accept(std::int32_t token);

    /// logits[n_vocab] -> token id. The same seed, logits and accepted tokens give the same ids. On a tie the lower
    /// id is the better one. NaN counts as -inf. Throws kInvalidInput when the size differs or no logit is above -inf.
    std::int32_t sample(std::span<const float> logits);

private:
    struct Candidate {
        std::int32_t id;
        float logit;
    };
    struct Better {  // a type, not a function: the sorts inline it
        bool operator()(const Candidate& a, const Candidate& b) const {
            return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
        }
    };
    static std::span<Candidate> keep_top_k(std::span<Candidate> candidates, std::size_t k);
    static std::span<Candidate> keep_top_p(std::span<Candidate> candidates, float p, float best_logit);
    static std::span<Candidate> keep_min_p(std::span<Candidate> candidates, float min_p, float best_logit);
    Candidate load(std::span<const float> logits);
    float least_that_counts(float best_logit);
    std::span<Candidate> gather(float least);
    std::int32_t draw(std::span<Candidate> candidates, float best_logit);

    SamplingParams params_;
    // Most tokens are told apart from candidates by the best of 64 neighbours.
    std::vector<float> logits_;           // [n_vocab], penalties applied, no NaN; -inf up to a multiple of 64
    std::vector<float> bests_, ordered_;  // of every 64 logits; those again, for selecting
    std::vector<Candidate> candidates_;   // [n_vocab]
    std::vector<std::int32_t> recent_;    // ring of at most repeat_last_n ids
    std::size_t oldest_ = 0;              // where the full ring is written next
    std::mt19937_64 random_;
};

}  // namespace lfm
