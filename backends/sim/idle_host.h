// The host where nobody wants results: computes nothing but routes of forced experts, as what follows counts them.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace lfm::sim {

std::unique_ptr<Backend> make_idle_host();

}  // namespace lfm::sim
