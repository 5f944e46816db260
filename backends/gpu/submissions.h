// Work for the compute lane, collected and handed over at once. A step of one token is a graph, made when that sequence
// of programs is seen first and replayed from then on; larger steps launch kernel by kernel.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/gpu/kernels/points.h"
#include "backends/gpu/programs.h"
#include "backends/gpu/step_area.h"
#include "backends/gpu/timelines.h"

namespace lfm::gpu {

class Submissions {
public:
    Submissions(Health& health, Memory& memory, Timelines& timelines, const Programs& programs, api::Stream stream);
    Submissions(const Submissions&) = delete;
    Submissions& operator=(const Submissions&) = delete;
    ~Submissions() { forget_graphs(); }
    static Bytes memory_needed() { return MirroredBlock::memory_needed(kParts * kMostBatches * sizeof(BatchPoints)); }

    /// The point of the compute timeline that the program reaches. Throws Error{kUsage} when it waits for a later one,
    /// and beyond kMostBatches programs at a time.
    Point add(ProgramId program, std::span<const Point> waits);
    /// Hands all over. Throws Error{kDeviceLost}.
    void flush();

private:
    static constexpr std::uint32_t kMostBatches = 512;
    static constexpr std::size_t kMostGraphs = 16;
    static constexpr std::size_t kParts = 4;  // of the points' pinned memory: flushes that may be under way

    struct Batch {
        ProgramId program;
        bool waits = false;
        bool operator==(const Batch&) const = default;
    };
    struct StepGraph {
        std::vector<Batch> batches;
        std::uint32_t n_outputs = 0;
        api::GraphExec graph{};
    };

    /// Copies the points to where kernels read them.
    void send_points();
    void launch_all();
    void launch(std::span<const Launch> launches, const StepHeader& step);
    void meet(const BatchPoints* finished, const BatchPoints* next);
    /// The graph of what is collected; null where there can be none.
    api::GraphExec graph_of_step(const StepHeader& step);
    api::GraphExec capture();
    void forget_graphs() noexcept;

    Health& health_;
    Timelines& timelines_;
    const Programs& programs_;
    api::Stream stream_;
    MirroredBlock points_;  // the device reads the first part of its side
    std::vector<Batch> batches_;
    std::vector<BatchPoints> batch_points_;
    std::array<std::uint64_t, kParts> part_used_until_{};  // of the compute timeline
    std::size_t n_flushes_ = 0;
    std::vector<StepGraph> graphs_;
    std::size_t next_graph_ = 0;  // to be replaced
    std::uint64_t generation_ = 0;
    bool makes_graphs_ = true;
};

}  // namespace lfm::gpu
