// Recorded programs of the simulated device, and running them: arithmetic by the CPU backend, durations by the rates.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/sim/sim_device.h"
#include "backends/sim/step_snapshot.h"
#include "backends/sim/virtual_time.h"

namespace lfm::sim {

class SimPrograms {
public:
    SimPrograms(const SimOptions& options, std::string where);

    bool supports(DType weight_type) const { return cpu_->supports(weight_type); }
    /// Nothing may be running. When it throws, all is as before.
    ProgramId record(std::span<const Operation> operations, const StepParams& params);
    /// Undoes the last record(), working memory included.
    void take_back(ProgramId program);
    /// Nothing may be running. Copies of step parameters go with the last program recorded with them, other working
    /// memory with the last program of all.
    void forget(ProgramId program);
    /// In the present step: 0 when it has one token, as such a step is handed over whole.
    std::uint32_t launches(ProgramId program) const;
    bool knows(ProgramId program) const {
        return program.value < programs_.size() && programs_[program.value].source != nullptr;
    }
    /// Working memory of all programs, copies of step parameters included.
    Bytes scratch() const { return scratch_ledger_.total(kHost); }

    /// Copies the StepParams of all programs. Nothing may be running. Throws Error{kUsage} for steps beyond the limits.
    void begin_step();
    /// Returns what was done, valid until the next run. The operation of number `nan_in_operation` gets NaN. Allocates
    /// nothing. Throws Error when the step's data is wrong: an expert out of range, a table edited within the step.
    std::span<const TimedOperation> run(ProgramId program, std::uint64_t nan_in_operation);
    /// Operations run so far, but for copies.
    std::uint64_t n_operations() const { return n_operations_; }

private:
    struct Recorded {
        Operation operation;
        lfm::Program on_cpu;
    };
    struct Program {
        std::vector<Recorded> operations;
        const StepParams* source = nullptr;  // null: forgotten
        StepSnapshot* step = nullptr;
        std::uint32_t launches = 1;  // in a step of many tokens; one is for its point
    };
    /// An expert table and its version when the step began.
    struct SeenTable {
        const ExpertTable* table;
        std::uint64_t version;
    };
    Program made(std::span<const Operation> operations, const StepParams& params);
    void rebuild();
    StepSnapshot& snapshot_of(const StepParams& params);
    void note_table(const Operation& operation);
    bool names(const ExpertTable* table) const;
    void count_experts(const ExpertFfnArgs& args, const StepParams& step);

    const std::string where_;
    const Arithmetic arithmetic_;
    const SimRates rates_;
    const cpu::Kernels* kernels_;
    const BackendLimits limits_;
    const DeviceId self_;
    Ledger scratch_ledger_;  // of our own, to measure
    std::unique_ptr<Backend> cpu_;
    std::vector<std::unique_ptr<StepSnapshot>> snapshots_;  // one per StepParams; programs point to them
    std::vector<SeenTable> tables_;
    std::vector<Program> programs_;
    std::vector<std::uint32_t> tokens_of_expert_;  // of the operation that runs
    std::vector<TimedOperation> timed_;            // of the program that runs
    std::uint64_t n_operations_ = 0;
};

}  // namespace lfm::sim
