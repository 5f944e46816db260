#include "backends/gpu/emulation/schedule.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace lfm::gpu::emulation {

namespace {

Order order_at_start() {
    const char* const asked = std::getenv("LFM_EMULATION_ORDER");
    return asked != nullptr && std::string_view(asked) == "reverse" ? Order::kReverse : Order::kForward;
}

std::atomic<Order> order_of_process = order_at_start();

}  // namespace

void set_order(Order order) { order_of_process = order; }
Order order() { return order_of_process; }

}  // namespace lfm::gpu::emulation
