// The portable table's attention.
#pragma once

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu::portable {

/// As AttendTile in kernels.h defines it, with sums in f32; zeros when there are no keys.
void attend(const AttendTile& tile);

}  // namespace lfm::cpu::portable
