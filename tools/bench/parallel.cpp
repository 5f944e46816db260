#include "tools/bench/parallel.h"

#include <algorithm>
#include <chrono>

#include "memory/split_mix.h"
#include "planner/model/model.h"
#include "runtime/probe/probe.h"

namespace lfm::tools {
namespace {

class ParallelRun {
public:
    ParallelRun(const ParallelTest& test, BenchInputs& inputs, StepWatcher* watcher, std::uint64_t seed)
        : test_(test), runner_(inputs.placed.session().runner()), time_(inputs.time), random_(seed) {
        wishes_.watcher = watcher;
        if (inputs.routing)
            wishes_.experts = [&inputs](std::uint32_t layer, std::uint32_t row, std::uint32_t choice) {
                return (*inputs.routing)(layer, row, choice);
            };
        for (std::uint32_t i = 0; i < test.n_parallel; ++i) {
            sequences_.emplace_back(runner_.pool(), runner_.options().n_ctx);
            tokens_.emplace_back();
        }
    }

    /// Seconds to append n tokens to each sequence, one sequence after another in steps of n_batch rows. The last token
    /// of each sequence gets logits, as a sampler needs them.
    double prompts(std::uint32_t n) {
        for (auto& tokens : tokens_) draw(tokens, n);
        double seconds = 0;
        std::vector<StepPart> parts;
        std::uint32_t room = runner_.options().n_batch;
        const auto run = [&] {
            seconds += step(parts);
            parts.clear();
            room = runner_.options().n_batch;
        };
        for (std::uint32_t i = 0; i < test_.n_parallel; ++i)
            for (std::uint32_t first = 0; first < n;) {
                const std::uint32_t n_rows = std::min(room, n - first);
                const bool is_last = first + n_rows == n;
                parts.push_back({&sequences_[i], std::span(tokens_[i]).subspan(first, n_rows),
                                 is_last ? Outputs::kLast : Outputs::kNone});
                first += n_rows;
                room -= n_rows;
                if (room == 0) run();
            }
        if (!parts.empty()) run();
        return seconds;
    }

    /// Seconds to append one token to each sequence.
    double decode() {
        std::vector<StepPart> parts;
        for (std::uint32_t i = 0; i < test_.n_parallel; ++i) {
            draw(tokens_[i], 1);
            parts.push_back({&sequences_[i], tokens_[i], Outputs::kLast});
        }
        return step(parts);
    }

private:
    void draw(std::vector<std::int32_t>& tokens, std::uint32_t n) {
        tokens.resize(n);
        for (std::int32_t& token : tokens)
            token = static_cast<std::int32_t>(split_mix(random_) % runner_.model().hyper().n_vocab);
    }
    double step(std::span<StepPart> parts) {
        for (StepPart& part : parts) {
            part.experts_shift = n_rows_ - part.sequence->n_computed();
            n_rows_ += static_cast<std::uint32_t>(part.tokens.size());
        }
        const auto begin = std::chrono::steady_clock::now();
        const double paused = wishes_.paused_seconds;
        runner_.run(parts, wishes_);
        if (time_ == BenchTime::kVirtual) return runner_.engine().last_times().total;
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        return seconds.count() - (wishes_.paused_seconds - paused);
    }

    const ParallelTest test_;
    Runner& runner_;
    BenchTime time_;
    std::uint64_t random_;
    std::uint32_t n_rows_ = 0;  // of all steps so far
    StepWishes wishes_;
    std::vector<Sequence> sequences_;
    std::vector<std::vector<std::int32_t>> tokens_;
};

}  // namespace

std::vector<BenchResult> run_parallel(const ParallelTest& test, BenchInputs& inputs, StepWatcher* watcher) {
    BenchResult prompts, tokens;
    prompts.test = {.n_prompt = test.n_prompt, .n_depth = test.n_depth, .n_parallel = test.n_parallel};
    tokens.test = {.n_gen = test.n_gen, .n_depth = test.n_depth + test.n_prompt, .n_parallel = test.n_parallel};
    for (BenchResult* result : {&prompts, &tokens}) {
        result->test_time = utc_now();
        result->bytes_per_token = static_cast<double>(active_weight_bytes(inputs.placed.model().description()).value);
    }
    const std::uint32_t n_warmup = inputs.options.warmup ? 1 : 0;
    for (std::uint32_t i = 0; i < inputs.options.repetitions + n_warmup; ++i) {
        ParallelRun run(test, inputs, watcher, i);
        if (test.n_depth > 0) run.prompts(test.n_depth);
        const double prompt_seconds = test.n_prompt > 0 ? run.prompts(test.n_prompt) : 0;
        double token_seconds = 0;
        for (std::uint32_t t = 0; t < test.n_gen; ++t) token_seconds += run.decode();
        if (i < n_warmup) continue;
        prompts.seconds.push_back(prompt_seconds);
        tokens.seconds.push_back(token_seconds);
    }
    std::vector<BenchResult> results;
    if (test.n_prompt > 0) results.push_back(std::move(prompts));
    if (test.n_gen > 0) results.push_back(std::move(tokens));
    return results;
}

}  // namespace lfm::tools
