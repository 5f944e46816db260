#include "runtime/tensors/random_model_file.h"

#include <array>

#include "memory/error.h"
#include "memory/gguf_writer.h"
#include "runtime/tensors/random_weights.h"
#include "runtime/text/byte_level.h"

namespace lfm {
namespace {

constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kControl = 3;

// The 65 536-token vocabulary's special tokens, in order of id.
constexpr std::array<const char*, 14> kSpecials{"<|pad|>",
                                                "<|startoftext|>",
                                                "<|endoftext|>",
                                                "<|fim_pre|>",
                                                "<|fim_mid|>",
                                                "<|fim_suf|>",
                                                "<|im_start|>",
                                                "<|im_end|>",
                                                "<|tool_list_start|>",
                                                "<|tool_list_end|>",
                                                "<|tool_call_start|>",
                                                "<|tool_call_end|>",
                                                "<|tool_response_start|>",
                                                "<|tool_response_end|>"};

// The plain format, the same text as in the demo model (recognised exactly: see chat_template.cpp).
constexpr const char* kTemplate = R"({{- bos_token -}}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\n" + message["content"] + "<|im_end|>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\n" -}}
{%- endif -%}
)";

void add_metadata(GgufWriter& writer, const HyperParameters& hyper) {
    const std::string prefix = hyper.architecture + ".";
    writer.add("general.architecture", std::string_view(hyper.architecture));
    writer.add("general.name", std::string_view(hyper.name));
    writer.add(prefix + "block_count", hyper.n_layer);
    writer.add(prefix + "context_length", hyper.n_ctx_train);
    writer.add(prefix + "embedding_length", hyper.n_embd);
    writer.add(prefix + "feed_forward_length", hyper.n_ff.front());
    writer.add(prefix + "attention.head_count", hyper.n_head);
    const std::vector<std::int32_t> n_head_kv(hyper.n_head_kv.begin(), hyper.n_head_kv.end());
    writer.add(prefix + "attention.head_count_kv", n_head_kv);
    writer.add(prefix + "rope.freq_base", hyper.rope_freq_base);
    writer.add(prefix + "attention.layer_norm_rms_epsilon", hyper.rms_eps);
    writer.add(prefix + "vocab_size", hyper.n_vocab);
    writer.add(prefix + "shortconv.l_cache", hyper.l_cache);
    if (hyper.n_expert > 0) {
        writer.add(prefix + "expert_count", hyper.n_expert);
        writer.add(prefix + "expert_used_count", hyper.n_expert_used);
        writer.add(prefix + "expert_feed_forward_length", hyper.n_ff_exp);
        writer.add(prefix + "leading_dense_block_count", hyper.n_layer_dense);
        writer.add(prefix + "expert_gating_func", std::uint32_t{2});  // sigmoid
    }
    const MadeVocabulary vocabulary = make_vocabulary(hyper.n_vocab);
    writer.add("tokenizer.ggml.model", std::string_view("gpt2"));
    writer.add("tokenizer.ggml.pre", std::string_view("lfm2"));
    writer.add("tokenizer.ggml.tokens", vocabulary.tokens);
    writer.add("tokenizer.ggml.token_type", vocabulary.types);
    writer.add("tokenizer.ggml.merges", vocabulary.merges);
    writer.add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
    writer.add("tokenizer.ggml.eos_token_id", std::uint32_t{7});
    writer.add("tokenizer.ggml.padding_token_id", std::uint32_t{0});
    writer.add("tokenizer.ggml.add_bos_token", true);
    writer.add("tokenizer.chat_template", std::string_view(kTemplate));
}

}  // namespace

MadeVocabulary make_vocabulary(std::uint32_t n_vocab) {
    if (n_vocab < kMinVocabulary)
        throw Error(ErrorCode::kUsage, "--shape n_vocab",
                    "expected at least " + std::to_string(kMinVocabulary) + ", found " + std::to_string(n_vocab));
    MadeVocabulary made;
    for (const char* special : kSpecials) {
        made.tokens.emplace_back(special);
        made.types.push_back(kControl);
    }
    std::vector<std::string> bytes;
    // Letters and spaces first, so that small vocabularies merge ordinary text.
    for (const unsigned char c : std::string_view(" etaoinshrdlucmfwypvbgkjqxz")) bytes.push_back(spell_byte(c));
    for (int c = 0; c < 256; ++c)
        if (c != ' ' && !(c >= 'a' && c <= 'z')) bytes.push_back(spell_byte(static_cast<std::uint8_t>(c)));
    const auto add = [&](const std::string& token) {
        made.tokens.push_back(token);
        made.types.push_back(kNormal);
    };
    for (const std::string& byte : bytes) add(byte);
    const auto full = [&] { return made.tokens.size() >= n_vocab; };
    const std::size_t first_pair = made.tokens.size();
    const auto add_products = [&](std::size_t begin, std::size_t end) {
        for (std::size_t left = begin; left < end && !full(); ++left)
            for (std::size_t right = 0; right < bytes.size() && !full(); ++right) {
                made.merges.push_back(made.tokens[left] + " " + bytes[right]);
                add(made.tokens[left] + bytes[right]);
            }
    };
    add_products(kSpecials.size(), first_pair);  // pairs: up to 65 536
    for (std::size_t begin = first_pair; !full();) {
        const std::size_t end = made.tokens.size();
        add_products(begin, end);
        begin = end;
    }
    return made;
}

void write_random_model(const ModelDescription& model, OutputFile& file, std::uint64_t seed) {
    GgufWriter writer;
    add_metadata(writer, model.hyper);
    for (const TensorRef* tensor : all_tensors(model))
        writer.add_tensor(
            {tensor->name, tensor->type, tensor->n_dims, tensor->dims, tensor->offset, tensor->bytes.value});
    const std::string header = writer.header();
    file.reserve(Bytes{header.size() + data_section_size(model)});
    file.write(header);
    std::uint64_t at = 0;
    random_tensors(model, seed, [&](const TensorRef& tensor, std::span<const std::byte> data) {
        file.write(std::string(tensor.offset - at, '\0'));  // to the tensor's alignment
        file.write({reinterpret_cast<const char*>(data.data()), data.size()});
        at = tensor.offset + data.size();
    });
    file.keep();
}

void write_random_model(const ModelDescription& model, const std::filesystem::path& path, std::uint64_t seed) {
    OutputFile file(path.string());
    write_random_model(model, file, seed);
}

}  // namespace lfm
