#include "backends/gpu/submissions.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "memory/error.h"

namespace lfm::gpu {

Submissions::Submissions(Health& health, Memory& memory, Timelines& timelines, const Programs& programs,
                         api::Stream stream)
    : health_(health),
      timelines_(timelines),
      programs_(programs),
      stream_(stream),
      points_(memory, kParts * kMostBatches * sizeof(BatchPoints)) {
    batches_.reserve(kMostBatches);
    batch_points_.reserve(kMostBatches);
    graphs_.reserve(kMostGraphs);
    require_created(api::load(meet_kernel()), meet_kernel().name);
}

Point Submissions::add(ProgramId program, std::span<const Point> waits) {
    programs_.present(program);  // throws when there is none
    if (batches_.size() == kMostBatches)
        throw Error(ErrorCode::kUsage, "submit",
                    "expected at most " + std::to_string(kMostBatches) + " programs before a flush, found more");
    const LatestPoints latest = latest_points(waits);
    // Earlier points of its own lane come first anyway.
    if (latest[static_cast<std::size_t>(Timeline::kCompute)] > timelines_.last(Timeline::kCompute))
        throw Error(ErrorCode::kUsage, "submit", "expected an earlier point of the compute lane, found a later one");
    const std::uint64_t host = latest[static_cast<std::size_t>(Timeline::kHostSignals)];
    const std::uint64_t copy = latest[static_cast<std::size_t>(Timeline::kCopy)];
    batches_.push_back({program, host > 0 || copy > 0});
    batch_points_.push_back({host, copy, timelines_.advance(Timeline::kCompute)});
    return {Timeline::kCompute, batch_points_.back().reached};
}

void Submissions::flush() {
    if (batches_.empty()) return;
    send_points();
    const StepHeader& step = *programs_.present(batches_.front().program).step;
    if (const api::GraphExec graph = graph_of_step(step); graph != api::GraphExec{})
        health_.check(api::launch(graph, stream_), "launching a graph");
    else
        launch_all();
    batches_.clear();
    batch_points_.clear();
}

void Submissions::send_points() {
    const std::size_t part = n_flushes_++ % kParts, begin = part * kMostBatches * sizeof(BatchPoints);
    timelines_.wait(Timeline::kCompute, part_used_until_[part]);
    part_used_until_[part] = batch_points_.back().reached;
    const std::size_t size = batch_points_.size() * sizeof(BatchPoints);
    std::memcpy(points_.host() + begin, batch_points_.data(), size);
    // After everything before it on this stream: what read the last points has finished.
    health_.check(api::copy(points_.address(), points_.host() + begin, size, stream_), "copying points");
}

void Submissions::meet(const BatchPoints* finished, const BatchPoints* next) {
    static const Kernel kernel = meet_kernel();
    const MeetPush push{finished, next, timelines_.flag(Timeline::kCompute), timelines_.flag(Timeline::kCopy),
                        timelines_.flag(Timeline::kHostSignals)};
    health_.check(api::launch(kernel, {}, &push, stream_), kernel.name);
}

void Submissions::launch(std::span<const Launch> launches, const StepHeader& step) {
    for (const Launch& each : launches) {
        const GroupCounts groups{groups_in(each.grid.x, step), groups_in(each.grid.y, step),
                                 groups_in(each.grid.z, step)};
        if (groups.x == 0 || groups.y == 0 || groups.z == 0) continue;
        health_.check(api::launch(each.kernel, groups, each.push, stream_), each.kernel.name);
    }
}

void Submissions::launch_all() {
    const auto* const points = reinterpret_cast<const BatchPoints*>(points_.address());
    for (std::size_t i = 0; i < batches_.size(); ++i) {
        if (i > 0 || batches_[i].waits)
            meet(i > 0 ? points + i - 1 : nullptr, batches_[i].waits ? points + i : nullptr);
        const Programs::Present present = programs_.present(batches_[i].program);
        launch(present.launches, *present.step);
    }
    meet(points + batches_.size() - 1, nullptr);
}

api::GraphExec Submissions::graph_of_step(const StepHeader& step) {
    if (generation_ != programs_.generation()) forget_graphs();
    generation_ = programs_.generation();
    const bool one_step = std::ranges::all_of(
        batches_, [&](const Batch& batch) { return programs_.present(batch.program).step == &step; });
    if (!makes_graphs_ || !one_step || class_of(step) != StepClass::kOne) return {};
    for (const StepGraph& each : graphs_)
        if (each.n_outputs == step.n_outputs && each.batches == batches_) return each.graph;
    const api::GraphExec graph = capture();
    if (graph == api::GraphExec{}) {
        makes_graphs_ = false;  // a driver that refuses one refuses all; steps still run, kernel by kernel
        return {};
    }
    if (graphs_.size() < kMostGraphs) {
        graphs_.push_back({batches_, step.n_outputs, graph});
    } else {
        StepGraph& oldest = graphs_[next_graph_++ % kMostGraphs];
        // It may still run: what was launched stays whole until it has.
        timelines_.wait(Timeline::kCompute, batch_points_.front().reached - 1);
        ignore(api::destroy(oldest.graph));
        oldest = {batches_, step.n_outputs, graph};
    }
    return graph;
}

api::GraphExec Submissions::capture() {
    const std::lock_guard lock(timelines_.capturing());
    if (api::begin_capture(stream_) != api::kSuccess) {
        api::forget_error();
        return {};
    }
    api::Graph graph{};
    launch_all();
    api::GraphExec made{};
    const bool captured = api::end_capture(stream_, &graph) == api::kSuccess;
    const bool instantiated = captured && api::instantiate(&made, graph) == api::kSuccess;
    if (graph != api::Graph{}) ignore(api::destroy_graph(graph));
    if (instantiated) return made;
    api::forget_error();
    return {};
}

void Submissions::forget_graphs() noexcept {
    for (const StepGraph& each : graphs_) ignore(api::destroy(each.graph));
    graphs_.clear();
}

}  // namespace lfm::gpu
