// The options that every tool with a model shares, and opening the model they describe.
#pragma once

#include <optional>
#include <string>

#include "memory/ledger.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "tools/command_line.h"

namespace lfm::tools {

/// --threads, --batch-size (also --n-batch), --exact, --kernels, --cache-type-k, --cache-type-v.
po::options_description compute_options();
extern const OneDashWords kComputeWords;

/// Fills all but n_ctx and n_outputs from the parsed options. Throws Error{kUsage}.
SessionOptions session_options(const po::variables_map& values);

/// Maps and describes a model file, all of it in RAM.
Model open_model(const std::string& path, Ledger& ledger);

/// A whole file, or standard input for "-". Throws Error{kIo}.
std::string read_text(const std::string& path);

/// Writes a whole file by a temporary one beside it, then renames. Throws Error{kIo}; never leaves a torn file.
void write_file(const std::string& path, std::string_view content);

}  // namespace lfm::tools
