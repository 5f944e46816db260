// Text and numbers as HTML and SVG take them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "planner/plan/plan.h"

namespace lfm::tools {

std::string joined(std::initializer_list<std::string_view> pieces);

/// For content and for attributes in double quotes. Invalid UTF-8, what HTML forbids, and what changes the direction of
/// text become U+FFFD.
std::string escaped(std::string_view text);

/// ` name="value"`, with a space before it; `value` is HTML already.
std::string attribute(std::string_view name, std::string_view value);
std::string attribute(std::string_view name, double value);

/// <name attributes>content</name>; `attributes` come from attribute(), `content` is HTML already.
std::string element(std::string_view name, std::string_view attributes, std::string_view content);
/// <name attributes/>, as SVG's shapes have no content.
std::string shape(std::string_view name, std::string_view attributes);

/// A part of the page with its heading, which gets the `id`; nothing when there is no content.
std::string section(std::string_view id, std::string_view heading, std::string_view content);

/// Around what may be wider than a screen: scrolls on its own, also by keyboard.
std::string scrolled(std::string_view label, std::string_view content);

/// At most two decimals, none that are zero. What is not finite becomes 0.
std::string coordinate(double value);

/// Three figures: "79.6", "2839", "0.62". "–" for what is not finite.
std::string figures(double value);

/// "62.8–98.5"
std::string range(const Prediction& prediction);

/// "61 %"; near the ends "under 0.1 %", "3.4 %", "99.6 %".
std::string percent(double share);

/// "12.6 ms", "840 µs"
std::string duration(double seconds);

/// "8192", "131 072", with a thin space that does not break.
std::string count(std::uint64_t value);

}  // namespace lfm::tools
