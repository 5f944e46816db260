#include "tools/html/bars.h"

#include <cmath>

#include "tools/html/text.h"

namespace lfm::tools {
namespace {

// Pixels from the top: the limit's label, the parts' names, the bar, the ticks.
constexpr int kLimitY = 11, kNameY = 28, kBarY = 35, kBarHeight = 30, kTickY = kBarY + kBarHeight, kHeight = 88;

/// A share of the bar too small for a gap around it.
constexpr double kSliver = 0.01;

std::string place(const StackedBar& bar, double at) { return coordinate(bar.end > 0 ? at / bar.end * 100 : 0) + "%"; }

/// An upper bound for the usual fonts at 12 px.
double text_width(const std::string& text) {
    double n = 0;
    for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // characters, not bytes
    return n * 7.4 + 8;
}

/// The class that shows `text` only on pages wide enough for it to fit into `share` of their width; empty: never.
std::string room_class(const std::string& text, double share) {
    const double page = text_width(text) / share;
    return page <= 330 ? "at-any" : page <= 580 ? "at-middle" : page <= 860 ? "at-wide" : "";
}

std::string text_at(const char* kind, const char* anchor, const std::string& x, int y, const std::string& text) {
    return element("text",
                   attribute("class", kind) + attribute("text-anchor", anchor) + attribute("x", x) + attribute("y", y),
                   escaped(text));
}

std::string upright(const char* kind, const std::string& x, int top, int bottom) {
    return shape("line", attribute("class", kind) + attribute("x1", x) + attribute("x2", x) + attribute("y1", top) +
                             attribute("y2", bottom));
}

std::string name_of(const StackedBar& bar, const BarPart& part, double begin) {
    const double share = part.size / bar.end;
    std::string text = part.name + " " + part.amount;
    std::string room = room_class(text, share);
    if (room.empty() || room == "at-wide") {
        text = part.name;
        room = room_class(text, share);
    }
    return room.empty() ? "" : text_at(room.c_str(), "start", place(bar, begin), kNameY, text);
}

std::string tick(const StackedBar& bar, const Tick& at) {
    // The first and one at the very end stay within the page.
    const char* anchor = at.at == 0 ? "start" : at.at > 0.97 * bar.end ? "end" : "middle";
    const std::string x = place(bar, at.at);
    return upright("axis", x, kTickY, kTickY + 5) + text_at("quiet", anchor, x, kTickY + 19, at.label);
}

}  // namespace

std::string stacked_bar(const StackedBar& bar) {
    std::string drawing = element("title", "", escaped(bar.description));
    double begin = 0;
    for (const BarPart& part : bar.parts) {
        if (!(part.size > 0) || !std::isfinite(part.size)) continue;
        const std::string kind = part.size < kSliver * bar.end ? "sliver " : "part ";
        drawing += shape("rect", attribute("class", kind + part.fill) + attribute("x", place(bar, begin)) +
                                     attribute("y", kBarY) + attribute("width", place(bar, part.size)) +
                                     attribute("height", kBarHeight));
        drawing += name_of(bar, part, begin);
        begin += part.size;
    }
    drawing += shape("line", attribute("class", "axis") + attribute("x1", "0") + attribute("x2", "100%") +
                                 attribute("y1", kTickY) + attribute("y2", kTickY));
    for (const Tick& at : bar.ticks) drawing += tick(bar, at);
    if (bar.limit) {
        const std::string x = place(bar, bar.limit->at);
        drawing +=
            upright("limit", x, kLimitY + 5, kTickY + 5) + text_at("strong", "end", x, kLimitY, bar.limit->label);
    }
    return element("svg",
                   attribute("class", "bar") + attribute("role", "img") + attribute("width", "100%") +
                       attribute("height", kHeight),
                   drawing);
}

std::string swatch(std::string_view fill) {
    const std::string size = attribute("width", 11) + attribute("height", 11);
    return element("svg", attribute("class", "swatch") + size + attribute("aria-hidden", "true"),
                   shape("rect", attribute("class", joined({"part ", fill})) + size));
}

}  // namespace lfm::tools
