// A model file with random weights: real shape, real tokenizer rules, nothing learnt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "memory/output_file.h"
#include "planner/model/model.h"

namespace lfm {

/// A byte-level BPE vocabulary of any size from kMinVocabulary on: the family's special tokens at their usual ids, all
/// bytes, then pairs and triples of bytes with their merges.
struct MadeVocabulary {
    std::vector<std::string> tokens;
    std::vector<std::int32_t> types;
    std::vector<std::string> merges;
};
inline constexpr std::uint32_t kMinVocabulary = 14 + 256;
MadeVocabulary make_vocabulary(std::uint32_t n_vocab);

/// Writes and keeps the whole file. Throws Error{kIo} (a full disk is noticed before anything is written),
/// Error{kUsage} for a vocabulary that is too small.
void write_random_model(const ModelDescription& model, OutputFile& file, std::uint64_t seed);
void write_random_model(const ModelDescription& model, const std::filesystem::path& path, std::uint64_t seed);

}  // namespace lfm
