// A model's operations on LFM2 shapes at one place, with data that no cache holds, ready to be timed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/probe/probe.h"
#include "runtime/probe/probe_trials.h"
#include "runtime/step/executor.h"

namespace lfm {

struct ProbeOperationsSetup {
    ProbedPlace& place;
    std::vector<DType> types;  // of weights
    std::size_t memory = 0;    // of weights and key/value cache together
    std::uint32_t n_threads = 1;
    double longest_sample = 0.02;  // seconds: slow types are measured on fewer rows
    const std::atomic<bool>* stop = nullptr;
    std::function<void(double share_done)> progress;  // while memory is filled
};

class ProbeOperations {
public:
    /// Takes memory, fills it, records everything.
    explicit ProbeOperations(const ProbeOperationsSetup& setup);
    ~ProbeOperations();

    /// Gigabytes of weights a second: one token through all weights of this type (a slow type: part of them).
    double matvec_gb_per_s(DType type);
    /// Two operations per multiply-add: 512 tokens through [2048 → 2048]. Fewer rows where that takes too long, more
    /// rows for more than 32 threads.
    double gemm_gflop_per_s(DType type);
    /// Gigabytes of an f16 key/value cache a second: one token at the end of 32768 positions (fewer where memory is
    /// scarce), 32 heads, 8 of keys and values.
    double attention_gb_per_s();
    /// What an operation costs beside its bytes and sums: layers of eight operations whose data lies in cache, half of
    /// them matmuls of some 9 KB a thread, the others norms and sums of one row. All their time counts, and that of
    /// starting each layer.
    double operation_us();

    /// Everything that was filled with weights and cache.
    std::span<const std::byte> memory() const { return memory_; }

    /// Trials of all these figures, and where their results go.
    struct Figures {
        TypeFigures& matvec;
        TypeFigures& gemm;
        Figure& attention;
        Figure& operation;
    };
    std::vector<Trial> trials(const Figures& figures);

private:
    struct Weights {
        DType type = DType::kF32;
        std::byte* data = nullptr;
        std::size_t row_bytes = 0;
        std::uint32_t n_rows = 0;                      // of 2048 weights
        std::uint32_t matvec_rows = 0, gemm_rows = 0;  // of one sample; rows read twice count twice
        std::unique_ptr<Executor> matvec, gemm;
    };

    bool on_device() const { return setup_.place.device() != nullptr; }
    void lay_out();
    void fill(Weights& weights);
    void fill_cache();
    void record_matvec(Weights& weights);
    void record_gemm(Weights& weights);
    void record_attention();
    std::unique_ptr<Executor> make_attention(std::uint32_t times);
    /// How often work of this duration is repeated within a sample: on a device, handing over a step can take as long
    /// as a small piece of work.
    std::uint32_t times_for(double seconds) const;
    void record_layers();
    void report(std::size_t done);
    MatmulArgs multiply(RowsView x, const WeightView& weight) const;
    WeightView matrix(const Weights& weights, std::uint32_t first, std::uint32_t n_rows) const;
    std::unique_ptr<Executor> make_executor(std::vector<Stage> program, const StepParams& params);

    ProbeOperationsSetup setup_;
    StepParams one_token_, batch_, last_token_;
    StepSequence last_of_;  // which last_token_ belongs to
    std::map<DType, Weights> weights_;
    std::uint32_t n_positions_ = 0;
    std::uint32_t n_caches_ = 1;         // on devices: together more than the device's caches hold
    std::uint32_t n_attended_ = 0;       // positions; of a slow device fewer
    std::uint32_t attention_times_ = 1;  // in a sample
    std::uint32_t layers_times_ = 16;    // likewise
    std::uint32_t largest_gemm_ = 0;     // rows
    std::byte* cache_ = nullptr;         // [n_caches]: keys, then values
    float *x_ = nullptr, *y_ = nullptr;
    float *normed_ = nullptr, *norm_ = nullptr;
    std::span<const std::byte> memory_;
    std::unique_ptr<Executor> attention_, layers_;
};

}  // namespace lfm
