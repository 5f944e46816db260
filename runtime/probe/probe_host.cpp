// The host: memory read by more and more threads, and a model's operations on the CPU backend.
#include <algorithm>
#include <cstring>

#include <oneapi/tbb/parallel_for.h>

#include "backends/cpu/cpu_backend.h"
#include "memory/host_buffer.h"
#include "runtime/machine/bandwidth.h"
#include "runtime/machine/host_memory.h"
#include "runtime/machine/threads.h"
#include "runtime/probe/probe_operations.h"
#include "runtime/probe/probe_parts.h"

namespace lfm {
namespace {

class HostPlace final : public ProbedPlace {
public:
    explicit HostPlace(std::uint32_t n_threads)
        : backend_(cpu::make_cpu_backend({.n_threads = n_threads, .limits = kProbeLimits}, ledger_)) {}

    Backend& backend() override { return *backend_; }

    std::byte* take(std::size_t size) override {
        buffers_.emplace_back(ledger_, Purpose::kWeights, size);
        return buffers_.back().bytes().data();
    }

    /// In pieces side by side: most of the time goes into fresh pages.
    void write(std::byte* to, std::span<const std::byte> from) override {
        constexpr std::size_t kPiece = std::size_t{1} << 20;
        tbb::parallel_for(std::size_t{0}, (from.size() + kPiece - 1) / kPiece, [&](std::size_t i) {
            const auto piece = from.subspan(i * kPiece, std::min(kPiece, from.size() - i * kPiece));
            std::memcpy(to + i * kPiece, piece.data(), piece.size());
        });
    }

private:
    Ledger ledger_;
    std::vector<HostBuffer> buffers_;
    std::unique_ptr<Backend> backend_;
};

/// 1, 2, 4, … and the number itself.
std::vector<std::uint32_t> thread_counts(std::uint32_t n_threads) {
    std::vector<std::uint32_t> counts;
    for (std::uint32_t n = 1; n < n_threads; n *= 2) counts.push_back(n);
    counts.push_back(n_threads);
    return counts;
}

std::string caches_remark(std::size_t read) {
    const std::uint64_t caches = processor_layout().cache_bytes;
    if (caches == 0 || read >= 4 * caches) return {};
    return "figures of the host may be too good: " + format_bytes({read}) + " were read, the caches hold " +
           format_bytes({caches});
}

}  // namespace

HostProfile describe_host(std::uint32_t n_threads) {
    HostProfile host;
    host.name = processor_name();
    host.instruction_set = std::string(cpu::best_kernels().name);
    host.n_cores = processor_layout().n_cores;
    host.n_threads = n_threads;
    host.memory = installed_memory();
    return host;
}

std::vector<std::string> probe_host(const ProbeShare& share, HostProfile& host) {
    HostPlace place(share.n_threads);
    ProbeOperations operations({.place = place,
                                .types = probed_types(share.effort, place.backend()),
                                .memory = share.memory,
                                .n_threads = share.n_threads,
                                .longest_sample = share.effort == ProbeEffort::kQuick ? 0.02 : 0.1,
                                .stop = share.time.stop,
                                .progress = [&](double done) { share.progress("filling memory", done); }});
    std::vector<Trial> trials;
    for (const std::uint32_t n : thread_counts(share.n_threads)) host.read_bandwidth.push_back({n, {}});
    trials.reserve(host.read_bandwidth.size());
    for (ThreadFigure& figure : host.read_bandwidth)
        trials.push_back({"read bandwidth with " + std::to_string(figure.n_threads) +
                              (figure.n_threads == 1 ? " thread" : " threads"),
                          "GB/s", &figure.gb_per_s,
                          [&] { return read_bandwidth_once(operations.memory(), figure.n_threads) * 1e-9; }});
    std::ranges::move(
        operations.trials({host.matvec_gb_per_s, host.gemm_gflop_per_s, host.attention_gb_per_s, host.operation_us}),
        std::back_inserter(trials));
    TrialTime time = share.time;
    time.progress = [&](double done) { share.progress("measuring", done); };
    std::vector<std::string> remarks = run_trials(trials, time);
    assume_others(host.matvec_gb_per_s, place.backend());
    assume_others(host.gemm_gflop_per_s, place.backend());
    const std::string caches = caches_remark(operations.memory().size());
    if (!caches.empty()) remarks.push_back(caches);
    return remarks;
}

}  // namespace lfm
