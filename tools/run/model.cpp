#include "tools/run/model.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <random>
#include <sstream>
#include <utility>

#include "tools/common/model_options.h"
#include "tools/common/profile_files.h"
#include "tools/common/stop_signals.h"
#include "tools/run/device_text.h"
#include "tools/run/plan.h"

namespace lfm::tools {

struct RunModel::Opened {
    std::string path;
    GgufFile file;
    ModelDescription description;
    PlannedRun planned;
};

namespace {

/// <prefix>/share/lfm/demo.gguf beside <prefix>/bin, wherever that lies.
std::string shipped_model() {
    std::error_code error;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) throw Error(ErrorCode::kIo, "/proc/self/exe", error.message());
    return (program.parent_path().parent_path() / "share/lfm/demo.gguf").string();
}

FileSampling read_sampling(const GgufFile& file) {
    const auto integer = [&](const char* key) -> std::optional<int> {
        const auto value = file.find_u32(key);
        return value ? std::optional(static_cast<int>(std::min(*value, 1u << 30))) : std::nullopt;
    };
    return {.temperature = file.find_f32("general.sampling.temp"),
            .top_k = integer("general.sampling.top_k"),
            .top_p = file.find_f32("general.sampling.top_p"),
            .min_p = file.find_f32("general.sampling.min_p"),
            .repeat_penalty = file.find_f32("general.sampling.penalty_repeat"),
            .repeat_last_n = integer("general.sampling.penalty_last_n")};
}

std::uint64_t random_seed() {
    std::random_device device;
    return device();  // 32 bits: short enough to type again
}

GenerationOptions make_generation(const RunOptions& options, const std::string& model_name, const FileSampling& file,
                                  ThinkStart think_start) {
    const FileSampling& user = options.sampling;
    GenerationOptions generation;
    SamplingParams& sampling = generation.sampling;
    sampling = recommended_sampling(model_name, file);
    sampling.temperature = user.temperature.value_or(sampling.temperature);
    sampling.top_k = user.top_k.value_or(sampling.top_k);
    sampling.top_p = user.top_p.value_or(sampling.top_p);
    sampling.min_p = user.min_p.value_or(sampling.min_p);
    sampling.repeat_penalty = user.repeat_penalty.value_or(sampling.repeat_penalty);
    sampling.repeat_last_n = user.repeat_last_n.value_or(sampling.repeat_last_n);
    sampling.seed = options.seed ? *options.seed : random_seed();
    validate(sampling);
    generation.n_predict = options.n_predict;
    generation.stop_strings = options.stop_strings;
    generation.think_start = options.form == PromptForm::kChat ? think_start : ThinkStart::kOutside;
    return generation;
}

/// "temp 0.3 (recommended), top-k 50 (option), …, seed 7 (random)".
std::string sampling_text(const SamplingParams& params, const FileSampling& file, const RunOptions& options) {
    std::ostringstream text;
    const auto add = [&](const char* name, auto value, const auto& by_user, const auto& by_file) {
        text << name << ' ' << value << (by_user ? " (option), " : by_file ? " (model file), " : " (recommended), ");
    };
    const FileSampling& user = options.sampling;
    add("temp", params.temperature, user.temperature, file.temperature);
    add("top-k", params.top_k, user.top_k, file.top_k);
    add("top-p", params.top_p, user.top_p, file.top_p);
    add("min-p", params.min_p, user.min_p, file.min_p);
    add("repeat-penalty", params.repeat_penalty, user.repeat_penalty, file.repeat_penalty);
    add("repeat-last-n", params.repeat_last_n, user.repeat_last_n, file.repeat_last_n);
    text << "seed " << params.seed << (options.seed ? " (option)" : " (random)");
    return text.str();
}

/// A step of loading; ends it when a stop is asked for.
void advance(ProgressLine& progress, Bytes done, Bytes total) {
    if (stop_flag()) throw Error(ErrorCode::kInterrupted, "loading", "stopped on request");
    progress.update(static_cast<double>(done.value) / static_cast<double>(total.value));
}

std::string_view confidence_text(Confidence confidence) {
    switch (confidence) {
        case Confidence::kExact: return "the model's template, known";
        case Confidence::kSimilar: return "the model's template is not known, but has the marks of one";
        case Confidence::kUnknown: return "a guess";
    }
    return "";
}

}  // namespace

std::string model_path(const RunOptions& options) { return options.model ? *options.model : shipped_model(); }

std::vector<std::string> files_read(const RunOptions& options) {
    std::vector<std::string> files = profile_files(options.device.profiles);
    files.push_back(model_path(options));
    for (const auto& file : {options.file, options.plan_file, options.use.counts_file})
        if (file) files.push_back(*file);
    return files;
}

RunModel::Opened RunModel::open(const RunOptions& options, const Console& console) {
    const std::string path = model_path(options);
    GgufFile file = open_model_file(path);
    ModelDescription description = describe_file(file, options.allow_unknown, console);
    PlannedRun planned = plan_run(options, description, console);
    return {path, std::move(file), std::move(description), std::move(planned)};
}

RunModel::RunModel(const RunOptions& options, const Console& console, Ledger& ledger, Trace* trace)
    : RunModel(options, console, ledger, trace, open(options, console)) {}

RunModel::RunModel(const RunOptions& options, const Console& console, Ledger& ledger, Trace* trace, Opened opened)
    : console_(console),
      ledger_(ledger),
      path_(std::move(opened.path)),
      file_(std::move(opened.file)),
      description_(std::move(opened.description)),
      planned_(std::move(opened.planned)),
      tokenizer_(Tokenizer::from_gguf(*file_)),
      recognised_(recognise_template(tokenizer_.chat_template())),
      chat_format_(options.chat_format.value_or(recognised_.format)),
      file_sampling_(read_sampling(*file_)),
      generation_(make_generation(options, description_.hyper.name, file_sampling_, recognised_.think_start)) {
    planned_.session.trace = trace;
    const auto begin = std::chrono::steady_clock::now();
    {
        const std::string copying = copying_text();
        ProgressLine progress(console, copying);
        placed_.emplace(place(request(progress), ledger));
    }
    {
        ProgressLine progress(console, "loading");
        placed_->model().read_ahead([&](Bytes done, Bytes total) { advance(progress, done, total); });
    }
    load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    placed_->session().set_stop_flag(&stop_flag());
    placed_->session().set_step_watcher(&between_steps_);
    say_what_was_chosen(options);
    say_slower_ways();
}

void RunModel::say_slower_ways() {
    if (console_.verbosity() != Verbosity::kVerbose || placed_->device() == nullptr) return;
    for (const std::string& remark : placed_->device()->remarks()) {
        if (std::ranges::find(said_, remark) != said_.end()) continue;
        console_.detail(device_name() + ": " + remark);
        said_.push_back(remark);
    }
}

bool RunModel::resplit() {
    const std::string copying = copying_text();
    ProgressLine progress(console_, copying);
    PlaceRequest wanted = request(progress);
    const auto better = splits_.look(*placed_, wanted);
    if (!better) return false;
    const auto speed = [](double seconds) { return std::to_string(std::lround(1 / seconds)); };
    console_.note("another split repays: " + speed(better->split.then) + " instead of " + speed(better->split.now) +
                  " tokens a second predicted; moving to it");
    wanted.plan = better->planning;
    Placed old = std::move(*placed_);
    placed_.reset();
    placed_.emplace(place_anew(std::move(old), better->split.plan, wanted, ledger_));
    return true;
}

PlaceRequest RunModel::request(ProgressLine& progress) {
    PlaceRequest request{.model = description_,
                         .session = planned_.session,
                         .plan = planned_.plan,
                         .open = nullptr,
                         .load =
                             [this](const Plan& plan, const DeviceLoad& to) {
                                 GgufFile taken = file_ ? std::move(*file_) : open_model_file(path_);
                                 file_.reset();
                                 return Model::load(std::move(taken), description_, plan, ledger_, to);
                             },
                         .progress = [&progress](Bytes done, Bytes total) { advance(progress, done, total); },
                         .note = [this](const std::string& text) { console_.note(text); },
                         .device_memory = memory_of(planned_.device)};
    if (planned_.device.open)
        request.open = [this](const DeviceOptions& options) { return planned_.device.open(options, ledger_); };
    return request;
}

void RunModel::say_what_was_chosen(const RunOptions& options) const {
    const Console& console = console_;
    const HyperParameters& hyper = model().hyper();
    const bool chats = options.form == PromptForm::kChat;
    if (chats && !options.chat_format && recognised_.confidence == Confidence::kUnknown)
        console.note("warning: unknown chat template, using the plain form; --chat-template chooses one");
    if (chats && !options.chat_format && recognised_.confidence == Confidence::kSimilar)
        console.note("warning: the model's chat template is approximated by " +
                     std::string(chat_format_name(chat_format_)) + ", whose marks it has; --chat-template chooses one");
    if (const auto remark = context_remark(hyper, planned_.session.n_ctx)) console.note("warning: " + *remark);

    console.detail("model: " + path_ + ", " + hyper.name + ", " + format_bytes(weight_bytes(model().description())) +
                   ", mostly " + std::string(dtype_name(main_type(model().description()))));
    const cpu::Kernels& kernels = planned_.session.kernels != nullptr ? *planned_.session.kernels : cpu::best_kernels();
    console.detail("computing: " + std::to_string(planned_.session.n_threads) + " threads, kernels " +
                   std::string(kernels.name));
    console.detail("context: " + std::to_string(planned_.session.n_ctx) + " of the model's " +
                   std::to_string(hyper.n_ctx_train) + " tokens");
    if (chats)
        console.detail("chat template: " + std::string(chat_format_name(chat_format_)) + " (" +
                       std::string(options.chat_format ? "option" : confidence_text(recognised_.confidence)) + ")");
    console.detail("sampling: " + sampling_text(generation_.sampling, file_sampling_, options));
    for (const LedgerLine& line : ledger_.lines())
        console.detail("memory: " + std::string(purpose_name(line.purpose)) + " " + format_bytes(line.bytes) +
                       (line.device == kHost ? "" : " on " + device_name()));
    if (console.verbosity() != Verbosity::kVerbose || placed_->device() == nullptr) return;
    console.detail("copied: " + upload_text(*this));
    if (const std::string registered = registered_text(*this); !registered.empty()) console.detail(registered);
    console.detail("plan:\n" + plan_in_use(*this));
    std::string nodes;
    for (const std::string& node : placed_->session().engine().executor().describe())
        nodes += (nodes.empty() ? "" : ", ") + node;
    console.detail("graph of a step: " + nodes);
}

}  // namespace lfm::tools
