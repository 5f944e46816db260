#include "tools/common/profile_files.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "memory/error.h"
#include "tools/common/nearest_name.h"

namespace lfm::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{4} << 20;
constexpr const char* kKinds[] = {"gpu", "host", "machine"};

std::vector<fs::path> data_directories() {
    std::vector<fs::path> directories;
    if (const char* chosen = std::getenv("LFM_PROFILES"); chosen != nullptr && *chosen != '\0')
        directories.emplace_back(chosen);
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    if (!error) directories.push_back(program.parent_path().parent_path() / "share/lfm/profiles");
    return directories;
}

bool is_path(const std::string& text) { return text.find('/') != std::string::npos || text.ends_with(".json"); }

std::string read_profile(const std::string& path) {
    std::error_code error;
    const auto status = fs::status(path, error);
    if (!fs::exists(status)) throw Error(ErrorCode::kIo, path, error ? error.message() : "No such file");
    if (!fs::is_regular_file(status))  // a pipe might never end
        throw Error(ErrorCode::kInvalidInput, path, "expected a file, found something else");
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) throw Error(ErrorCode::kIo, path, std::strerror(errno));
    std::string text(kMaxBytes + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get())) throw Error(ErrorCode::kIo, path, std::strerror(errno));
    if (text.size() > kMaxBytes) throw Error(ErrorCode::kInvalidInput, path, "expected at most 4 MiB, found more");
    return text;
}

std::optional<std::string> find_by_name(const std::string& name) {
    for (const fs::path& directory : data_directories()) {
        for (const char* kind : kKinds) {
            const fs::path path = directory / kind / (name + ".json");
            std::error_code ignored;
            if (fs::exists(path, ignored)) return path.string();
        }
    }
    return std::nullopt;
}

[[noreturn]] void fail_unknown(const std::string& name) {
    const std::string shown = name.size() > 64 ? name.substr(0, 64) + "..." : name;
    std::vector<std::string> names = profile_names();
    if (names.empty()) throw Error(ErrorCode::kUsage, "--profile", "expected a file, found " + shown);
    // "4090" means the card with these letters, however long its name.
    const auto distance = [&](const std::string& known) {
        return std::pair(known.find(shown) == std::string::npos, edit_distance(shown, known));
    };
    std::ranges::stable_sort(names, {}, distance);
    std::string list;
    for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
    throw Error(ErrorCode::kUsage, "--profile", "expected a file or one of " + list + ", found " + shown);
}

MachinePart load_one(const std::string& text) {
    if (is_path(text)) return parse_machine_part(read_profile(text), text);
    const auto path = text.empty() ? std::nullopt : find_by_name(text);
    if (!path) fail_unknown(text);
    return parse_machine_part(read_profile(*path), *path);
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find('+', at), text.size());
        words.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

}  // namespace

MachinePart load_machine_part(const std::string& name_or_path) {
    std::error_code ignored;
    if (is_path(name_or_path) && fs::exists(name_or_path, ignored))
        return load_one(name_or_path);  // '+' in a file name
    const std::vector<std::string> words = split(name_or_path);
    MachinePart whole = load_one(words.front());
    for (std::size_t i = 1; i < words.size(); ++i) {
        MachinePart part = load_one(words[i]);
        whole.name += "+" + part.name;
        whole.measured_at = std::min(whole.measured_at, part.measured_at);  // empty when one was not measured
        if (part.host) whole.host = std::move(part.host);
        std::ranges::move(part.devices, std::back_inserter(whole.devices));
    }
    return whole;
}

MachineProfile load_machine(std::span<const std::string> names) {
    if (names.empty()) throw Error(ErrorCode::kUsage, "--profile", "expected a name or a file, found none");
    std::vector<MachinePart> parts;
    for (const std::string& name : names) parts.push_back(load_machine_part(name));
    if (std::ranges::any_of(parts, [](const MachinePart& part) { return part.host.has_value(); }))
        return merge_parts(parts, nullptr);
    const MachinePart host = load_machine_part(kDefaultHost);
    return merge_parts(parts, &host);
}

std::vector<std::string> profile_files(std::span<const std::string> names) {
    std::vector<std::string> files;
    for (const std::string& name : names) {
        files.push_back(name);
        for (const std::string& word : split(name))
            if (is_path(word))
                files.push_back(word);
            else if (const auto path = word.empty() ? std::nullopt : find_by_name(word))
                files.push_back(*path);
    }
    return files;
}

std::vector<std::string> profile_names() {
    std::set<std::string> names;
    for (const fs::path& directory : data_directories()) {
        for (const char* kind : kKinds) {
            std::error_code error;
            for (fs::directory_iterator entry(directory / kind, error), end; !error && entry != end;
                 entry.increment(error))
                if (entry->path().extension() == ".json") names.insert(entry->path().stem().string());
        }
    }
    return {names.begin(), names.end()};
}

}  // namespace lfm::tools
