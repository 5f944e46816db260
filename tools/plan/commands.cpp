#include "tools/plan/commands.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "memory/dtype.h"

namespace lfm::tools {
namespace {

/// Reads back as exactly that many.
std::string size_text(Bytes bytes) {
    constexpr std::uint64_t kMiB = 1 << 20;
    if (bytes.value == 0) return "0";
    if (bytes.value % (kMiB << 10) == 0) return std::to_string(bytes.value / (kMiB << 10)) + "GiB";
    if (bytes.value % kMiB == 0) return std::to_string(bytes.value / kMiB) + "MiB";
    return std::to_string(bytes.value) + "B";
}

/// The shortest text that reads back as the same number.
std::string number_text(double number) {
    char text[32];
    const auto [end, status] = std::to_chars(text, text + sizeof text, number);
    return {text, end};
}

/// As -ctk takes it: "q8_0".
std::string type_text(DType type) {
    std::string name(dtype_name(type));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name;
}

/// Options that lfm-run and lfm-bench share.
std::string shared_options(const Plan& plan, const PlannedBy& by) {
    std::string text = " --vram-budget " + size_text(plan.vram_budget);
    if (by.ram_budget) text += " --ram-budget " + size_text(*by.ram_budget);
    if (plan.vram_budget.value > 0 && by.device > 0) text += " --device " + std::to_string(by.device);
    text += " -c " + std::to_string(plan.sizes.n_ctx);
    if (by.n_batch != 512) text += " -b " + std::to_string(by.n_batch);
    const KvTypes defaults;
    if (plan.sizes.kv.k != defaults.k) text += " -ctk " + type_text(plan.sizes.kv.k);
    if (plan.sizes.kv.v != defaults.v) text += " -ctv " + type_text(plan.sizes.kv.v);
    return text;
}

std::string profile_options(const PlannedBy& by) {
    std::string text;
    for (const std::string& profile : by.profiles) text += " --profile " + shell_quoted(profile);
    return text;
}

std::string run_command(const Plan& plan, const PlannedBy& by) {
    std::string text = "lfm-run -m " + shell_quoted(by.model_file.value_or("MODEL.gguf")) + shared_options(plan, by);
    if (plan.vram_budget.value == 0) return text;  // the CPU needs no figures to run
    text += profile_options(by);
    if (by.use.counts_file) text += " --routing " + shell_quoted(*by.use.counts_file);
    if (by.use.skew > 0) text += " --skew " + number_text(by.use.skew);
    if (by.use.locality > 0) text += " --locality " + number_text(by.use.locality);
    return text;
}

/// A prompt of one batch and some tokens more, at the depth of the prediction, as far as the context has room.
std::string verify_command(const Plan& plan, const PlannedBy& by) {
    constexpr std::uint32_t kTokens = 64;
    const std::uint32_t depth = std::min(plan.depth, plan.sizes.n_ctx - 1), room = plan.sizes.n_ctx - depth;
    std::string text =
        "lfm-bench " + (by.model_file ? "-m " + shell_quoted(*by.model_file) : "--shape " + shell_quoted(by.shape));
    text += shared_options(plan, by) + profile_options(by);
    if (by.use.counts_file) text += " --routing " + shell_quoted(*by.use.counts_file);
    if (by.use.skew > 0 || by.use.locality > 0)
        text += " --routing-trace zipf:" + number_text(by.use.skew) +
                (by.use.locality > 0 ? ",reuse:" + number_text(by.use.locality) : std::string());
    return text + " -p " + std::to_string(std::min(plan.sizes.n_batch, room)) + " -n " +
           std::to_string(std::min(kTokens, room)) + " -d " + std::to_string(depth);
}

}  // namespace

std::string shell_quoted(const std::string& word) {
    constexpr std::string_view kPlain = "_@%+=:,./-";
    const bool plain = !word.empty() && std::ranges::all_of(word, [&](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || kPlain.find(c) != std::string_view::npos;
    });
    if (plain) return word;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    return quoted + "'";
}

PlanCommands plan_commands(const Plan& plan, const PlannedBy& by) {
    return {run_command(plan, by), verify_command(plan, by)};
}

}  // namespace lfm::tools
