#include "runtime/step/trace.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include <nlohmann/json.hpp>

namespace lfm {
namespace {

using Json = nlohmann::json;

constexpr double kMostSeconds = 1e12;  // longer than any clock counts; differences stay finite

std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

/// Nanoseconds are fine enough, and 2^53 of them last for months.
void add_microseconds(std::string& text, double seconds) {
    char digits[400];
    const auto [end, status] =
        std::to_chars(std::begin(digits), std::end(digits), seconds * 1e6, std::chars_format::fixed, 3);
    text.append(digits, end);
}

void add_number(std::string& text, double number) {
    char digits[32];
    const auto [end, status] = std::to_chars(std::begin(digits), std::end(digits), number);
    text.append(digits, end);
}

std::string metadata(const char* kind, std::size_t thread, const std::string& value) {
    return std::string("{\"ph\": \"M\", \"pid\": 1, \"tid\": ") + std::to_string(thread) + ", \"name\": \"" + kind +
           "\", \"args\": {" + value + "}}";
}

}  // namespace

Trace::Trace(std::string_view process, std::size_t most_events) : process_(process), most_events_(most_events) {
    events_.reserve(most_events);
}

TraceLane Trace::add_lane(std::string_view name) {
    lanes_.emplace_back(name);
    return {static_cast<std::uint32_t>(lanes_.size() - 1)};
}

TraceName Trace::name(std::string_view text) {
    const auto known = std::ranges::find(names_, text);
    if (known != names_.end()) return {static_cast<std::uint32_t>(known - names_.begin())};
    names_.emplace_back(text);
    return {static_cast<std::uint32_t>(names_.size() - 1)};
}

bool Trace::sound(const TraceEvent& event) const {
    const auto is_made = [&](TraceName name) { return name.number < names_.size(); };
    const auto is_time = [](double seconds) { return std::abs(seconds) <= kMostSeconds; };  // false for NaN
    return event.lane.number < lanes_.size() && is_made(event.name) && is_time(event.start) && is_time(event.end) &&
           std::ranges::all_of(event.numbers, [&](const TraceNumber& number) {
               return number.name.number == TraceName{}.number || is_made(number.name);
           });
}

void Trace::record(const TraceEvent& event) {
    const std::scoped_lock lock(mutex_);
    if (events_.size() < most_events_ && sound(event))
        events_.push_back(event);
    else
        ++n_dropped_;
}

std::size_t Trace::n_events() const {
    const std::scoped_lock lock(mutex_);
    return events_.size();
}

std::size_t Trace::n_dropped() const {
    const std::scoped_lock lock(mutex_);
    return n_dropped_;
}

void Trace::clear() {
    const std::scoped_lock lock(mutex_);
    events_.clear();
    n_dropped_ = 0;
}

std::string Trace::json() const {
    const std::scoped_lock lock(mutex_);
    double first = 0;
    if (!events_.empty()) first = std::ranges::min_element(events_, {}, &TraceEvent::start)->start;
    std::vector<std::string> names;
    names.reserve(names_.size());
    for (const std::string& name : names_) names.push_back(quoted(name));
    std::string text =
        "{\"displayTimeUnit\": \"ms\", \"otherData\": {\"dropped_events\": " + std::to_string(n_dropped_) +
        "}, \"traceEvents\": [\n";
    text += metadata("process_name", 0, "\"name\": " + quoted(process_));
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
        text += ",\n" + metadata("thread_name", lane + 1, "\"name\": " + quoted(lanes_[lane]));
        text += ",\n" + metadata("thread_sort_index", lane + 1, "\"sort_index\": " + std::to_string(lane));
    }
    for (const TraceEvent& event : events_) {
        text += ",\n{\"ph\": \"X\", \"pid\": 1, \"tid\": " + std::to_string(event.lane.number + 1) +
                ", \"name\": " + names[event.name.number] + ", \"ts\": ";
        add_microseconds(text, event.start - first);
        text += ", \"dur\": ";
        add_microseconds(text, std::max(0.0, event.end - event.start));
        std::string numbers;
        for (const TraceNumber& number : event.numbers) {
            if (number.name.number == TraceName{}.number || !std::isfinite(number.value)) continue;
            numbers += (numbers.empty() ? "" : ", ") + names[number.name.number] + ": ";
            add_number(numbers, number.value);
        }
        text += numbers.empty() ? "}" : ", \"args\": {" + numbers + "}}";
    }
    return text + "\n]}\n";
}

}  // namespace lfm
