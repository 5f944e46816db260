// What the user of lfm-run asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/chat_template.h"
#include "runtime/session/chat_session.h"
#include "runtime/session/sampling_defaults.h"
#include "runtime/session/session.h"
#include "runtime/text/special_tokens.h"
#include "tools/common/command_line.h"
#include "tools/common/console.h"
#include "tools/common/device_choice.h"
#include "tools/common/expected_use.h"

namespace lfm::tools {

enum class RunAction { kRun, kHelp, kVersion };
enum class PromptForm { kChat, kRaw };
enum class ReasoningChoice { kShow, kHide };
enum class OutputFormat { kText, kJson };

struct RunOptions {
    RunAction action = RunAction::kRun;
    std::optional<std::string> model;  // nothing: the model shipped with the programs
    std::optional<std::string> prompt;
    std::optional<std::string> file;  // "-": standard input
    std::optional<std::uint32_t> n_predict;
    std::uint32_t n_ctx = 0;  // 0: the model's, at most kDefaultContext
    SessionOptions compute;   // all but n_ctx
    std::vector<std::string> allow_unknown;
    std::optional<std::string> plan_file;
    DeviceRequest device;
    ExpectedUse use;  // of experts, to plan with
    std::optional<std::string> trace_file;
    FileSampling sampling;  // what the user set, over the recommended values
    std::optional<std::uint64_t> seed;
    std::string system;
    PromptForm form = PromptForm::kChat;
    SpecialTokens parse = SpecialTokens::kAsText;  // of prompt and system prompt
    std::optional<ChatFormat> chat_format;
    OnFull on_full = OnFull::kStop;
    std::vector<std::string> stop_strings;
    ReasoningChoice reasoning = ReasoningChoice::kShow;
    OutputFormat output = OutputFormat::kText;
    Verbosity verbosity = Verbosity::kNormal;
    ColorChoice color = ColorChoice::kAuto;
};

/// A KV cache for all of a long context would surprise a small machine; -c asks for more.
inline constexpr std::uint32_t kDefaultContext = 8192;

/// Fits a terminal of 80 columns and 40 lines.
std::string_view run_help();

/// Every option of lfm-run, as the parser knows them.
po::options_description run_option_descriptions();

/// `arguments` without the program's name. Throws Error{kUsage}.
RunOptions parse_run_options(const std::vector<std::string>& arguments);

}  // namespace lfm::tools
