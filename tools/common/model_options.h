// The options that every tool with a model shares, and opening the model they describe.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/ledger.h"
#include "memory/output_file.h"
#include "runtime/session/session.h"
#include "runtime/tensors/model.h"
#include "tools/common/command_line.h"
#include "tools/common/console.h"
#include "tools/common/option_values.h"

namespace lfm::tools {

/// --threads, --batch-size (also --n-batch), --exact, --kernels, --cache-type-k, --cache-type-v, --allow-unknown.
po::options_description compute_options();
extern const OneDashWords kComputeWords;

/// Fills n_threads, n_batch, kv and kernels from the parsed options; the rest keeps its defaults. Throws Error{kUsage}.
SessionOptions session_options(const po::variables_map& values);

/// --cache-type-k and --cache-type-v. Throws Error{kUsage}.
KvTypes cache_types(const po::variables_map& values);

/// Throws Error{kInvalidModel} also for a file that cannot be read: either way the model cannot be used.
GgufFile open_model_file(const std::string& path);

/// Names and patterns of --allow-unknown. Throws Error{kUsage} for an empty one.
std::vector<std::string> allowed_unknown(const po::variables_map& values);
extern const char* const kAllowUnknownHelp;

/// describe_model; warns on the console of keys and tensors that are `allowed` and not computed with.
ModelDescription describe_file(const GgufFile& file, std::span<const std::string> allowed, const Console& console);

/// A whole file, or standard input for "-". Throws Error{kIo}, Error{kInvalidInput} for more than 256 MiB, or 1 MiB
/// from a character device.
std::string read_text(const std::string& path);

}  // namespace lfm::tools
