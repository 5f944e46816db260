#include "runtime/step/executor.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <mutex>

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include "backends/virtual_clock.h"
#include "memory/error.h"
#include "runtime/step/launch_feeder.h"
#include "runtime/step/point_watch.h"

namespace lfm {
namespace {

using Message = tbb::flow::continue_msg;
using HostNode = tbb::flow::continue_node<Message>;
using DeviceNode = tbb::flow::async_node<Message, Message>;
using Sender = tbb::flow::sender<Message>;

using Clock = StepTrace::Clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

bool on_device(const Stage& stage) { return stage.device != kHost; }
bool is_staged(const Stage& stage) { return stage.order == StageOrder::kStaged; }

}  // namespace

class Executor::Graph {
public:
    explicit Graph(ExecutorInputs inputs)
        : in_(std::move(inputs)),
          // More threads than cores are granted only on request.
          parallelism_(tbb::global_control::max_allowed_parallelism, in_.n_threads),
          arena_(static_cast<int>(in_.n_threads)) {
        record();
        find_signals();
        if (device() != nullptr) {
            feeder_.emplace(*device());
            const auto reached = [this](std::uint32_t stage, std::exception_ptr failure) { end_wait(stage, failure); };
            compute_watch_.emplace(*device(), reached);
            if (std::ranges::any_of(in_.program, is_staged)) copy_watch_.emplace(*device(), reached);
        }
        arena_.execute([&] { build(); });
    }

    ~Graph() {
        arena_.execute([&] {
            host_nodes_.clear();
            device_nodes_.clear();
            graph_.reset();
        });
    }

    void run(const std::atomic<bool>* stop) {
        stop_ = stop;
        const auto begin = Clock::now();
        try_step();
        if (stalled()) {
            // What came after the device gave up means nothing, on either side. Steps overwrite nothing that they read.
            ++n_stalled_;
            try_step();
        }
        const auto end = Clock::now();
        times_ = {seconds(end - begin), host_seconds_, expert_seconds_};
        if (in_.trace != nullptr) in_.trace->record_step(in_.params.n_tokens, in_.params.position(), begin, end);
        if (failed_) std::rethrow_exception(failure_);
        if (interrupted_) throw Error(ErrorCode::kInterrupted, "step", "stopped on request");
    }

    std::vector<std::string> describe() const { return names_; }
    StepTimes last_times() const { return times_; }
    std::uint64_t n_stalled() const { return n_stalled_; }

private:
    Device* device() const { return in_.beside.device; }
    std::uint32_t n_stages() const { return static_cast<std::uint32_t>(in_.program.size()); }
    const Stage& stage(std::uint32_t index) const { return in_.program[index]; }

    void record() {
        for (const Stage& stage : in_.program) {
            Backend& backend = on_device(stage) ? *device() : in_.host;
            programs_.push_back(backend.record(stage.operations, in_.params));
        }
        points_.resize(n_stages());
        copy_points_.resize(n_stages());
        waits_.reserve(8);
        begun_.resize(n_stages());
        gateways_.resize(n_stages());
        measured_.resize(n_stages());
    }

    /// Which host stages the device waits for, and which device stages the host.
    void find_signals() {
        signals_.resize(n_stages());
        watched_.resize(n_stages());
        for (std::uint32_t i = 0; i < n_stages(); ++i) {
            for (const std::uint32_t other : stage(i).after) (on_device(stage(i)) ? signals_ : watched_)[other] = true;
            if (!on_device(stage(i))) continue;
            last_on_device_ = i;
            waits_for_host_ = waits_for_host_ || !stage(i).after.empty() || is_staged(stage(i));
        }
        if (device() != nullptr && last_on_device_) watched_[*last_on_device_] = true;
    }

    // The graph. Nodes do not move.

    HostNode& add_host_node(std::string name, std::initializer_list<Sender*> before, std::function<void()> body) {
        names_.push_back(std::move(name));
        host_nodes_.emplace_back(*graph_, [body = std::move(body)](Message) { body(); });
        for (Sender* sender : before) tbb::flow::make_edge(*sender, host_nodes_.back());
        return host_nodes_.back();
    }

    /// A node that ends when the device has reached the point that `begin` gives; at once for none.
    Sender& add_device_node(std::string name, Sender& before, std::optional<PointWatch>& watch,
                            std::function<std::optional<Point>()> begin, std::uint32_t stage) {
        names_.push_back(std::move(name));
        device_nodes_.emplace_back(
            *graph_, tbb::flow::unlimited,
            [this, &watch, begin = std::move(begin), stage](Message, DeviceNode::gateway_type& gateway) {
                std::optional<Point> point;
                try {
                    point = begin();
                } catch (...) {
                    fail(std::current_exception());
                }
                if (!point) {
                    gateway.try_put(Message{});
                    return;
                }
                gateway.reserve_wait();
                begun_[stage] = Clock::now();
                gateways_[stage] = &gateway;
                watch->watch(*point, stage);
            });
        tbb::flow::make_edge(before, device_nodes_.back());
        return tbb::flow::output_port<0>(device_nodes_.back());  // not the node itself: it takes no successors
    }

    /// On a watch's thread.
    void end_wait(std::uint32_t stage, std::exception_ptr failure) {
        if (failure) fail(std::move(failure));
        if (in_.trace != nullptr) trace_device(stage);
        DeviceNode::gateway_type& gateway = *gateways_[stage];
        gateway.try_put(Message{});
        gateway.release_wait();
    }

    void build() {
        graph_ = std::make_unique<tbb::flow::graph>();
        Sender* start = &add_host_node("begin", {}, [] {});
        Sender* last_host = start;
        Sender* last_watch = start;
        Sender* split = start;
        std::uint32_t routed = 0;  // the stage whose routing split and streams follow
        std::vector<Sender*> nodes(n_stages(), nullptr);
        for (std::uint32_t i = 0; i < n_stages(); ++i) {
            const Stage& stage = in_.program[i];
            switch (stage.order) {
                case StageOrder::kInTurn: {
                    if (on_device(stage)) break;
                    HostNode& node = add_host_node(stage.name + " (host)", {last_host}, [this, i] { run_host(i); });
                    for (const std::uint32_t before : stage.after) tbb::flow::make_edge(*nodes[before], node);
                    last_host = &node;
                    break;
                }
                case StageOrder::kBeside: {
                    routed = stage.after.front();
                    split = nodes[routed];
                    if (in_.beside.streams != nullptr)
                        split = &add_host_node(stage.name + " split (host)", {split},
                                               [this, i] { in_.beside.streams->decide(this->stage(i).layer); });
                    // The host's experts of two layers never run at once: the device is between them.
                    add_host_node(stage.name + " (host, beside the device)", {split}, [this, i] { run_host(i); });
                    break;
                }
                case StageOrder::kStaged:
                    add_device_node(
                        stage.name + " (bus)", *split, copy_watch_,
                        [this, i, routed] { return begin_stream(i, routed); }, i);
                    break;
            }
            if (on_device(stage) && watched_[i]) {
                last_watch = &add_device_node(
                    stage.name + " (device)", *last_watch, compute_watch_,
                    [this, i] { return std::optional(points_[i]); }, i);
                nodes[i] = last_watch;
            }
        }
    }

    // A step.

    bool stalled() const { return device() != nullptr && !failed_ && device()->stalled(); }

    void try_step() {
        interrupted_ = false;
        failed_ = false;
        failure_ = nullptr;
        host_seconds_ = expert_seconds_ = 0;
        device_free_ = Clock::now();
        if (device() != nullptr) begin_device();
        arena_.execute([&] {
            host_nodes_.front().try_put(Message{});
            graph_->wait_for_all();
        });
        if (device() == nullptr) return;
        if (const std::exception_ptr failure = feeder_->finish()) fail(failure);
    }

    void begin_device() {
        Device& device = *this->device();
        const WaitKind waits = device.limits().waits;
        const bool may_stall = waits == WaitKind::kSpins && n_stalled_ == 0 && waits_for_host_;
        device.begin_step();
        const StreamMode mode =
            in_.beside.streams != nullptr ? in_.beside.streams->begin_step(in_.params) : StreamMode::kNone;
        plan_device(mode, may_stall || waits == WaitKind::kInQueue ? LaunchFeeder::Waits::kOnDevice
                                                                   : LaunchFeeder::Waits::kHere);
        feeder_->start();
        if (mode == StreamMode::kAhead) enqueue_streams();
    }

    /// Which programs the step submits, and what each waits for.
    void plan_device(StreamMode mode, LaunchFeeder::Waits waits) {
        Device& device = *this->device();
        std::uint64_t host = device.last(Timeline::kHostSignals).value;
        std::uint64_t copy = device.last(Timeline::kCopy).value;
        std::uint64_t compute = device.last(Timeline::kCompute).value;
        double host_seconds = 0;  // that the device would wait, were it idle
        feeder_->clear();
        for (std::uint32_t i = 0; i < n_stages(); ++i) {
            const Stage& stage = in_.program[i];
            if (!on_device(stage)) {
                // What nobody waits for counts towards the next point: reports are put in order by it.
                points_[i] = {Timeline::kHostSignals, host + 1};
                if (signals_[i]) ++host;
                host_seconds += expected_seconds(i);
                continue;
            }
            waits_.clear();
            for (const std::uint32_t before : stage.after) waits_.push_back(points_[before]);
            if (is_staged(stage)) {
                copy_points_[i] = {};
                if (!in_.beside.streams->active(stage.layer, stage.round)) continue;
                copy_points_[i] = {Timeline::kCopy, ++copy};
                waits_.push_back(copy_points_[i]);
            }
            points_[i] = {Timeline::kCompute, ++compute};
            // Copies ahead wait for the rounds that used their slots before.
            const bool watched = watched_[i] || (is_staged(stage) && mode == StreamMode::kAhead);
            const LatestPoints after = latest_points(waits_);
            const bool too_long = host_seconds > longest_wait();
            feeder_->add({.program = programs_[i],
                          .after = after,
                          .watched = watched ? Watched::kYes : Watched::kNo,
                          .waits = too_long ? LaunchFeeder::Waits::kHere : waits,
                          .launches = device.launches(programs_[i])});
            if (after[static_cast<std::size_t>(Timeline::kHostSignals)] > 0) host_seconds = 0;
        }
    }

    /// A kernel that waits keeps a whole device from anything else, and a display's driver from answering.
    double longest_wait() const {
        const DeviceLimits limits = device()->limits();
        return limits.waits == WaitKind::kSpins ? limits.spin_seconds / 4 : std::numeric_limits<double>::infinity();
    }

    /// Of a host's stage in this step, by what it took last; not known: of one token nothing, of many for ever.
    double expected_seconds(std::uint32_t i) const {
        if (device()->limits().waits != WaitKind::kSpins) return 0;
        const Measured& last = measured_[i];
        const double n = in_.params.n_tokens;
        if (last.n_tokens > 0) return last.seconds * std::max(1.0, n / last.n_tokens);
        constexpr double kFew = 4;
        return n <= kFew ? 0 : std::numeric_limits<double>::infinity();
    }

    /// Every round's copies at once; each waits until its half of the slots was used.
    void enqueue_streams() {
        std::optional<Point> last_use[2];
        for (std::uint32_t i = 0; i < n_stages(); ++i) {
            const Stage& stage = in_.program[i];
            if (!is_staged(stage) || copy_points_[i].value == 0) continue;
            std::optional<Point>& used = last_use[stage.round % 2];
            const std::span<const CopyRegion> regions = in_.beside.streams->regions(stage.round);
            device()->copy(regions, used ? std::span<const Point>(&*used, 1) : std::span<const Point>{});
            used = points_[i];
        }
    }

    /// The point when a round's experts have arrived; nothing when none travel.
    std::optional<Point> begin_stream(std::uint32_t i, std::uint32_t routed) {
        if (copy_points_[i].value == 0) return std::nullopt;
        if (in_.beside.streams->mode() == StreamMode::kOnDemand)
            device()->copy(in_.beside.streams->regions(stage(i).round), {&points_[routed], 1});
        return copy_points_[i];
    }

    void run_host(std::uint32_t i) {
        if (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) interrupted_ = true;
        const auto begin = Clock::now();
        const bool computes = !interrupted_ && !failed_ && !stalled();
        if (computes) try {
                in_.host.submit(programs_[i]);
                in_.host.wait();
            } catch (...) {
                fail(std::current_exception());
            }
        const auto end = Clock::now();
        if (computes) measured_[i] = {in_.params.n_tokens, seconds(end - begin)};
        host_seconds_ += seconds(end - begin);
        if (stage(i).order == StageOrder::kBeside) expert_seconds_ += seconds(end - begin);
        if (in_.trace != nullptr) in_.trace->record(StepTrace::Lane::kOnHost, i, begin, end);
        if (device() == nullptr) return;
        // Also after a failure: the device must not wait for ever.
        report(i);
        if (signals_[i]) device()->signal();
    }

    /// On the watch's thread. The device's part begins where the one before it was seen to end.
    void trace_device(std::uint32_t i) {
        const auto end = Clock::now();
        if (is_staged(stage(i))) return in_.trace->record(StepTrace::Lane::kBus, i, begun_[i], end);
        in_.trace->record(StepTrace::Lane::kOnDevice, i, std::max(device_free_, begun_[i]), end);
        device_free_ = end;
    }

    void report(std::uint32_t i) {
        VirtualClock* const clock = device()->clock();
        if (clock == nullptr) return;
        const Stage& stage = in_.program[i];
        Point after;
        for (const std::uint32_t before : stage.after) after = points_[before];
        clock->host_worked({.after = after,
                            .done = points_[i],
                            .operations = stage.operations,
                            .step = &in_.params,
                            .beside_device = stage.order == StageOrder::kBeside,
                            .name = stage.name.c_str()});
    }

    void fail(std::exception_ptr failure) {
        const std::lock_guard lock(failure_mutex_);
        if (!failed_) failure_ = failure;
        failed_ = true;
    }

    ExecutorInputs in_;
    std::vector<Program> programs_;        // [n_stages]
    std::vector<bool> signals_, watched_;  // [n_stages]
    std::optional<std::uint32_t> last_on_device_;
    std::vector<Point> points_, copy_points_;  // [n_stages], of the present step
    std::vector<Point> waits_;
    struct Measured {
        std::uint32_t n_tokens = 0;  // 0: never
        double seconds = 0;
    };
    std::vector<Measured> measured_;                   // [n_stages]: the host's, in the last step
    bool waits_for_host_ = false;                      // any stage of the device does, or for copies
    std::uint64_t n_stalled_ = 0;                      // steps
    std::vector<Clock::time_point> begun_;             // [n_stages]: when the host began to wait for it
    std::vector<DeviceNode::gateway_type*> gateways_;  // [n_stages]: of the nodes that wait
    Clock::time_point device_free_;                    // of the watch's thread
    StepTimes times_;
    std::atomic<double> host_seconds_{0}, expert_seconds_{0};
    std::optional<LaunchFeeder> feeder_;
    std::optional<PointWatch> compute_watch_, copy_watch_;
    tbb::global_control parallelism_;
    tbb::task_arena arena_;
    std::unique_ptr<tbb::flow::graph> graph_;
    std::deque<HostNode> host_nodes_;
    std::deque<DeviceNode> device_nodes_;
    std::vector<std::string> names_;
    const std::atomic<bool>* stop_ = nullptr;
    std::atomic<bool> interrupted_{false}, failed_{false};
    std::mutex failure_mutex_;
    std::exception_ptr failure_;
};

Executor::Executor(ExecutorInputs inputs) : graph_(std::make_unique<Graph>(std::move(inputs))) {}

Executor::~Executor() = default;

void Executor::run(const std::atomic<bool>* stop) { graph_->run(stop); }

std::uint64_t Executor::n_stalled() const { return graph_->n_stalled(); }
StepTimes Executor::last_times() const { return graph_->last_times(); }

std::vector<std::string> Executor::describe() const { return graph_->describe(); }

}  // namespace lfm
