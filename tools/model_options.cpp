#include "tools/model_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <fcntl.h>
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
    std::string known = "exact";
    if (name == known) return &cpu::exact_kernels();
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        if (kernels->name == name) return kernels;
        known += ", " + std::string(kernels->name);
    }
    throw Error(ErrorCode::kUsage, "--kernels", "expected one of " + known + ", found " + name);
}

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

[[noreturn]] void fail_io(const std::string& path) { throw Error(ErrorCode::kIo, path, std::strerror(errno)); }

}  // namespace

const OneDashWords kComputeWords{{"-ctk", "cache-type-k"}, {"-ctv", "cache-type-v"}, {"--n-batch", "batch-size"}};

po::options_description compute_options() {
    po::options_description options("computing");
    options.add_options()("threads,t", po::value<std::uint32_t>()->default_value(default_thread_count(), "cores"),
                          "threads");
    options.add_options()("batch-size,b", po::value<std::uint32_t>()->default_value(512), "most tokens of one step");
    options.add_options()("exact", "reference arithmetic: f32 activations, f32 KV cache");
    options.add_options()("kernels", po::value<std::string>(), "portable, avx2, avx512: instead of the fastest here");
    options.add_options()("cache-type-k", po::value<std::string>()->default_value("f16"), "-ctk: f16, f32, q8_0");
    options.add_options()("cache-type-v", po::value<std::string>()->default_value("f16"), "-ctv: f16, f32, q8_0");
    return options;
}

SessionOptions session_options(const po::variables_map& values) {
    SessionOptions options;
    options.n_threads = values["threads"].as<std::uint32_t>();
    options.n_batch = values["batch-size"].as<std::uint32_t>();
    options.kv = {cache_type(values, "cache-type-k"), cache_type(values, "cache-type-v")};
    if (values.count("kernels") > 0) options.kernels = find_kernels(values["kernels"].as<std::string>());
    if (values.count("exact") > 0) {
        options.kernels = &cpu::exact_kernels();
        options.kv = {DType::kF32, DType::kF32};
    }
    return options;
}

Model open_model(const std::string& path, Ledger& ledger) {
    GgufFile file = GgufFile::open(path);
    const ModelDescription description = describe_model(file);
    const Plan plan = make_host_plan(description, {});
    return Model::load(std::move(file), description, plan, ledger);
}

std::string read_text(const std::string& path) {
    const File opened(path == "-" ? nullptr : std::fopen(path.c_str(), "rb"));
    if (path != "-" && !opened) fail_io(path);
    std::FILE* file = path == "-" ? stdin : opened.get();
    std::string text;
    char piece[1 << 16];
    for (std::size_t n; (n = std::fread(piece, 1, sizeof piece, file)) > 0;) text.append(piece, n);
    if (std::ferror(file)) fail_io(path);
    return text;
}

void write_file(const std::string& path, std::string_view content) {
    const std::string temporary = path + ".tmp";
    File file(std::fopen(temporary.c_str(), "wb"));
    if (!file) fail_io(temporary);
    const bool written = std::fwrite(content.data(), 1, content.size(), file.get()) == content.size() &&
                         std::fflush(file.get()) == 0 && ::fsync(::fileno(file.get())) == 0;
    const bool closed = std::fclose(file.release()) == 0;
    if (!written || !closed || std::rename(temporary.c_str(), path.c_str()) != 0) {
        const int reason = errno;
        std::remove(temporary.c_str());
        errno = reason;
        fail_io(path);
    }
}

}  // namespace lfm::tools
