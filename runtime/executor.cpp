#include "runtime/executor.h"

#include <deque>

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include "memory/error.h"

namespace lfm {

struct Executor::Graph {
    using Node = tbb::flow::continue_node<tbb::flow::continue_msg>;

    Graph(std::vector<DeviceSegment> segments, std::vector<Backend*> devices, const StepParams& step,
          std::uint32_t n_threads)
        : program(std::move(segments)),
          backends(std::move(devices)),
          // More threads than cores are granted only on request.
          parallelism(tbb::global_control::max_allowed_parallelism, n_threads),
          arena(static_cast<int>(n_threads)) {
        arena.execute([&] {
            graph = std::make_unique<tbb::flow::graph>();
            for (const DeviceSegment& segment : program) add_node(segment, step);
        });
    }

    ~Graph() {
        arena.execute([&] {
            nodes.clear();
            graph.reset();
        });
    }

    void add_node(const DeviceSegment& segment, const StepParams& step) {
        Backend* backend = backends[segment.device.value];
        const ProgramId recorded = backend->record(segment.operations, step);
        const auto body = [this, backend, recorded](tbb::flow::continue_msg) {
            if (stop != nullptr && stop->load(std::memory_order_relaxed)) {
                interrupted = true;
            } else if (!interrupted) {
                backend->submit(recorded);
                backend->wait();
            }
        };
        nodes.emplace_back(*graph, body);
        if (nodes.size() > 1) tbb::flow::make_edge(nodes[nodes.size() - 2], nodes.back());
    }

    std::vector<DeviceSegment> program;
    std::vector<Backend*> backends;
    tbb::global_control parallelism;
    tbb::task_arena arena;
    std::unique_ptr<tbb::flow::graph> graph;
    std::deque<Node> nodes;  // nodes do not move
    const std::atomic<bool>* stop = nullptr;
    bool interrupted = false;  // written and read along the chain of nodes only
};

Executor::Executor(std::vector<DeviceSegment> program, std::vector<Backend*> backends, const StepParams& params,
                   std::uint32_t n_threads)
    : graph_(std::make_unique<Graph>(std::move(program), std::move(backends), params, n_threads)) {}

Executor::~Executor() = default;

void Executor::run(const std::atomic<bool>* stop) {
    Graph& graph = *graph_;
    graph.stop = stop;
    graph.interrupted = false;
    graph.arena.execute([&] {
        try {
            graph.nodes.front().try_put(tbb::flow::continue_msg{});
            graph.graph->wait_for_all();
        } catch (...) {
            graph.graph->reset();  // a cancelled graph runs again only after a reset
            throw;
        }
    });
    if (graph.interrupted) throw Error(ErrorCode::kInterrupted, "step", "stopped on request");
}

}  // namespace lfm
