#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <vector>

#include "backends/cpu/operations/context.h"
#include "memory/error.h"
#include "memory/host_buffer.h"

namespace lfm::cpu {
namespace {

/// The largest sizes among the recorded operations.
struct ScratchSizes {
    std::size_t input_cols = 0;
    std::size_t n_expert = 0;
    std::size_t n_expert_used = 0;
    std::size_t n_ff = 0;
    std::size_t n_embd = 0;

    void include(const MatmulArgs& args) { input_cols = std::max<std::size_t>(input_cols, args.x.n_cols); }
    void include(const RouteArgs& args) {
        n_expert = std::max<std::size_t>(n_expert, args.router.n_out);
        input_cols = std::max<std::size_t>(input_cols, args.x.n_cols);
    }
    void include(const ExpertFfnArgs& args) {
        input_cols = std::max<std::size_t>(input_cols, args.x.n_cols);
        n_expert = std::max<std::size_t>(n_expert, args.experts->n_expert());
        n_expert_used = std::max<std::size_t>(n_expert_used, args.n_expert_used);
        n_ff = std::max<std::size_t>(n_ff, args.n_ff);
        n_embd = std::max<std::size_t>(n_embd, args.x.n_cols);
    }
    template <typename Other>
    void include(const Other&) {}

    bool operator==(const ScratchSizes&) const = default;
};

Scratch carve(Carver& carver, const ScratchSizes& sizes, std::size_t n_batch) {
    const std::size_t n_pairs = n_batch * sizes.n_expert_used;
    Scratch scratch{};
    scratch.input = carver.take<ActivationBlock>(n_batch * activation_stride(sizes.input_cols));
    scratch.router_logits = carver.take<float>(n_batch * sizes.n_expert);
    scratch.token_of = carver.take<std::uint32_t>(n_pairs);
    scratch.row_of = carver.take<std::uint32_t>(n_pairs);
    scratch.expert_begin = carver.take<std::uint32_t>(sizes.n_expert + 1);
    scratch.active = carver.take<std::uint32_t>(sizes.n_expert);
    scratch.gate = carver.take<float>(n_pairs * sizes.n_ff);
    scratch.up = carver.take<float>(n_pairs * sizes.n_ff);
    scratch.hidden = carver.take<ActivationBlock>(n_pairs * activation_stride(sizes.n_ff));
    scratch.expert_out = carver.take<float>(n_pairs * sizes.n_embd);
    return scratch;
}

class CpuBackend final : public Backend {
public:
    CpuBackend(const CpuOptions& options, Ledger& ledger)
        : kernels_(options.kernels != nullptr ? *options.kernels : best_kernels()),
          team_(options.n_threads),
          n_batch_(options.limits.n_batch),
          self_(options.self),
          ledger_(ledger) {}

    std::string_view name() const override { return kernels_.name; }

    bool supports(DType weight_type) const override { return kernels_.matmul_for(weight_type).run != nullptr; }

    ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override {
        ScratchSizes sizes = sizes_;
        for (const Operation& operation : operations) {
            check(operation);
            std::visit([&](const auto& args) { sizes.include(args); }, operation);
        }
        if (sizes != sizes_) grow(sizes);
        const auto place = std::ranges::find(programs_, nullptr, &Recorded::params);
        const auto id = static_cast<std::uint32_t>(place - programs_.begin());
        if (place == programs_.end()) programs_.emplace_back();
        programs_[id] = {{operations.begin(), operations.end()}, &params};
        return {id};
    }

    void forget_program(ProgramId program) noexcept override {
        programs_[program.value] = {};
        if (std::ranges::any_of(programs_, [](const Recorded& each) { return each.params != nullptr; })) return;
        programs_.clear();
        buffer_ = HostBuffer();
        sizes_ = {};
    }

    void submit(ProgramId program) override {
        const Recorded& recorded = programs_[program.value];
        const Context context{kernels_, team_, scratch_, *recorded.params, self_};
        team_.assemble([&] {
            for (const Operation& operation : recorded.operations)
                std::visit([&](const auto& args) { run(context, args); }, operation);
        });
    }

    void wait() override {}  // submit has done the work

private:
    struct Recorded {
        std::vector<Operation> operations;
        const StepParams* params = nullptr;  // null: forgotten
    };

    void check(const Operation& operation) const {
        const auto* matmul = std::get_if<MatmulArgs>(&operation);
        if (matmul == nullptr) return;
        for (const MatmulOutput& output : std::span(matmul->outputs).first(matmul->n_outputs))
            if (!supports(output.weight.type))
                throw Error(
                    ErrorCode::kUnsupportedModel, std::string(name()),
                    "expected a weight type with a kernel, found " + std::string(dtype_name(output.weight.type)));
    }

    void grow(const ScratchSizes& sizes) {
        Carver measuring;
        carve(measuring, sizes, n_batch_);
        {
            const HostBuffer released = std::move(buffer_);  // before taking the larger one
        }
        buffer_ = HostBuffer(ledger_, Purpose::kScratch, measuring.used());
        Carver carver(buffer_.bytes());
        scratch_ = carve(carver, sizes, n_batch_);
        sizes_ = sizes;
    }

    const Kernels& kernels_;
    Team team_;
    std::size_t n_batch_;
    DeviceId self_;
    Ledger& ledger_;
    ScratchSizes sizes_;
    HostBuffer buffer_;
    Scratch scratch_{};
    std::vector<Recorded> programs_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options, Ledger& ledger) {
    return std::make_unique<CpuBackend>(options, ledger);
}

}  // namespace lfm::cpu
