#include "runtime/text/think_filter.h"

#include <algorithm>
#include <cstddef>

#include "runtime/text/partial_match.h"

namespace lfm {

ThinkFilter::ThinkFilter(ThinkStart start)
    : kind_(start == ThinkStart::kInside ? SegmentKind::kReasoning : SegmentKind::kVisible) {}

std::vector<Segment> ThinkFilter::push(std::string_view text) {
    std::vector<Segment> segments;
    held_ += text;
    std::string_view rest = held_;
    for (;;) {
        const std::string_view tag = kind_ == SegmentKind::kVisible ? "<think>" : "</think>";
        const std::size_t begin = rest.find(tag);
        if (begin == std::string_view::npos) {
            const std::size_t n_held = partial_match(rest, tag);
            emit(rest.substr(0, rest.size() - n_held), segments);
            rest.remove_prefix(rest.size() - n_held);
            break;
        }
        emit(rest.substr(0, begin), segments);
        rest.remove_prefix(begin + tag.size());
        trims_newlines_ = kind_ == SegmentKind::kReasoning;
        kind_ = kind_ == SegmentKind::kVisible ? SegmentKind::kReasoning : SegmentKind::kVisible;
    }
    held_.erase(0, held_.size() - rest.size());
    return segments;
}

std::vector<Segment> ThinkFilter::finish() {
    std::vector<Segment> segments;
    emit(held_, segments);
    held_.clear();
    return segments;
}

void ThinkFilter::emit(std::string_view text, std::vector<Segment>& segments) {
    if (trims_newlines_) {
        text.remove_prefix(std::min(text.size(), text.find_first_not_of("\r\n")));
        if (!text.empty()) trims_newlines_ = false;
    }
    if (text.empty()) return;
    if (!segments.empty() && segments.back().kind == kind_)
        segments.back().text += text;
    else
        segments.push_back({kind_, std::string(text)});
}

}  // namespace lfm
