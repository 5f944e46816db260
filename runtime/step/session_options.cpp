#include "runtime/step/session_options.h"

#include <algorithm>
#include <string>

#include "memory/error.h"

namespace lfm {

const SessionOptions& checked(const SessionOptions& options) {
    const auto require = [](bool fine, const char* option, const std::string& expected, std::uint64_t found) {
        if (!fine) throw Error(ErrorCode::kUsage, option, "expected " + expected + ", found " + std::to_string(found));
    };
    constexpr std::uint32_t kMaxThreads = 1024, kMaxSequences = 1024;
    require(options.n_ctx >= 1 && options.n_ctx <= 1u << 30, "--ctx-size", "1 to 2^30 tokens", options.n_ctx);
    require(options.n_batch >= 1 && options.n_batch <= 1u << 16, "--batch-size", "1 to 65536 tokens", options.n_batch);
    require(options.n_outputs >= 1 && options.n_outputs <= options.n_batch, "n_outputs", "1 to the batch size",
            options.n_outputs);
    require(options.n_rewind <= options.n_batch, "n_rewind", "0 to the batch size", options.n_rewind);
    require(options.n_sequences >= 1 && options.n_sequences <= std::min(options.n_batch, kMaxSequences), "--parallel",
            "1 to the batch size, at most 1024", options.n_sequences);
    require(std::uint64_t{options.n_sequences} * options.n_ctx <= 1u << 30, "--parallel",
            "2^30 tokens of all sequences together at most", std::uint64_t{options.n_sequences} * options.n_ctx);
    require(options.n_shared_ctx == 0 || (options.n_sequences > 1 && options.n_shared_ctx >= options.n_ctx),
            "n_shared_ctx", "at least the context size, for more than one sequence", options.n_shared_ctx);
    require(options.n_saved <= 1u << 16, "n_saved", "0 to 65536", options.n_saved);
    require(options.n_threads >= 1 && options.n_threads <= kMaxThreads, "--threads", "1 to 1024", options.n_threads);
    return options;
}

}  // namespace lfm
