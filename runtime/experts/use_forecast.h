// How often the experts of one layer will be used soon, learnt from how they were used.
//
// Three averages of an expert's use: u, in the last step; m, over some tokens; f, over many. The chance of a use in the
// next step is taken as f + a (u - f) + b (m - f); a and b are the least-squares fit over all experts and past steps,
// so they are about 0 where routing has no memory. Every later step follows from that one, which makes the expected
// uses of all steps to come a sum in closed form.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lfm {

struct ExpertUse {
    std::uint16_t expert = 0;
    std::uint32_t n_tokens = 0;  // of the step's tokens, how many used it
};

struct ForecastOptions {
    double long_half_life = 512;  // tokens; of f and of the fit
    double short_half_life = 4;   // tokens; of m
    double prior_tokens = 64;     // how many the frequencies given at first count as
    double prior_steps = 8;       // how many the locality given at first counts as
    double locality = 0;          // a, at first
};

class UseForecast {
public:
    /// `use`: chance that a token uses each expert, as far as known before. [n_expert]
    UseForecast(std::span<const double> use, const ForecastOptions& options);

    /// A step of n_tokens. O(n_expert), allocates nothing.
    void add_step(std::span<const ExpertUse> uses, std::uint32_t n_tokens);

    /// f: uses a token in the long run.
    double frequency(std::size_t expert) const { return frequency_[expert]; }
    /// Tokens that f rests on: fewer independent ones where choices repeat.
    double independent_tokens() const;
    /// Expected in the next step.
    double next(std::size_t expert) const;

    /// Expected uses beyond f, in all steps from `step` on (1: the next). Few steps ahead only: O(step).
    struct Weights {
        double last = 0, recent = 0;
    };
    Weights extra_weights(std::uint32_t step) const;
    double extra(std::size_t expert, Weights weights) const {
        return weights.last * (last_[expert] - frequency_[expert]) +
               weights.recent * (recent_[expert] - frequency_[expert]);
    }
    /// The same for an expert if it was used in the step before `step`.
    double extra_after_use(std::uint32_t step) const;
    /// Steps for which being used lately sets an expert apart.
    double memory() const { return 1 + extra_after_use(1); }

private:
    void learn();
    void fit();

    ForecastOptions options_;
    std::vector<double> frequency_, recent_, last_;  // [n_expert]: f, m, u
    std::vector<double> now_;                        // [n_expert]: of the step being added
    double n_tokens_;                                // decayed
    bool last_was_one_token_ = false;
    double long_decay_, short_decay_;  // a token
    // Sums over experts and steps, decayed: x = u - f and m - f before a step, y = use - f in it.
    double ridge_, xx_ = 0, xz_ = 0, zz_ = 0, xy_ = 0, zy_ = 0;
    double a_ = 0, b_ = 0;
};

}  // namespace lfm
