// The map of layers and experts: a row for a layer, a square for an expert. Where there are too many, several share a
// row or a square, which is then filled by the share of them on the device.
#include <algorithm>

#include "planner/cost/placement.h"
#include "tools/html/text.h"
#include "tools/plan/html_parts.h"

namespace lfm::tools {
namespace {

constexpr std::uint32_t kMostRows = 64, kMostSquares = 128, kSharedSquares = 64, kLayersInALine = 32;
// Pixels from the left: layer numbers end, homes, squares; then numbers to their right.
constexpr std::uint32_t kNumbers = 58, kHomes = 72, kHomeSize = 12, kSquares = 104, kSquaresWidth = 704;
constexpr std::uint32_t kCounts = 64, kSlots = 104, kTop = 34, kHeaderY = 27;

std::uint32_t divided_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

std::string rectangle(double x, double y, double width, double height) {
    return joined({"M", coordinate(x), " ", coordinate(y), "h", coordinate(width), "v", coordinate(height), "h",
                   coordinate(-width), "z"});
}

std::string path(std::string_view kind, std::string_view d) {
    return shape("path", attribute("class", kind) + attribute("d", d));
}

/// Squares of one kind: what is on the device is filled, the rest is an outline.
struct Squares {
    std::string device, ram;

    /// One pixel is left free to the right and below.
    void add(std::uint32_t x, std::uint32_t y, std::uint32_t width, std::uint32_t height, double share) {
        if (share < 1) ram += rectangle(x + 0.5, y + 0.5, width - 2, height - 2);
        if (share > 0) device += rectangle(x, y, (width - 1) * share, height - 1);
    }
    std::string svg(std::string_view kind) const {
        std::string paths;
        if (!ram.empty()) paths += path(joined({kind, " in-ram"}), ram);
        if (!device.empty()) paths += path(joined({kind, " on-device"}), device);
        return paths;
    }
};

std::string label(std::string_view anchor, std::uint32_t x, std::uint32_t y, std::string_view text) {
    return element(
        "text", attribute("class", "small") + attribute("text-anchor", anchor) + attribute("x", x) + attribute("y", y),
        text);
}

std::string numbers(std::uint32_t first, std::uint32_t n) {
    return n == 1 ? count(first) : joined({count(first), "–", count(first + n - 1)});
}

std::uint32_t n_home_on_device(const Plan& plan, std::uint32_t first, std::uint32_t n) {
    return static_cast<std::uint32_t>(
        std::count(plan.layers.begin() + first, plan.layers.begin() + first + n, kDevice));
}

std::string drawing(std::uint32_t width, std::uint32_t height, std::string_view description, std::string_view content) {
    const std::string box = joined({"0 0 ", coordinate(width), " ", coordinate(height)});
    return element("svg",
                   attribute("class", "map") + attribute("role", "img") + attribute("width", width) +
                       attribute("height", height) + attribute("viewBox", box),
                   joined({element("title", "", escaped(description)), content}));
}

class ExpertMap {
public:
    explicit ExpertMap(const Plan& plan)
        : plan_(plan),
          layers_per_row_(divided_up(plan.model.n_layer, kMostRows)),
          experts_per_square_(plan.model.n_expert <= kMostSquares ? 1
                                                                  : divided_up(plan.model.n_expert, kSharedSquares)),
          n_columns_(divided_up(plan.model.n_expert, experts_per_square_)),
          square_width_(std::clamp(kSquaresWidth / n_columns_, 5u, 20u)),
          row_height_(divided_up(plan.model.n_layer, layers_per_row_) <= 16 ? 18 : 13),
          has_slots_(std::ranges::any_of(plan.n_slots, [](std::uint32_t n) { return n > 0; })) {}

    std::string svg() {
        const std::uint32_t n_layer = plan_.model.n_layer;
        std::uint32_t y = kTop;
        std::string text = header();
        for (std::uint32_t layer = 0; layer < n_layer; layer += layers_per_row_, y += row_height_)
            text += row(layer, std::min(layers_per_row_, n_layer - layer), y);
        return drawing(
            right() + (has_slots_ ? kSlots : kCounts) + 4, y + 4,
            count(plan_.n_experts_on(kDevice)) + " experts on the device; the table of layers has the numbers",
            joined({homes_.svg("home"), squares_.svg("expert"), text}));
    }

    std::string explanation() const {
        std::string text = "Home: where the layer's operator, dense FFN or router and its cache are.";
        if (has_slots_) text += " Slots: places on the device for other experts, filled as they are used.";
        if (layers_per_row_ > 1) text += " Each row stands for " + count(layers_per_row_) + " layers.";
        if (layers_per_row_ > 1 || experts_per_square_ > 1)
            text += " Each square stands for " + count(layers_per_row_ * experts_per_square_) +
                    " experts and is filled by the share of them on the device.";
        return text;
    }

private:
    std::uint32_t right() const { return kSquares + n_columns_ * square_width_; }

    std::string header() const {
        std::string text =
            label("end", kNumbers, kHeaderY, "layer") + label("middle", kHomes + kHomeSize / 2, kHeaderY, "home") +
            label("start", kSquares, 11, "expert") + label("end", right() + kCounts, kHeaderY, "on device");
        if (has_slots_) text += label("end", right() + kSlots, kHeaderY, "slots");
        const std::uint32_t step = std::max(1u, divided_up(n_columns_, 8));
        for (std::uint32_t column = 0; column < n_columns_; column += step)
            text += label("start", kSquares + column * square_width_, kHeaderY, count(column * experts_per_square_));
        return text;
    }

    /// The row of `n` layers; adds its squares.
    std::string row(std::uint32_t first, std::uint32_t n, std::uint32_t y) {
        const std::uint32_t text_y = y + row_height_ / 2 + 3, end = first + n;
        const std::string name = label("end", kNumbers, text_y, numbers(first, n));
        homes_.add(kHomes, y, kHomeSize, row_height_, static_cast<double>(n_home_on_device(plan_, first, n)) / n);
        const std::uint32_t first_moe = std::max(first, plan_.model.n_layer_dense);
        if (first_moe >= end) return name + dense_row(y, text_y);
        std::uint32_t n_device = 0, n_slots = 0;
        for (std::uint32_t column = 0; column < n_columns_; ++column) {
            const Group group = group_of(first_moe, end, column);
            squares_.add(kSquares + column * square_width_, y, square_width_, row_height_,
                         static_cast<double>(group.on_device) / group.all);
            n_device += group.on_device;
        }
        for (std::uint32_t layer = first_moe; layer < end; ++layer) n_slots += plan_.n_slots[layer];
        std::string counts = label("end", right() + kCounts, text_y, count(n_device));
        if (n_slots > 0) counts += label("end", right() + kSlots, text_y, count(n_slots));
        return name + counts;
    }

    std::string dense_row(std::uint32_t y, std::uint32_t text_y) const {
        const std::uint32_t begin = kSquares + 66;
        if (begin >= right()) return label("start", kSquares, text_y, "dense FFN");
        return label("start", kSquares, text_y, "dense FFN") +
               path("dense", joined({"M", coordinate(begin), " ", coordinate(y + (row_height_ - 1) / 2.0), "H",
                                     coordinate(right() - 1)}));
    }

    struct Group {
        std::uint32_t on_device = 0, all = 0;
    };
    /// The experts of one square.
    Group group_of(std::uint32_t first_layer, std::uint32_t end_layer, std::uint32_t column) const {
        Group group;
        const std::uint32_t n_expert = plan_.model.n_expert, first = column * experts_per_square_;
        const std::uint32_t end = std::min(first + experts_per_square_, n_expert);
        for (std::uint32_t layer = first_layer; layer < end_layer; ++layer) {
            const auto experts = plan_.experts.begin() + static_cast<std::ptrdiff_t>(std::size_t{layer} * n_expert);
            group.on_device += static_cast<std::uint32_t>(std::count(experts + first, experts + end, kDevice));
            group.all += end - first;
        }
        return group;
    }

    const Plan& plan_;
    const std::uint32_t layers_per_row_, experts_per_square_, n_columns_, square_width_, row_height_;
    const bool has_slots_;
    Squares homes_, squares_;
};

/// Without experts: layers in lines, one after the other.
std::string layer_map(const Plan& plan) {
    constexpr std::uint32_t kSize = 20, kLeft = 44;
    const std::uint32_t n_layer = plan.model.n_layer;
    const bool many = n_layer > kLayersInALine;
    const std::uint32_t width = many ? kLayersInALine : n_layer;
    Squares squares;
    std::string text = label("end", kLeft - 8, kHeaderY, "layer");
    for (std::uint32_t i = 0; i < width; i += many ? 4 : 1)
        text += label("middle", kLeft + i * kSize + kSize / 2, kHeaderY, many ? joined({"+", count(i)}) : count(i));
    for (std::uint32_t layer = 0; layer < n_layer; ++layer) {
        const std::uint32_t column = layer % kLayersInALine, y = kTop + layer / kLayersInALine * kSize;
        if (many && column == 0) text += label("end", kLeft - 8, y + 13, count(layer));
        squares.add(kLeft + column * kSize, y, kSize, kSize, plan.layers[layer] == kHost ? 0 : 1);
    }
    return drawing(kLeft + width * kSize, kTop + divided_up(n_layer, kLayersInALine) * kSize + 4,
                   count(n_home_on_device(plan, 0, n_layer)) + " of " + count(n_layer) + " layers on the device",
                   joined({squares.svg("layer"), text}));
}

std::string key(std::string_view kind, std::string_view square, std::string_view text) {
    const std::string size = attribute("width", 12) + attribute("height", 12);
    return element(
        "li", "",
        element("svg", attribute("class", "swatch") + size + attribute("aria-hidden", "true"), path(kind, square)) +
            std::string(text));
}

std::string content(const Plan& plan) {
    const std::uint32_t n_layer = plan.model.n_layer, n_home = n_home_on_device(plan, 0, n_layer);
    const bool has_experts = plan.model.n_expert > 0 && plan.model.n_layer_dense < n_layer;
    const std::uint32_t n_expert = has_experts ? (n_layer - plan.model.n_layer_dense) * plan.model.n_expert : 0;
    const std::uint32_t n_device = has_experts ? plan.n_experts_on(kDevice) : 0;
    const auto of_all = [&](std::uint32_t layers, std::uint32_t experts) {
        std::string text = joined({count(layers), " of ", count(n_layer), " layers"});
        if (has_experts) text += joined({", ", count(experts), " of ", count(n_expert), " experts"});
        return text;
    };
    if (n_home == 0 && n_device == 0)
        return element("p", "", "Everything lives in RAM: " + of_all(n_layer, n_expert) + ".");
    const std::string keys =
        key("on-device", rectangle(0, 0, 12, 12), "filled: on the device, " + of_all(n_home, n_device)) +
        key("in-ram", rectangle(0.5, 0.5, 11, 11), "outline: in RAM, " + of_all(n_layer - n_home, n_expert - n_device));
    const std::string legend = element("ul", attribute("class", "keys"), keys);
    if (!has_experts) return legend + scrolled("Map of layers", layer_map(plan));
    ExpertMap map(plan);
    return legend + scrolled("Map of layers and experts", map.svg()) +
           element("p", attribute("class", "note"), map.explanation());
}

}  // namespace

bool has_placement(const Plan& plan) {
    const std::size_t n_layer = plan.model.n_layer;
    return n_layer > 0 && plan.layers.size() == n_layer && plan.n_slots.size() == n_layer &&
           plan.experts.size() == n_layer * plan.model.n_expert;
}

std::string html_placement(const Plan& plan) {
    return !has_placement(plan) ? "" : section("placement", "What lives where", content(plan));
}

}  // namespace lfm::tools
