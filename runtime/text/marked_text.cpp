#include "runtime/text/marked_text.h"

#include <algorithm>

namespace lfm {

MarkedText& MarkedText::add(TextSource source, std::int32_t id, std::string_view text) {
    const bool is_token = source == TextSource::kToken;
    if (text.empty() && !is_token) return *this;
    text_ += text;
    if (!is_token && !runs_.empty() && runs_.back().source == source)
        runs_.back().end = text_.size();
    else
        runs_.push_back({source, id, text_.size()});
    return *this;
}

MarkedText& MarkedText::append(const MarkedText& other) {
    std::size_t begin = 0;
    for (const Run& run : other.runs_) {
        add(run.source, run.id, std::string_view(other.text_).substr(begin, run.end - begin));
        begin = run.end;
    }
    return *this;
}

MarkedText MarkedText::substr(std::size_t begin, std::size_t size) const {
    begin = std::min(begin, text_.size());
    const std::size_t end = begin + std::min(size, text_.size() - begin);
    MarkedText part;
    std::size_t run_begin = 0;
    for (const Run& run : runs_) {
        const std::size_t first = std::max(begin, run_begin), last = std::min(end, run.end);
        const bool whole = run_begin >= begin && run.end <= end;
        run_begin = run.end;
        if (first > last) continue;
        const std::string_view piece = std::string_view(text_).substr(first, last - first);
        if (run.source == TextSource::kToken && !whole)
            part.add_text(piece);
        else
            part.add(run.source, run.id, piece);
    }
    return part;
}

}  // namespace lfm
