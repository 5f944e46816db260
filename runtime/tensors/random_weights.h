// Random weights of real shape: for benchmarks without a file, and for test files.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "planner/model/model.h"

namespace lfm {

/// Bytes from the beginning of the data section to the end of its last tensor.
std::uint64_t data_section_size(const ModelDescription& model);

/// Fills every tensor at its offset in `data` with valid blocks whose values are small enough for a forward pass to
/// stay finite: about 1/sqrt(row length) for matrices, around one for norms. Writes every page.
/// Repeatable by seed, whatever the number of threads.
void fill_random(const ModelDescription& model, std::span<std::byte> data, std::uint64_t seed);

using TensorSink = std::function<void(const TensorRef& tensor, std::span<const std::byte> data)>;
/// The same bytes, tensor by tensor in the order of all_tensors: only one is in memory at a time.
void random_tensors(const ModelDescription& model, std::uint64_t seed, const TensorSink& sink);

/// A matrix alone, as fill_random makes it.
std::vector<std::byte> random_matrix(DType type, std::uint32_t n_in, std::uint32_t n_out, std::uint64_t seed);

}  // namespace lfm
