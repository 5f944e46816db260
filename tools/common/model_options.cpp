#include "tools/common/model_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <sys/stat.h>
#include <unistd.h>

#include "runtime/machine/threads.h"

namespace lfm::tools {
namespace {

DType cache_type(const po::variables_map& values, const char* option) {
    const auto& name = values[option].as<std::string>();
    const auto type = dtype_from_name(name);
    if (type != DType::kF16 && type != DType::kF32 && type != DType::kQ8_0)
        throw Error(ErrorCode::kUsage, std::string("--") + option, "expected f16, f32 or q8_0, found " + shown(name));
    return *type;
}

const cpu::Kernels* find_kernels(const std::string& name) {
    std::string known;
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        if (kernels->name == name) return kernels;
        known += (known.empty() ? "" : ", ") + std::string(kernels->name);
    }
    throw Error(ErrorCode::kUsage, "--kernels", "expected one of " + known + ", found " + shown(name));
}

constexpr std::size_t kMostNamesShown = 4;

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

[[noreturn]] void fail_io(const std::string& path) { throw Error(ErrorCode::kIo, path, std::strerror(errno)); }

}  // namespace

const char* const kAllowUnknownHelp =
    "load a model although it has this key or tensor, which could change its answers and is not computed with "
    "(* stands for any text); may be repeated";

const OneDashWords kComputeWords{{"-ctk", "cache-type-k"}, {"-ctv", "cache-type-v"}, {"--n-batch", "batch-size"}};

po::options_description compute_options() {
    po::options_description options("computing");
    options.add_options()("threads,t",
                          po::value<std::string>()->default_value(std::to_string(default_thread_count()), "cores"),
                          "threads");
    options.add_options()("batch-size,b", po::value<std::string>()->default_value("512"), "most tokens of one step");
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
    options.n_threads = static_cast<std::uint32_t>(*find_integer(values, "threads", kThreadRange));
    options.n_batch = static_cast<std::uint32_t>(*find_integer(values, "batch-size", kBatchRange));
    options.kv = cache_types(values);
    if (values.count("kernels") > 0) options.kernels = find_kernels(values["kernels"].as<std::string>());
    if (values.count("exact") > 0) {
        if (values.count("kernels") > 0)
            throw Error(ErrorCode::kUsage, "--kernels", "expected none beside --exact, which has its own");
        for (const char* option : {"cache-type-k", "cache-type-v"})
            if (is_given(values, option) && cache_type(values, option) != DType::kF32)
                throw Error(ErrorCode::kUsage, std::string("--") + option,
                            "expected f32 beside --exact, found " + values[option].as<std::string>());
        options.kernels = &cpu::exact_kernels();
        options.kv = {DType::kF32, DType::kF32};
    }
    return options;
}

KvTypes cache_types(const po::variables_map& values) {
    return {cache_type(values, "cache-type-k"), cache_type(values, "cache-type-v")};
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
    auto names = values["allow-unknown"].as<std::vector<std::string>>();
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
    // Some devices never end.
    struct stat status {};
    const bool device = ::fstat(::fileno(file), &status) == 0 && S_ISCHR(status.st_mode) && !::isatty(::fileno(file));
    const std::size_t most = std::size_t{device ? 1u : 256u} << 20;
    std::string text;
    char piece[1 << 16];
    // A short count is the end: to read again would ask a terminal for another Ctrl-D.
    for (std::size_t n = sizeof piece; n == sizeof piece;) {
        n = std::fread(piece, 1, sizeof piece, file);
        text.append(piece, n);
        if (text.size() > most)
            throw Error(
                ErrorCode::kInvalidInput, path,
                "expected at most " + format_bytes(Bytes{most}) + (device ? " from a device" : "") + ", found more");
    }
    if (std::ferror(file)) fail_io(path);
    return text;
}

}  // namespace lfm::tools
