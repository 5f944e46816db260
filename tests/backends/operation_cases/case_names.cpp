// The name of each case in a failure message.
#include <initializer_list>

#include "tests/backends/operation_cases/cases.h"

namespace lfm::operation_cases {
namespace {

/// "[33, 512]"
std::string shape(std::initializer_list<std::uint32_t> sizes) {
    std::string text = "[";
    for (const std::uint32_t size : sizes) {
        if (text.size() > 1) text += ", ";
        text += std::to_string(size);
    }
    return text += "]";
}

std::string typed(DType type, std::initializer_list<std::uint32_t> sizes) {
    return std::string(" ") + std::string(dtype_name(type)) + " " + shape(sizes);
}

std::string count(std::uint32_t n, const char* what) {
    return ", " + std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

std::string rows(std::uint32_t n_tokens, std::uint32_t n_outputs, RowSet set) {
    return count(n_tokens, "token") + (set == RowSet::kOutputs ? count(n_outputs, "output row") : "");
}

std::string at(std::uint32_t position) { return " at " + std::to_string(position); }

std::string seed(std::uint64_t value) { return ", seed " + std::to_string(value); }

std::string place(Result result) {
    switch (result) {
        case Result::kApart: return "";
        case Result::kOverFirst: return ", over the first operand";
        case Result::kOverSecond: return ", over the second operand";
    }
    return "";
}

std::string name(const char* operation, const ElementwiseCase& each) {
    return std::string(operation) + " " + shape({each.n_tokens, each.n_cols}) + place(each.result) + seed(each.seed);
}

}  // namespace

std::string name(const EmbedCase& each) {
    return "embed" + typed(each.type, {each.n_vocab, each.n_embd}) + count(each.n_tokens, "token") + seed(each.seed);
}

std::string name(const RmsNormCase& each) {
    return "rms_norm, " + std::to_string(each.n_cols) + " wide" + rows(each.n_tokens, each.n_outputs, each.rows) +
           place(each.result) + ", values of size " + std::to_string(each.spread) + seed(each.seed);
}

std::string name(const MatmulCase& each) {
    std::string text = "matmul";
    for (std::size_t i = 0; i < each.n_weights; ++i)
        text += (i > 0 ? " +" : "") + typed(each.types[i], {each.n_out[i], each.n_in});
    return text + rows(each.n_tokens, each.n_outputs, each.rows) + seed(each.seed);
}

std::string name(const QkNormRopeCase& each) {
    return "qk_norm_rope, " + std::to_string(each.n_head) + "/" + std::to_string(each.n_head_kv) + " heads of " +
           std::to_string(each.head_dim) + count(each.n_tokens, "token") + at(each.position) + seed(each.seed);
}

std::string name(const AttentionCase& each) {
    return "kv_append and attention, keys " + std::string(dtype_name(each.k_type)) + ", values " +
           std::string(dtype_name(each.v_type)) + ", " + std::to_string(each.n_head_kv) + " groups of " +
           std::to_string(each.n_group) + " heads of " + std::to_string(each.head_dim) + count(each.n_tokens, "token") +
           at(each.position) + seed(each.seed);
}

std::string name(const ShortConvCase& each) {
    return "short_conv, " + std::to_string(each.n_embd) + " wide, " + std::to_string(each.l_cache) + " taps" +
           count(each.n_tokens, "token") + at(each.position) + ", " + std::to_string(each.cut) + " at a time" +
           seed(each.seed);
}

std::string name(const SwigluCase& each) { return name("swiglu", each); }
std::string name(const AddCase& each) { return name("add", each); }

std::string name(const RouteCase& each) {
    constexpr const char* kRoutings[] = {"", ", bias", ", forced", ", ties", ", NaN"};
    return "route" + typed(each.type, {each.n_expert, each.n_embd}) + count(each.n_tokens, "token") + ", top " +
           std::to_string(each.n_expert_used) + kRoutings[static_cast<std::size_t>(each.routing)] + seed(each.seed);
}

std::string name(const ExpertFfnCase& each) {
    constexpr const char* kHoldings[] = {"all here", "some elsewhere", "some staged", "all elsewhere"};
    return "expert_ffn" + typed(each.types[0], {each.n_ff, each.n_embd}) +
           typed(each.types[1], {each.n_ff, each.n_embd}) + typed(each.types[2], {each.n_embd, each.n_ff}) +
           count(each.n_tokens, "token") + ", " + std::to_string(each.n_expert_used) + " of " +
           std::to_string(each.n_expert) + " experts, " + kHoldings[static_cast<std::size_t>(each.holding)] +
           seed(each.seed);
}

std::string name(const CopyCase& each) {
    std::string text = "copy";
    for (std::size_t i = 0; i < each.n_parts; ++i)
        text += (i > 0 ? " + " : " ") + std::to_string(each.n_cols[i]) + " wide";
    return text + rows(each.n_tokens, each.n_outputs, each.rows) + seed(each.seed);
}

}  // namespace lfm::operation_cases
