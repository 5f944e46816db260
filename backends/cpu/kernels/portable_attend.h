// The portable table's attention.
#pragma once

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu::portable {

/// kernels.h, AttendTile. Sums in f32. No keys: zeros.
void attend(const AttendTile& tile);

}  // namespace lfm::cpu::portable
