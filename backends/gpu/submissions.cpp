#include "backends/gpu/submissions.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "memory/error.h"

namespace lfm::gpu {

Submissions::Submissions(Health& health, Memory& memory, Timelines& timelines, Programs& programs, api::Stream stream)
    : health_(health),
      memory_(memory),
      timelines_(timelines),
      programs_(programs),
      stream_(stream),
      points_(memory, bytes_for(most_points_)) {
    batches_.reserve(most_points_);
    batch_points_.reserve(most_points_);
    require_created(api::load(meet_kernel()), meet_kernel().name);
    std::memset(points_.host(), 0, kPointsAt);
    health_.check(points_.send(0, kPointsAt, stream_), "clearing a flag");
}

void Submissions::behave(const Manners& manners) {
    manners_ = manners;
    why_no_graphs_ = manners.why_no_graphs;
}

void Submissions::make_room(std::size_t n_programs) {
    if (n_programs <= most_points_) return;
    const std::size_t n = 2 * n_programs;
    MirroredBlock larger(memory_, bytes_for(n));
    std::memset(larger.host(), 0, kPointsAt);
    forget_graphs();  // they hold the old address
    points_ = std::move(larger);
    most_points_ = n;
    part_used_until_ = {};
    batches_.reserve(n);
    batch_points_.reserve(n);
    health_.check(points_.send(0, kPointsAt, stream_), "clearing a flag");
}

void Submissions::begin_step() {
    counts_.clear();
    counts_of_graphs_.clear();
    n_graphs_ = n_flushes_of_step_ = 0;
    if (!timelines_.gave_up()) return;
    timelines_.forget_that_it_gave_up();
    health_.check(points_.send(0, kPointsAt, stream_), "clearing a flag");
}

GaveUp Submissions::gave_up() const {
    return {reinterpret_cast<std::uint64_t*>(points_.address()), timelines_.gave_up_flag()};
}

std::uint32_t Submissions::launches(ProgramId program) const {
    const Programs::Present present = programs_.present(program);
    if (!why_no_graphs_ && class_of(*present.step) == StepClass::kOne) return 0;
    return static_cast<std::uint32_t>(present.launches.size()) + 1;  // and where it meets the next one
}

StepNodes Submissions::nodes() const {
    NodeCounts all = counts_;
    for (const auto& counts : counts_of_graphs_) all.add(*counts);
    return {all.kinds(), n_graphs_ > 0 && n_graphs_ == n_flushes_of_step_};
}

Point Submissions::add(ProgramId program, std::span<const Point> waits, Watched watched) {
    programs_.present(program);  // throws when there is none
    const LatestPoints latest = latest_points(waits);
    // Earlier points of its own lane come first anyway.
    if (latest[static_cast<std::size_t>(Timeline::kCompute)] > timelines_.last(Timeline::kCompute))
        throw Error(ErrorCode::kUsage, "submit", "expected an earlier point of the compute lane, found a later one");
    const std::uint64_t host = latest[static_cast<std::size_t>(Timeline::kHostSignals)];
    const std::uint64_t copy = latest[static_cast<std::size_t>(Timeline::kCopy)];
    batches_.push_back({program, host > 0 || copy > 0, watched == Watched::kYes});
    batch_points_.push_back({host, copy, timelines_.advance(Timeline::kCompute)});
    return {Timeline::kCompute, batch_points_.back().reached};
}

void Submissions::flush() {
    if (batches_.empty()) return;
    ++n_flushes_of_step_;
    if (const StepGraph* graph = graph_of_step()) {
        send_points();
        health_.check(api::launch(graph->graph, stream_), "launching a graph");
        counts_of_graphs_.push_back(graph->counts);
        ++n_graphs_;
    } else {
        launch_all(PointsIn::kPush);
    }
    batches_.clear();
    batch_points_.clear();
}

void Submissions::send_points() {
    const std::size_t part = n_flushes_++ % kParts, begin = kPointsAt + part * most_points_ * sizeof(BatchPoints);
    timelines_.wait(Timeline::kCompute, part_used_until_[part]);
    part_used_until_[part] = batch_points_.back().reached;
    const std::size_t size = batch_points_.size() * sizeof(BatchPoints);
    std::memcpy(points_.host() + begin, batch_points_.data(), size);
    // After everything before it on this stream: what read the last points has finished.
    health_.check(api::copy(points_.address() + kPointsAt, points_.host() + begin, size, stream_), "copying points");
}

void Submissions::meet(std::size_t i, PointsIn points) {
    static const Kernel kernel = meet_kernel();
    const bool raises = i == batches_.size() || (i > 0 && batches_[i - 1].watched);
    const bool waits = i < batches_.size() && batches_[i].waits;
    if (!raises && !waits) return;
    MeetPush push{.compute = timelines_.flag(Timeline::kCompute),
                  .copy = timelines_.flag(Timeline::kCopy),
                  .host = timelines_.flag(Timeline::kHostSignals),
                  .gave_up = gave_up(),
                  .most_ticks = manners_.most_ticks};
    if (points == PointsIn::kMemory) {
        const auto* const in_memory = reinterpret_cast<const BatchPoints*>(points_.address() + kPointsAt);
        if (raises) push.finished = in_memory + i - 1;
        if (waits) push.next = in_memory + i;
    } else {
        if (raises) push.points.reached = batch_points_[i - 1].reached;
        if (waits) {
            push.points.host = batch_points_[i].host;
            push.points.copy = batch_points_[i].copy;
        }
    }
    launch(kernel, {}, &push);
}

void Submissions::launch(const Kernel& kernel, const GroupCounts& groups, const void* push) {
    if (capture_failure_) return;
    counts_.add(kernel.name);
    const api::Status status = api::launch(kernel, groups, push, stream_, manners_.start);
    if (!captures_) return health_.check(status, kernel.name);
    if (status != api::kSuccess) capture_failure_ = said(kernel.name, status);  // nothing ran: not a loss
}

void Submissions::launch(std::span<const Launch> launches, const StepHeader& step) {
    for (const Launch& each : launches) {
        const GroupCounts groups{groups_in(each.grid.x, step), groups_in(each.grid.y, step),
                                 groups_in(each.grid.z, step)};
        if (groups.x == 0 || groups.y == 0 || groups.z == 0) continue;
        launch(each.kernel, groups, each.push);
    }
}

bool Submissions::are_one_step() const {
    const StepHeader& step = *programs_.present(batches_.front().program).step;
    return class_of(step) == StepClass::kOne && std::ranges::all_of(batches_, [&](const Batch& batch) {
               return programs_.present(batch.program).step == &step;
           });
}

void Submissions::launch_all(PointsIn points) {
    // A single program needs no sequence: its launches were recorded with it.
    const Programs::Sequence* together = batches_.size() > 1 && are_one_step() ? &programs_.present(batches_) : nullptr;
    for (std::size_t i = 0; i < batches_.size(); ++i) {
        meet(i, points);
        const Programs::Present present = programs_.present(batches_[i].program);
        launch(together != nullptr ? together->launches_of(i) : present.launches, *present.step);
    }
    meet(batches_.size(), points);
}

const Submissions::StepGraph* Submissions::graph_of_step() {
    if (generation_ != programs_.generation()) forget_graphs();
    generation_ = programs_.generation();
    if (why_no_graphs_ || batches_.size() > most_points_ || !are_one_step()) return nullptr;
    const StepHeader& step = *programs_.present(batches_.front().program).step;
    for (const StepGraph& each : graphs_)
        if (each.n_outputs == step.n_outputs && each.batches == batches_) return &each;
    // Records the sequence, and so loads its kernels, before the capture: a driver may refuse to load one within.
    if (batches_.size() > 1) programs_.present(batches_);
    const NodeCounts before = std::exchange(counts_, {});
    const api::GraphExec graph = capture();
    const auto counts = std::make_shared<const NodeCounts>(std::exchange(counts_, before));
    if (graph == api::GraphExec{}) return nullptr;
    if (graphs_.size() < most_graphs()) {
        graphs_.push_back({batches_, step.n_outputs, graph, counts});
        return &graphs_.back();
    }
    StepGraph& oldest = graphs_[next_graph_++ % most_graphs()];
    // It may still run, and must not be destroyed before it has finished.
    timelines_.wait(Timeline::kCompute, batch_points_.front().reached - 1);
    ignore(api::destroy(oldest.graph));
    oldest = {batches_, step.n_outputs, graph, counts};
    return &oldest;
}

api::GraphExec Submissions::capture() {
    const std::lock_guard lock(timelines_.capturing());
    // A driver that refuses one refuses all; steps still run, kernel by kernel.
    const auto refuse = [this](const std::string& why) {
        why_no_graphs_ = why;
        api::forget_error();
        return api::GraphExec{};
    };
    if (const api::Status status = api::begin_capture(stream_); status != api::kSuccess)
        return refuse(said("beginning a capture", status));
    captures_ = true;
    launch_all(PointsIn::kMemory);
    captures_ = false;
    api::Graph graph{};
    const api::Status captured = api::end_capture(stream_, &graph);
    if (const auto failure = std::exchange(capture_failure_, {})) {
        if (graph != api::Graph{}) ignore(api::destroy_graph(graph));
        return refuse(*failure);
    }
    if (captured != api::kSuccess) return refuse(said("ending a capture", captured));
    api::GraphExec made{};
    const api::Status status = api::instantiate(&made, graph);
    if (graph != api::Graph{}) ignore(api::destroy_graph(graph));
    return status == api::kSuccess ? made : refuse(said("making a graph", status));
}

void Submissions::forget_graphs() noexcept {
    for (const StepGraph& each : graphs_) ignore(api::destroy(each.graph));
    graphs_.clear();
}

}  // namespace lfm::gpu
