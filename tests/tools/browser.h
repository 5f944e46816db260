// Opens pages in a headless Chromium and returns their layout, or a picture of them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "tests/tools/picture.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {

enum class Scheme { kDark = 0, kLight = 1 };  // as Chromium numbers them

struct Window {
    int width = 1280, height = 1000;
};

/// The box of an element, in pixels from the top left of the page.
struct Box {
    std::string what;  // its selector, or the text it draws
    double left = 0, top = 0, width = 0, height = 0;

    double right() const { return left + width; }
    double bottom() const { return top + height; }
};

struct Layout {
    double page_width = 0, page_height = 0;  // of all that can be scrolled to
    std::vector<Box> boxes;                  // of each wanted selector's elements, in order
    std::vector<Box> texts;                  // that bars and charts draw
};

/// Empty: none is installed.
inline std::string find_chromium() {
    for (const char* path : {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"})
        if (::access(path, X_OK) == 0) return path;
    return {};
}

class Browser {
public:
    explicit Browser(std::string program) : program_(std::move(program)) {}

    /// Nothing when Chromium made no picture.
    std::optional<Picture> screenshot(const std::string& html, Window window, Scheme scheme) const {
        const std::string picture = scratch_.file("page.png");
        std::filesystem::remove(picture);
        open(html, window, scheme, "--screenshot=" + picture);
        return read_png(picture);
    }

    /// The page at each of `widths`.
    std::vector<Layout> layouts(std::string html, const std::vector<int>& widths,
                                const std::vector<std::string>& selectors) const {
        // The page's policy forbids scripts; this copy has one.
        const std::size_t policy = html.find("<meta http-equiv");
        html.erase(policy, html.find('>', policy) + 1 - policy);
        std::string wanted;
        for (const std::string& selector : selectors) wanted += "'" + selector + "',";
        html.insert(html.rfind("</body>"), measuring_script(wanted));
        html = std::regex_replace(std::regex_replace(html, std::regex("&"), "&amp;"), std::regex("\""), "&quot;");
        // A window is never narrower than 500 pixels, a frame may be.
        std::string frames = "<!DOCTYPE html><body><pre id=\"measured\">measured\n</pre>";
        for (const int width : widths)
            frames += "<iframe frameborder=\"0\" height=\"20000\" width=\"" + std::to_string(width) + "\" srcdoc=\"" +
                      html + "\"></iframe>";
        return parse(open(frames + "</body>", {}, Scheme::kLight, "--dump-dom"), widths);
    }

private:
    std::string open(const std::string& html, Window window, Scheme scheme, const std::string& what) const {
        const std::string page = scratch_.file("page.html");
        std::ofstream(page) << html;
        return run({"/usr/bin/timeout",
                    "-k",
                    "5",
                    "120",
                    program_,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--hide-scrollbars",
                    "--force-color-profile=srgb",
                    "--user-data-dir=" + scratch_.file("profile"),
                    "--window-size=" + std::to_string(window.width) + "," + std::to_string(window.height),
                    "--blink-settings=preferredColorScheme=" + std::to_string(static_cast<int>(scheme)),
                    what,
                    "file://" + page})
            .out;
    }

    static std::string measuring_script(const std::string& selectors) {
        return R"html(<script>
const root = document.documentElement;
const lines = [['page', innerWidth, 0, root.scrollWidth, document.body.scrollHeight, '-'].join(' ')];
const add = (kind, element, what) => {
  const box = element.getBoundingClientRect();
  if (box.width > 0)
    lines.push([kind, box.left, box.top, box.width, box.height, what.replace(/\s+/g, '_')].join(' '));
};
for (const selector of [)html" +
               selectors + R"html(])
  for (const element of document.querySelectorAll(selector)) add('box', element, selector);
for (const text of document.querySelectorAll('.bar text, .chart text')) add('text', text, text.textContent);
parent.document.getElementById('measured').textContent += lines.join('\n') + '\n';
</script>)html";
    }

    static std::vector<Layout> parse(const std::string& dom, const std::vector<int>& widths) {
        std::vector<Layout> layouts(widths.size());
        const std::string begin = ">measured\n";
        const std::size_t at = dom.find(begin);
        if (at == std::string::npos) return layouts;
        std::istringstream lines(dom.substr(at + begin.size()));
        Layout* layout = nullptr;
        Box box;
        for (std::string kind; lines >> kind >> box.left >> box.top >> box.width >> box.height >> box.what;) {
            // Frames report in the order in which they are ready.
            if (kind == "page") {
                const auto width = std::ranges::find(widths, static_cast<int>(box.left));
                if (width == widths.end()) return layouts;
                layout = &layouts[static_cast<std::size_t>(width - widths.begin())];
                layout->page_width = box.width, layout->page_height = box.height;
            } else {
                (kind == "box" ? layout->boxes : layout->texts).push_back(box);
            }
        }
        return layouts;
    }

    std::string program_;
    ScratchDir scratch_;
};

}  // namespace lfm::test
