#include "tools/common/llama_options.h"

#include <algorithm>
#include <initializer_list>

namespace lfm::tools {
namespace {

struct Replacement {
    std::initializer_list<std::string_view> names;
    std::string_view option;  // that does it here, which not every tool has; empty: none is needed
    std::string_view text;    // goes on after "OPTION "; alone where `option` is empty
};

const Replacement kReplacements[] = {
    {{"-ngl", "--gpu-layers", "--n-gpu-layers"},
     "--vram-budget",
     "SIZE (8GiB, 80%, 0): layers and experts are placed within it"},
    {{"-ncmoe", "--n-cpu-moe", "-cmoe", "--cpu-moe", "-ot", "--override-tensor"},
     "--vram-budget",
     "SIZE: which experts stay in RAM is planned, one by one"},
    {{"-nkvo", "--no-kv-offload", "-kvo", "--kv-offload"},
     "--vram-budget",
     "SIZE: the KV cache lies where its layer does"},
    {{"-fit", "--fit", "-fitt", "--fit-target", "-fitc", "--fit-ctx"},
     "--vram-budget",
     "SIZE: what fits is planned within it"},
    {{"-mg", "--main-gpu", "-dev"}, "--device", "N, as lfm-probe --list numbers them"},
    {{"-sm", "--split-mode", "-ts", "--tensor-split"}, "--device", "N: one device computes, with the CPU beside it"},
    {{"--list-devices"}, "", "lfm-probe --list lists the devices"},
    {{"-fa", "--flash-attn", "-nfa", "--no-flash-attn"}, "", "attention is always computed in that way"},
    {{"-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-hft", "--hf-token", "-mu", "--model-url", "-dr",
      "--docker-repo", "-mm", "--mmproj", "-mmu", "--mmproj-url"},
     "--model",
     "FILE: nothing is downloaded, FILE is a GGUF file that is there"},
    {{"-ub", "--ubatch-size"}, "--batch-size", "N: steps are as long as batches"},
    {{"--mlock", "--mmap", "--no-mmap", "-mmp", "-dio", "--direct-io", "--no-direct-io", "-ndio", "--no-repack", "-nr"},
     "",
     "the file is always mapped, read ahead and used as it is"},
    {{"-tb", "--threads-batch"}, "--threads", "N: for prompt and answer alike"},
    {{"-C", "--cpu-mask", "-Cr", "--cpu-range", "--cpu-strict", "-Cb", "--cpu-mask-batch", "--numa"},
     "--threads",
     "N, and taskset or numactl to choose the cores"},
    {{"--prio", "--prio-batch", "--poll", "--poll-batch", "--delay"}, "--threads", "N, and nice for the priority"},
    {{"-cnv", "--conversation", "-i", "--interactive", "-if", "--interactive-first", "-mli", "--multiline-input"},
     "",
     "without a prompt, on a terminal, it is a chat"},
    {{"-no-cnv", "--no-conversation"}, "--no-chat", "continues the text as it is"},
    {{"-st", "--single-turn"}, "--prompt", "TEXT gives one answer"},
    {{"--jinja", "--no-jinja", "--chat-template-file", "--skip-chat-parsing"},
     "--chat-template",
     "NAME: templates are built in, chosen by the model's"},
    {{"-sysf", "--system-prompt-file"}, "--system-prompt", "\"$(cat FILE)\""},
    {{"-bf", "--binary-file"}, "--file", "FILE"},
    {{"-r", "--reverse-prompt"}, "--stop", "STRING"},
    {{"--reasoning-format", "--reasoning-budget", "-rea", "--think"}, "--reasoning", "show or hide"},
    {{"-sp", "--special"}, "", "control tokens are never shown"},
    {{"-e", "--escape", "--no-escape"}, "", "text is taken as it is; shells write a line break as $'\\n'"},
    {{"--no-display-prompt", "--display-prompt"}, "", "stdout has the answer alone"},
    {{"--simple-io"}, "--color", "never"},
    {{"--log-disable", "--log-file", "-lv", "--log-verbosity", "--verbosity", "--verbose-prompt", "--log-colors",
      "--log-prefix", "--log-timestamps", "--perf", "--no-perf", "--show-timings", "--no-show-timings"},
     "--verbose",
     "says more, -q says nothing; messages go to stderr"},
    {{"--mirostat",           "--mirostat-lr",          "--mirostat-ent",   "--typical",      "--typical-p",
      "--xtc-probability",    "--xtc-threshold",        "--dry-multiplier", "--dry-base",     "--dry-allowed-length",
      "--dry-penalty-last-n", "--dry-sequence-breaker", "--dynatemp-range", "--dynatemp-exp", "--top-nsigma",
      "--top-n-sigma",        "--adaptive-target",      "--samplers",       "--sampler-seq",  "--sampling-seq"},
     "--temp",
     "T, --top-k, --top-p and --min-p are the ways to sample"},
    {{"--presence-penalty", "--frequency-penalty"}, "--repeat-penalty", "R is the one penalty"},
    {{"-l", "--logit-bias", "--ignore-eos"}, "--temp", "T and its like: single tokens cannot be weighted"},
    {{"--grammar", "--grammar-file", "-j", "--json-schema", "-jf", "--json-schema-file"},
     "--stop",
     "STRING: answers cannot be bound to a grammar"},
    {{"--keep", "--context-shift", "--no-context-shift", "-gan", "-gaw", "--grp-attn-n"},
     "--ctx-size",
     "N: all of the text stays in the context"},
    {{"--rope-scaling", "--rope-scale", "--rope-freq-base", "--rope-freq-scale", "--yarn-orig-ctx", "--yarn-ext-factor",
      "--yarn-attn-factor", "--yarn-beta-slow", "--yarn-beta-fast", "--override-kv", "--check-tensors"},
     "",
     "the model file alone says it"},
    {{"--lora", "--lora-scaled", "--control-vector", "--control-vector-scaled", "--lora-init-without-apply"},
     "--model",
     "FILE: adapters must be merged into it"},
    {{"-md", "--model-draft", "--draft", "--draft-n", "--draft-max", "--draft-min", "--draft-p-min", "-ngld",
      "--gpu-layers-draft", "-cd", "--ctx-size-draft", "-devd", "--device-draft"},
     "--model",
     "FILE: one model computes, none drafts"},
    {{"--prompt-cache", "--prompt-cache-all", "--prompt-cache-ro", "-np", "--parallel", "-cb", "--cont-batching"},
     "",
     "a process holds one conversation, and computes no token of it twice"},
    {{"-dt", "--defrag-thold", "--swa-full", "-kvu", "--kv-unified", "--no-op-offload", "-nopo", "--no-host",
      "--warmup"},
     "",
     "there is nothing of the kind to choose"},
    {{"-pg"}, "--n-prompt", "and --n-gen: each is a test of its own"},
    {{"-fitp", "--progress", "-oe", "--output-err"}, "--output", "md, csv or json, on stdout"},
    {{"-embd", "--embeddings", "--embedding"}, "", "embeddings are not computed"},
    {{"--port", "--host", "--api-key", "--alias", "-a"}, "", "there is no server"},
};

}  // namespace

std::optional<std::string> replacement_of(std::string_view option, const std::function<bool(std::string_view)>& has) {
    for (const Replacement& replacement : kReplacements) {
        if (std::ranges::find(replacement.names, option) == replacement.names.end()) continue;
        const std::string known = "an option of llama.cpp, unknown here";
        const std::string text(replacement.text);
        if (replacement.option.empty()) return known + ": " + text;
        return has(replacement.option) ? known + "; use " + std::string(replacement.option) + " " + text : known;
    }
    return std::nullopt;
}

}  // namespace lfm::tools
