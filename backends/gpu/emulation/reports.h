// What the emulation found wrong, as text: of kernels "kernel NAME, group (x, y, z), thread n: expected …, found …".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm::gpu::emulation {

/// Keeps it for tests, and writes it to stderr: the status that the program gets does not say as much.
void report(std::string_view text);
/// Those since the last call, oldest first; no more than the first thousand.
std::vector<std::string> take_reports();

}  // namespace lfm::gpu::emulation
