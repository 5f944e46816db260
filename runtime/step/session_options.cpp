#include "runtime/step/session_options.h"

#include <string>

#include "memory/error.h"

namespace lfm {

const SessionOptions& checked(const SessionOptions& options) {
    const auto require = [](bool fine, const char* option, const std::string& expected, std::uint64_t found) {
        if (!fine) throw Error(ErrorCode::kUsage, option, "expected " + expected + ", found " + std::to_string(found));
    };
    constexpr std::uint32_t kMaxThreads = 1024;
    require(options.n_ctx >= 1 && options.n_ctx <= 1u << 30, "--ctx-size", "1 to 2^30 tokens", options.n_ctx);
    require(options.n_batch >= 1 && options.n_batch <= 1u << 16, "--batch-size", "1 to 65536 tokens", options.n_batch);
    require(options.n_outputs >= 1 && options.n_outputs <= options.n_batch, "n_outputs", "1 to the batch size",
            options.n_outputs);
    require(options.n_rewind <= options.n_batch, "n_rewind", "0 to the batch size", options.n_rewind);
    require(options.n_threads >= 1 && options.n_threads <= kMaxThreads, "--threads", "1 to 1024", options.n_threads);
    return options;
}

}  // namespace lfm
