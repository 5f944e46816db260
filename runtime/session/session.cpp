#include "runtime/session/session.h"

#include <algorithm>

#include "memory/error.h"

namespace lfm {

void Session::check(std::span<const std::int32_t> tokens) const {
    if (tokens.empty()) throw Error(ErrorCode::kInvalidInput, "tokens", "expected at least one, found none");
    if (tokens.size() > n_ctx() - position())
        throw Error(ErrorCode::kContextFull, "context",
                    "expected at most " + std::to_string(n_ctx()) + " tokens (-c), found " +
                        std::to_string(position() + tokens.size()));
    for (const std::int32_t token : tokens)
        if (token < 0 || static_cast<std::uint32_t>(token) >= n_vocab())
            throw Error(ErrorCode::kInvalidInput, "token id",
                        "expected 0 to " + std::to_string(n_vocab() - 1) + ", found " + std::to_string(token));
}

template <typename Take>
void Session::in_steps(std::span<const std::int32_t> tokens, std::size_t most, Outputs outputs, const Take& take) {
    check(tokens);
    for (std::size_t first = 0; first < tokens.size(); first += most) {
        const auto part = tokens.subspan(first, std::min(most, tokens.size() - first));
        take(first, runner_.run(sequence_, part, outputs, wishes_));
    }
}

std::span<const float> Session::append(std::span<const std::int32_t> tokens) {
    std::span<const float> last;
    in_steps(tokens, runner_.options().n_batch, Outputs::kLast,
             [&](std::size_t, std::span<const float> logits) { last = logits; });
    return last;
}

void Session::append_all(std::span<const std::int32_t> tokens, const LogitsSink& sink) {
    in_steps(tokens, runner_.options().n_outputs, Outputs::kAll, sink);
}

}  // namespace lfm
