#include "backends/gpu/emulation/schedule.h"

#include <atomic>

namespace lfm::gpu::emulation {

namespace {

std::atomic<Order> order_of_process = Order::kForward;

}  // namespace

void set_order(Order order) { order_of_process = order; }
Order order() { return order_of_process; }

}  // namespace lfm::gpu::emulation
