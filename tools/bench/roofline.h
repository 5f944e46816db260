// lfm-bench --roofline: kernels beside the limits of the machine.
#pragma once

#include "tools/bench/options.h"

namespace lfm::tools {

/// Measures the matrices of the model, or those of the family's two best-known members in the types that people use,
/// and prints a row for each on standard output. Blocks for some seconds a matrix.
void run_roofline(const BenchOptions& options);

}  // namespace lfm::tools
