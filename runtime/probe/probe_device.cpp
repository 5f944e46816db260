// A device: a model's operations on its backend, copies both ways, handshakes, and both sides reading at once.
#include <algorithm>
#include <thread>

#include "memory/error.h"
#include "memory/host_buffer.h"
#include "runtime/machine/bandwidth.h"
#include "runtime/probe/probe_operations.h"
#include "runtime/probe/probe_parts.h"

namespace lfm {
namespace {

constexpr std::size_t kSmallCopy = 4096;  // its time is all latency
constexpr std::uint32_t kHandshakes = 64;

double copy_gb_per_s(ProbedDevice& device, CopyDirection direction, HostPages pages) {
    return static_cast<double>(kLargestProbeCopy) /
           device.copy_seconds({.direction = direction, .pages = pages, .size = kLargestProbeCopy}) * 1e-9;
}

/// A card's caches may be larger than a processor's, and the weights of each type should be larger than the caches.
std::size_t memory_for(const ProbeShare& share, ProbedDevice& device, const DeviceProfile& profile) {
    const std::uint64_t free = profile.free.value_or(profile.memory).value;
    const std::uint64_t wanted = profile.memory_kind == DeviceMemory::kOwn ? 2 * share.memory : share.memory;
    std::uint64_t memory = std::min<std::uint64_t>(wanted, free / 4);
    // It is allocated as one block, together with some rows.
    if (device.device() != nullptr) memory = std::min(memory, device.device()->limits().largest_block.value / 4 * 3);
    return memory;
}

/// Gigabytes a second of both sides while both are at work.
struct BothSides {
    double bus = 0;
    double host = 0;
};

/// The host reads its memory once; copies to the device are repeated until it is done, and all of them count.
BothSides read_while_copying(ProbedDevice& device, std::span<const std::byte> memory, std::uint32_t n_threads) {
    BothSides both;
    std::exception_ptr failure;
    {
        const std::jthread copier([&](const std::stop_token& stop) {
            try {
                double seconds = 0;
                int n_copies = 0;
                do {
                    seconds += device.copy_seconds({.size = kLargestProbeCopy});
                    ++n_copies;
                } while (!stop.stop_requested());
                both.bus = n_copies * static_cast<double>(kLargestProbeCopy) / seconds * 1e-9;
            } catch (...) {
                failure = std::current_exception();
            }
        });
        both.host = read_bandwidth_once(memory, n_threads) * 1e-9;
    }
    if (failure) std::rethrow_exception(failure);
    return both;
}

}  // namespace

std::vector<std::string> probe_device(const ProbeShare& share, ProbedDevice& device, DeviceProfile& profile) {
    profile = device.description();
    const std::vector<DType> types = probed_types(share.effort, device.backend());
    if (types.empty()) throw Error(ErrorCode::kInvalidInput, profile.name, "expected weight types, found none");
    const bool enqueued = device.device() != nullptr;
    ProbeOperations operations({.place = device,
                                .types = types,
                                .memory = memory_for(share, device, profile),
                                // A device's own figures do not depend on the host's threads.
                                .n_threads = enqueued ? 1 : share.n_threads,
                                .longest_sample = 0.02,
                                .stop = share.time.stop,
                                .progress = [&](double done) { share.progress("filling memory", done); }});
    Ledger ledger;
    const HostBuffer host(ledger, Purpose::kScratch, share.memory);
    std::ranges::fill(host.bytes(), std::byte{1});  // pages of its own, not the zero page

    std::vector<Trial> trials = operations.trials(
        {profile.matvec_gb_per_s, profile.gemm_gflop_per_s, profile.attention_gb_per_s, profile.operation_us});
    trials.push_back({"reading", "GB/s", &profile.read_gb_per_s, [&] {
                          const auto memory = operations.memory();
                          return static_cast<double>(memory.size()) / device.read_seconds(memory) * 1e-9;
                      }});
    trials.push_back({"a handshake", "µs", &profile.handshake_us,
                      [&] { return device.handshake_seconds(kHandshakes) / kHandshakes * 1e6; }});
    trials.push_back(
        {"a small copy", "µs", &profile.copy_us, [&] { return device.copy_seconds({.size = kSmallCopy}) * 1e6; }});
    const auto add_copy = [&](const char* what, Figure& figure, CopyDirection direction, HostPages pages) {
        trials.push_back(
            {what, "GB/s", &figure, [&device, direction, pages] { return copy_gb_per_s(device, direction, pages); }});
    };
    using enum CopyDirection;
    using enum HostPages;
    add_copy("copies from pinned memory", profile.h2d_pinned_gb_per_s, kHostToDevice, kPinned);
    add_copy("copies from pageable memory", profile.h2d_pageable_gb_per_s, kHostToDevice, kPageable);
    if (device.registers_memory())
        add_copy("copies from registered memory", profile.h2d_registered_gb_per_s.emplace(), kHostToDevice,
                 kRegistered);
    add_copy("copies to pinned memory", profile.d2h_pinned_gb_per_s, kDeviceToHost, kPinned);
    add_copy("copies to pageable memory", profile.d2h_pageable_gb_per_s, kDeviceToHost, kPageable);
    BothSides both;  // two figures of one measurement: the second trial returns what the first one measured
    trials.push_back({"copies while the host reads", "GB/s", &profile.h2d_while_host_reads_gb_per_s, [&] {
                          both = read_while_copying(device, host.bytes(), share.n_threads);
                          return both.bus;
                      }});
    trials.push_back({"the host's reading beside copies", "GB/s", &profile.host_reads_while_h2d_gb_per_s,
                      [&] { return both.host; }});

    for (Trial& trial : trials) trial.what = profile.name + ": " + trial.what;
    TrialTime time = share.time;
    time.progress = [&](double done) { share.progress("measuring", done); };
    std::vector<std::string> remarks = run_trials(trials, time);
    assume_others(profile.matvec_gb_per_s, device.backend());
    assume_others(profile.gemm_gflop_per_s, device.backend());
    return remarks;
}

}  // namespace lfm
