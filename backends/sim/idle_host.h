// The host where nobody wants results: computes nothing but routes, forced ones or the first experts, as times depend
// on which experts are chosen.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace lfm::sim {

std::unique_ptr<Backend> make_idle_host();

}  // namespace lfm::sim
