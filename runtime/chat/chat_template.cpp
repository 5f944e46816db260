#include "runtime/chat/chat_template.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "memory/fnv1a.h"

namespace lfm {
namespace {

constexpr std::array<std::string_view, 4> kNames{"lfm2", "lfm2.5", "lfm2.5-moe", "plain"};

struct KnownTemplate {
    std::uint64_t fingerprint;
    ChatFormat format;
};

// Fingerprints of Liquid's published templates (LFM2-8B-A1B, LFM2.5-Instruct, LFM2.5-8B-A1B), and of our own plain one.
constexpr KnownTemplate kKnown[] = {
    {0x18b3bfdace955e85, ChatFormat::kLfm2},
    {0x2dda109dd5f575b8, ChatFormat::kLfm25},
    {0xd417f75272320dfc, ChatFormat::kLfm25Moe},
    {0x2356906b36fb5729, ChatFormat::kPlain},
};

struct Feature {
    std::string_view text;
    ChatFormat format;
};

// The rarest first: a template with tool-call macros also lists tools.
constexpr Feature kFeatures[] = {
    {"render_tool_calls", ChatFormat::kLfm25Moe}, {"preserve_thinking", ChatFormat::kLfm25Moe},
    {"<|tool_list_start|>", ChatFormat::kLfm2},   {"keep_past_thinking", ChatFormat::kLfm25},
    {"List of tools:", ChatFormat::kLfm25},
};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Of the text without white space and without the "-" of "{%-" and "-}}": converters re-indent templates.
std::uint64_t fingerprint(std::string_view text) {
    Fnv1a hash;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char before = i > 0 ? text[i - 1] : '\0';
        const char after = i + 1 < text.size() ? text[i + 1] : '\0';
        const bool trims = text[i] == '-' && (before == '%' || before == '{' || after == '%' || after == '}');
        if (trims || is_space(text[i])) continue;
        hash.add(std::uint32_t{static_cast<unsigned char>(text[i])});
    }
    return hash.value();
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

std::span<const std::string_view> chat_format_names() { return kNames; }

std::string_view chat_format_name(ChatFormat format) { return kNames[static_cast<std::size_t>(format)]; }

std::optional<ChatFormat> chat_format_from_name(std::string_view name) {
    const auto found = std::ranges::find(kNames, name);
    if (found == kNames.end()) return std::nullopt;
    return static_cast<ChatFormat>(found - kNames.begin());
}

Recognised recognise_template(std::string_view template_text) {
    // Template source spells the line break as two characters, "\n"; a real one is accepted as well.
    const bool opens_think = contains(template_text, "<|im_start|>assistant\\n<think>") ||
                             contains(template_text, "<|im_start|>assistant\n<think>");
    const ThinkStart think_start = opens_think ? ThinkStart::kInside : ThinkStart::kOutside;

    const std::uint64_t hash = fingerprint(template_text);
    for (const KnownTemplate& known : kKnown)
        if (known.fingerprint == hash) return {known.format, Confidence::kExact, think_start};
    for (const Feature& feature : kFeatures)
        if (contains(template_text, feature.text)) return {feature.format, Confidence::kSimilar, think_start};
    return {ChatFormat::kPlain, Confidence::kUnknown, think_start};
}

}  // namespace lfm
