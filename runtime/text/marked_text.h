// A text that remembers where its pieces come from. Only what a template wrote itself may become control tokens: text
// from users, tools and files is text, whatever it looks like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lfm {

enum class TextSource : std::uint8_t {
    kMarkup,  // the template's own: texts of control tokens are tokens
    kText,    // from outside
    kToken,   // one token that the model made: its id is kept, however its text would be read
};

class MarkedText {
public:
    /// Neighbours of one source are one run, but every token is a run of its own.
    struct Run {
        TextSource source;
        std::int32_t id;  // of kToken
        std::size_t end;  // in the text; a run begins where the one before it ends
    };

    MarkedText() = default;
    static MarkedText markup(std::string_view text) { return std::move(MarkedText().add_markup(text)); }
    static MarkedText text(std::string_view text) { return std::move(MarkedText().add_text(text)); }

    MarkedText& add_markup(std::string_view text) { return add(TextSource::kMarkup, 0, text); }
    MarkedText& add_text(std::string_view text) { return add(TextSource::kText, 0, text); }
    MarkedText& add_token(std::int32_t id, std::string_view piece) { return add(TextSource::kToken, id, piece); }
    MarkedText& append(const MarkedText& other);

    const std::string& str() const { return text_; }
    bool empty() const { return text_.empty(); }
    std::span<const Run> runs() const { return runs_; }

    /// `size` bytes from `begin` on, or what there is of them, with their sources. A token that is cut becomes text.
    MarkedText substr(std::size_t begin, std::size_t size = std::string::npos) const;

private:
    MarkedText& add(TextSource source, std::int32_t id, std::string_view text);

    std::string text_;
    std::vector<Run> runs_;
};

}  // namespace lfm
