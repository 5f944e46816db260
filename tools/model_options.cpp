#include "tools/model_options.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/threads.h"

namespace lfm::tools {
namespace {

DType cache_type(const po::variables_map& values, const char* option) {
    const auto& name = values[option].as<std::string>();
    const auto type = dtype_from_name(name);
    if (!type) throw Error(ErrorCode::kUsage, std::string("--") + option, "expected f16, f32 or q8_0, found " + name);
    return *type;
}

const cpu::Kernels* find_kernels(const std::string& name) {
    std::string known;
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        if (kernels->name == name) return kernels;
        known += (known.empty() ? "" : ", ") + std::string(kernels->name);
    }
    throw Error(ErrorCode::kUsage, "--kernels", "expected one of " + known + ", found " + name);
}

constexpr std::size_t kMostNamesShown = 4;

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

[[noreturn]] void fail_io(const std::string& path) { throw Error(ErrorCode::kIo, path, std::strerror(errno)); }

/// A new file beside `path` with a name of its own, so that several processes may write the same path; gone with this
/// unless renamed.
class Temporary {
public:
    explicit Temporary(const std::string& path) {
        constexpr int kMostTries = 1000;
        std::random_device random;
        for (int i = 0; i < kMostTries && descriptor_ < 0; ++i) {
            char suffix[32];
            std::snprintf(suffix, sizeof suffix, ".%08x.tmp", random());
            name_ = path + suffix;
            // The mode of mkstemp would keep others from reading the result.
            descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
            if (descriptor_ < 0 && errno != EEXIST) break;
        }
        if (descriptor_ < 0) fail_io(path);
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    ~Temporary() {
        if (!name_.empty()) ::unlink(name_.c_str());
    }

    int descriptor() const { return descriptor_; }

    void rename_to(const std::string& path) {
        if (std::rename(name_.c_str(), path.c_str()) != 0) fail_io(path);
        name_.clear();
    }

private:
    std::string name_;
    int descriptor_ = -1;
};

/// Closes the descriptor in any case. Throws Error{kIo} naming `path`.
void write_and_close(int descriptor, std::string_view content, const std::string& path) {
    bool written = true;
    while (written && !content.empty()) {
        const ssize_t n = ::write(descriptor, content.data(), content.size());
        if (n >= 0)
            content.remove_prefix(static_cast<std::size_t>(n));
        else
            written = errno == EINTR;
    }
    // Pipes and devices have nothing to sync.
    written = written && (::fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP);
    const int reason = errno;
    const bool closed = ::close(descriptor) == 0;
    if (!written) errno = reason;
    if (!written || !closed) fail_io(path);
}

}  // namespace

const char* const kAllowUnknownHelp =
    "load a model although it has this key or tensor, which could change its answers and is not computed with "
    "(* stands for any text); may be repeated";

const OneDashWords kComputeWords{{"-ctk", "cache-type-k"}, {"-ctv", "cache-type-v"}, {"--n-batch", "batch-size"}};

po::options_description compute_options() {
    po::options_description options("computing");
    options.add_options()("threads,t", po::value<std::uint32_t>()->default_value(default_thread_count(), "cores"),
                          "threads");
    options.add_options()("batch-size,b", po::value<std::uint32_t>()->default_value(512), "most tokens of one step");
    options.add_options()(
        "exact", "reference arithmetic: f32 activations, f32 KV cache; on the CPU unless --backend names another");
    options.add_options()("kernels", po::value<std::string>(),
                          "portable, avx2, avx512, neon: instead of the fastest here");
    options.add_options()("allow-unknown", po::value<std::vector<std::string>>(), kAllowUnknownHelp);
    options.add_options()("cache-type-k", po::value<std::string>()->default_value("f16"), "-ctk: f16, f32, q8_0");
    options.add_options()("cache-type-v", po::value<std::string>()->default_value("f16"), "-ctv: f16, f32, q8_0");
    return options;
}

SessionOptions session_options(const po::variables_map& values) {
    SessionOptions options;
    options.n_threads = values["threads"].as<std::uint32_t>();
    options.n_batch = values["batch-size"].as<std::uint32_t>();
    options.kv = cache_types(values);
    if (values.count("kernels") > 0) options.kernels = find_kernels(values["kernels"].as<std::string>());
    if (values.count("exact") > 0) {
        options.kernels = &cpu::exact_kernels();
        options.kv = {DType::kF32, DType::kF32};
    }
    return options;
}

KvTypes cache_types(const po::variables_map& values) {
    return {cache_type(values, "cache-type-k"), cache_type(values, "cache-type-v")};
}

std::optional<Bytes> find_budget(const po::variables_map& values, const char* option, Bytes whole) {
    if (values.count(option) == 0) return std::nullopt;
    return parse_budget(values[option].as<std::string>(), std::string("--") + option, whole);
}

Bytes parse_budget(const std::string& text, const std::string& option, Bytes whole) {
    if (text.ends_with('%')) {
        double percent = 0;
        const auto [end, status] = std::from_chars(text.data(), text.data() + text.size() - 1, percent);
        if (status == std::errc{} && end == text.data() + text.size() - 1 && percent >= 0 && percent <= 100)
            return Bytes{static_cast<std::uint64_t>(static_cast<double>(whole.value) * percent / 100)};
    } else if (const auto bytes = parse_bytes(text)) {
        return *bytes;
    }
    throw Error(ErrorCode::kUsage, option, "expected a size (8GiB) or share (80%), found " + text);
}

GgufFile open_model_file(const std::string& path) {
    try {
        return GgufFile::open(path);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kIo) throw;
        throw Error(ErrorCode::kInvalidModel, error.where(), error.message());
    }
}

std::vector<std::string> allowed_unknown(const po::variables_map& values) {
    if (values.count("allow-unknown") == 0) return {};
    const auto names = values["allow-unknown"].as<std::vector<std::string>>();
    if (std::ranges::find(names, "") != names.end())
        throw Error(ErrorCode::kUsage, "--allow-unknown", "expected the name of a key or tensor, found none");
    return names;
}

ModelDescription describe_file(const GgufFile& file, std::span<const std::string> allowed, const Console& console) {
    ModelDescription model = describe_model(file, allowed);
    if (model.ignored.empty()) return model;
    std::string names;
    for (const std::string& name : std::span(model.ignored).first(std::min(model.ignored.size(), kMostNamesShown)))
        names += (names.empty() ? "" : ", ") + name;
    if (model.ignored.size() > kMostNamesShown)
        names += " and " + std::to_string(model.ignored.size() - kMostNamesShown) + " more";
    console.note("warning: " + file.name() + ": answers may be wrong, as the model is computed without " + names +
                 " (--allow-unknown)");
    return model;
}

std::string read_text(const std::string& path) {
    const File opened(path == "-" ? nullptr : std::fopen(path.c_str(), "rb"));
    if (path != "-" && !opened) fail_io(path);
    std::FILE* file = path == "-" ? stdin : opened.get();
    std::string text;
    char piece[1 << 16];
    // A short count is the end: to read again would ask a terminal for another Ctrl-D.
    for (std::size_t n = sizeof piece; n == sizeof piece;) {
        n = std::fread(piece, 1, sizeof piece, file);
        text.append(piece, n);
    }
    if (std::ferror(file)) fail_io(path);
    return text;
}

void write_file(const std::string& path, std::string_view content) {
    struct stat status {};
    // A pipe or a device is written to, not replaced by a file.
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
        if (descriptor < 0) fail_io(path);
        write_and_close(descriptor, content, path);
        return;
    }
    std::error_code none;
    const std::string file = std::filesystem::canonical(path, none).string();  // behind links, which stay
    Temporary temporary(none ? path : file);
    write_and_close(temporary.descriptor(), content, path);
    temporary.rename_to(none ? path : file);
}

}  // namespace lfm::tools
