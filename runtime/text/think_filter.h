// Splits generated text into what the user sees and the reasoning between <think> and </think>.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm {

/// kInside: the prompt itself ended in <think> (LFM2.5-2.6B).
enum class ThinkStart { kOutside, kInside };

enum class SegmentKind { kVisible, kReasoning };

struct Segment {
    SegmentKind kind;
    std::string text;  // never empty
    bool operator==(const Segment&) const = default;
};

/// The tags themselves are dropped, and so are line breaks right after </think>. Tags may be split over pieces:
/// text that may begin a tag waits for the next push. However the text is split, the joined parts are the same.
class ThinkFilter {
public:
    explicit ThinkFilter(ThinkStart start);

    std::vector<Segment> push(std::string_view text);

    /// The text that still waits.
    std::vector<Segment> finish();

private:
    void emit(std::string_view text, std::vector<Segment>& segments);

    SegmentKind kind_;
    std::string held_;             // may begin the next tag
    bool trims_newlines_ = false;  // right after </think>
};

}  // namespace lfm
