// Programs as the backends of real devices keep them: the operations, what replays them, and memory that all share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "backends/device/scratch.h"
#include "backends/device/step_image.h"
#include "memory/error.h"

namespace lfm {

// clang-format off
/// `Backend` derives from this. `Recording` is what replays one program, for steps of one token and for others; `Block`
/// is device memory. `Backend` has, for this class as a friend:
///
///     Recording make_recording();                       // may throw
///     void drop(Recording&) noexcept;
///     void record_both(const std::vector<Operation>&, StepArea&, Recording&);
///     void reserve_scratch(ScratchSizes&, const Operation&);
///     Block take_scratch(std::size_t n_bytes);          // throws Error{kShortfall}, as the next
///     std::unique_ptr<StepArea> take_area(const StepParams&, const StepNeeds&);
///     void recordings_change() noexcept;                // what was derived from recordings is no longer valid
// clang-format on
template <typename Backend, typename StepArea, typename Recording, typename Block, typename Experts>
class RecordedPrograms {
public:
    RecordedPrograms(const RecordedPrograms&) = delete;
    RecordedPrograms& operator=(const RecordedPrograms&) = delete;

    /// As Backend::record. Where shared memory must grow all programs are recorded anew, so nothing may be running.
    /// Throws Error; then the programs before stay as they were.
    ProgramId record(std::span<const Operation> operations, const StepParams& params) {
        const std::uint32_t id = add(operations, params);
        try {
            prepare(id);
        } catch (...) {
            take_out(id);
            throw;
        }
        return {id};
    }

    /// Now, or when `sweep` is called later: work that is under way may still use it. Memory that no other program
    /// needs is given back; scratch with the last program.
    void forget(ProgramId program, bool in_use) noexcept {
        if (in_use)
            forgotten_.push_back(program.value);
        else
            take_out(program.value);
    }
    /// Forgets what was forgotten while in use. Nothing may be running.
    void sweep() noexcept {
        for (const std::uint32_t id : std::exchange(forgotten_, {})) take_out(id);
    }

    std::size_t size() const { return programs_.size(); }
    /// visit(operations) for each program.
    template <typename Visit>
    void for_each_program(const Visit& visit) const {
        for (const auto& program : programs_)
            if (program) visit(program->operations);
    }

protected:
    struct Program {
        std::vector<Operation> operations;
        std::size_t area = 0;  // of areas_
        Recording recording;
    };
    struct Area {
        const StepParams* params = nullptr;  // null: not used
        std::unique_ptr<StepArea> step;      // null: not taken yet
    };

    RecordedPrograms(const BackendLimits& limits, Experts experts)
        : limits_(limits), scratch_sizes_(limits), experts_(std::move(experts)) {}
    ~RecordedPrograms() = default;

    /// Throws Error{kUsage} for an unknown program, Error{kShortfall} when there is no memory for the programs.
    const Program& find(ProgramId program) const {
        if (program.value >= programs_.size() || !programs_[program.value])
            throw Error(ErrorCode::kUsage, "submit",
                        "expected a recorded program, found " + std::to_string(program.value) + " of " +
                            std::to_string(programs_.size()));
        if (!recorded_)
            throw Error(ErrorCode::kShortfall, "submit", "expected memory for the programs, found none left");
        return *programs_[program.value];
    }
    StepArea& area_of(const Program& program) const { return *areas_[program.area].step; }
    const BackendLimits& limits() const { return limits_; }
    const ScratchSizes& scratch_sizes() const { return scratch_sizes_; }
    const Block& scratch() const { return scratch_; }
    Experts& experts() { return experts_; }
    const Experts& experts() const { return experts_; }

    template <typename Visit>
    void for_each_area(const Visit& visit) const {
        for (const Area& area : areas_)
            if (area.step != nullptr) visit(*area.step);
    }
    /// Before the backend's own parts go.
    void drop_all() noexcept {
        for (auto& program : programs_)
            if (program) backend().drop(program->recording);
        programs_.clear();
    }

private:
    Backend& backend() { return static_cast<Backend&>(*this); }

    std::uint32_t add(std::span<const Operation> operations, const StepParams& params) {
        Program program{.operations = {operations.begin(), operations.end()}, .recording = backend().make_recording()};
        auto area = std::ranges::find(areas_, &params, &Area::params);
        if (area == areas_.end()) area = std::ranges::find(areas_, nullptr, &Area::params);
        if (area == areas_.end()) area = areas_.emplace(areas_.end());
        area->params = &params;
        program.area = static_cast<std::size_t>(area - areas_.begin());
        const auto place =
            std::ranges::find_if(programs_, [](const std::optional<Program>& each) { return !each.has_value(); });
        const auto id = static_cast<std::uint32_t>(place - programs_.begin());
        if (place == programs_.end())
            programs_.emplace_back(std::move(program));
        else
            place->emplace(std::move(program));
        return id;
    }

    void take_out(std::uint32_t id) noexcept {
        backend().drop(programs_[id]->recording);
        programs_[id].reset();
        while (!programs_.empty() && !programs_.back()) programs_.pop_back();
        backend().recordings_change();
        release_unused();
        if (recorded_ || programs_.empty()) return;
        try {
            prepare(static_cast<std::uint32_t>(programs_.size() - 1));
        } catch (...) {
            // Stays unrecorded: find() says so, and the next record tries again.
        }
    }

    void release_unused() noexcept {
        for (std::size_t i = 0; i < areas_.size(); ++i)
            if (std::ranges::none_of(programs_, [&](const auto& each) { return each && each->area == i; }))
                areas_[i] = Area{};
        experts_.keep_only([&](const ExpertTable* table) {
            return std::ranges::any_of(programs_, [&](const auto& each) {
                return each && std::ranges::any_of(each->operations, [&](const Operation& operation) {
                           return Experts::table_of(operation) == table;
                       });
            });
        });
        if (!programs_.empty()) return;
        const Block old = std::exchange(scratch_, Block());
        scratch_sizes_ = ScratchSizes(limits_);
        recorded_ = true;
    }

    /// Records the new program; all of them where memory they share has to be taken anew.
    void prepare(std::uint32_t id) {
        ScratchSizes scratch(limits_);
        std::vector<StepNeeds> needs(areas_.size());
        for (const auto& program : programs_) {
            if (!program) continue;
            for (const Operation& operation : program->operations) {
                backend().reserve_scratch(scratch, operation);
                needs[program->area].include(operation);
                experts_.include(operation);
            }
        }
        bool fits = recorded_ && scratch.within(scratch_sizes_);
        for (std::size_t i = 0; i < areas_.size(); ++i)
            if (areas_[i].params != nullptr)
                fits = fits && areas_[i].step != nullptr && areas_[i].step->holds(needs[i]);
        if (fits) return record_one(*programs_[id]);
        recorded_ = false;
        take_memory(scratch, needs);
        for (auto& program : programs_)
            if (program) record_one(*program);
        recorded_ = true;
    }

    void record_one(Program& program) {
        backend().record_both(program.operations, area_of(program), program.recording);
    }

    /// What was too small goes before the larger is taken, so that both never count at once.
    void take_memory(const ScratchSizes& scratch, std::span<const StepNeeds> needs) {
        backend().recordings_change();
        const bool regrow = !scratch.within(scratch_sizes_) || scratch_.size() < scratch_sizes_.total();
        if (regrow) {
            const Block old = std::exchange(scratch_, Block());
            scratch_sizes_ = ScratchSizes(limits_);
        }
        for (std::size_t i = 0; i < areas_.size(); ++i)
            if (areas_[i].step != nullptr && !areas_[i].step->holds(needs[i])) areas_[i].step.reset();
        if (regrow && scratch.total() > 0) scratch_ = backend().take_scratch(scratch.total());
        if (regrow) scratch_sizes_ = scratch;
        for (std::size_t i = 0; i < areas_.size(); ++i)
            if (areas_[i].params != nullptr && areas_[i].step == nullptr)
                areas_[i].step = backend().take_area(*areas_[i].params, needs[i]);
    }

    BackendLimits limits_;
    ScratchSizes scratch_sizes_;
    Block scratch_;
    std::vector<Area> areas_;  // one for each StepParams
    Experts experts_;
    std::vector<std::optional<Program>> programs_;
    std::vector<std::uint32_t> forgotten_;  // while in use
    bool recorded_ = true;                  // false: memory could not be taken, so the recordings name none
};

}  // namespace lfm
