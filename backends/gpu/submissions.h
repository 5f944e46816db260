// Work for the compute lane, collected and handed over at once. A step of one token is a graph, made when that sequence
// of programs is seen first and replayed from then on; larger steps launch kernel by kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/gpu/kernels/points.h"
#include "backends/gpu/node_counts.h"
#include "backends/gpu/programs.h"
#include "backends/gpu/step_area.h"
#include "backends/gpu/timelines.h"

namespace lfm::gpu {

class Submissions {
public:
    struct Manners {
        std::uint64_t most_ticks = 0;  // that a kernel waits for the host or for copies
        std::optional<std::string> why_no_graphs;
        Start start = Start::kInTurn;
    };
    Submissions(Health& health, Memory& memory, Timelines& timelines, Programs& programs, api::Stream stream);
    Submissions(const Submissions&) = delete;
    Submissions& operator=(const Submissions&) = delete;
    ~Submissions() { forget_graphs(); }
    static Bytes memory_needed() { return MirroredBlock::memory_needed(bytes_for(kLeastPoints)); }

    /// Sets what the driver turned out to be able to do. Called before the first program is added.
    void behave(const Manners& manners);
    /// Makes room for graphs of so many programs. Nothing may be running. Throws Error{kShortfall}; then all is as
    /// before.
    void make_room(std::size_t n_programs);
    /// As Device::begin_step, after everything of the step before.
    void begin_step();

    /// As Device::launches.
    std::uint32_t launches(ProgramId program) const;
    /// Returns the point of the compute timeline that the program reaches. Throws Error{kUsage} for an unknown program,
    /// or when it waits for a later point of that timeline.
    Point add(ProgramId program, std::span<const Point> waits, Watched watched);
    /// Hands over all that was added. Throws Error{kDeviceLost}.
    void flush();
    /// Why steps of one token are no graphs; nothing when they are.
    const std::optional<std::string>& why_no_graphs() const { return why_no_graphs_; }
    /// The launches that were handed over since the step began.
    StepNodes nodes() const;

    /// Where kernels note that they gave up waiting.
    GaveUp gave_up() const;

private:
    static constexpr std::size_t kLeastPoints = 512;
    static constexpr std::size_t kLeastGraphs = 16;
    static constexpr std::size_t kParts = 4;      // of the points' pinned memory: flushes that may be under way
    static constexpr std::size_t kPointsAt = 64;  // bytes; before lies the flag that says that a kernel gave up

    using Batch = Programs::Link;
    struct StepGraph {
        std::vector<Batch> batches;
        std::uint32_t n_outputs = 0;
        api::GraphExec graph{};
        std::shared_ptr<const NodeCounts> counts;
    };
    /// Where a launch finds its points.
    enum class PointsIn : std::uint8_t { kPush, kMemory };

    static constexpr std::size_t bytes_for(std::size_t n_points) {
        return kPointsAt + kParts * n_points * sizeof(BatchPoints);
    }
    /// Copies the points to where the kernels of a graph read them.
    void send_points();
    void launch_all(PointsIn points);
    /// Whether the batches are of one step, which has one token: then they are launched as one list.
    bool are_one_step() const;
    void launch(std::span<const Launch> launches, const StepHeader& step);
    void launch(const Kernel& kernel, const GroupCounts& groups, const void* push);
    /// Launches the kernel that raises and awaits flags between batch i - 1 and batch i, where one is watched or the
    /// other waits. The last batch counts as watched.
    void meet(std::size_t i, PointsIn points);
    /// The graph of what is collected; null where there can be none.
    const StepGraph* graph_of_step();
    api::GraphExec capture();
    void forget_graphs() noexcept;
    std::size_t most_graphs() const { return kLeastGraphs + most_points_; }

    Health& health_;
    Memory& memory_;
    Timelines& timelines_;
    Programs& programs_;
    api::Stream stream_;
    Manners manners_;
    std::size_t most_points_ = kLeastPoints;
    MirroredBlock points_;  // the device's side uses one part only
    std::vector<Batch> batches_;
    std::vector<BatchPoints> batch_points_;
    std::array<std::uint64_t, kParts> part_used_until_{};  // of the compute timeline
    std::size_t n_flushes_ = 0;
    std::vector<StepGraph> graphs_;
    std::size_t next_graph_ = 0;  // to be replaced
    std::uint64_t generation_ = 0;
    bool captures_ = false;
    std::optional<std::string> why_no_graphs_, capture_failure_;
    // The step's launches: those handed over one by one, and those of each graph. nodes() adds them up.
    NodeCounts counts_;
    std::vector<std::shared_ptr<const NodeCounts>> counts_of_graphs_;
    std::uint32_t n_graphs_ = 0, n_flushes_of_step_ = 0;
};

}  // namespace lfm::gpu
