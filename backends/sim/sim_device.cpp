#include "backends/sim/sim_device.h"

#include <cstring>
#include <string>
#include <utility>

#include "backends/sim/simulated_device.h"

namespace lfm::sim {

DeviceBlock SimulatedDevice::allocate(MemoryKind kind, Purpose purpose, std::size_t size) {
    const std::lock_guard gate(gate_);
    const auto lock = enter();
    count_allocation(purpose_name(purpose));
    std::byte* address = memory_.allocate(purpose, size);
    return {*this, {address, kind == MemoryKind::kShared ? address : nullptr, size}};
}

ProgramId SimulatedDevice::add_program(std::span<const Operation> operations, const StepParams& params) {
    const std::lock_guard gate(gate_);
    const auto lock = enter();
    expect_idle("a program is recorded");
    const ProgramId program = programs_.record(operations, params);
    try {
        if (programs_.scratch() > scratch_) {
            count_allocation("the scratch of programs");
            memory_.set_scratch(programs_.scratch());
            scratch_ = programs_.scratch();
        }
    } catch (...) {
        programs_.take_back(program);
        throw;
    }
    return program;
}

void SimulatedDevice::forget_program(ProgramId program) noexcept {
    const std::lock_guard gate(gate_);
    std::unique_lock lock(mutex_);
    await_quiet(lock);
    if (!batches_.empty()) {  // it may be among them
        forgotten_.push_back(program);
        return;
    }
    forget(program);
}

void SimulatedDevice::forget(ProgramId program) {
    programs_.forget(program);
    memory_.set_scratch(programs_.scratch());
    scratch_ = programs_.scratch();
}

void SimulatedDevice::upload(std::span<const CopyRegion> regions) {
    const std::lock_guard gate(gate_);
    const auto lock = enter();
    check(regions);
    carry_out(regions);
}

void SimulatedDevice::download(std::span<std::byte> to, const std::byte* from) {
    const std::lock_guard gate(gate_);
    const auto lock = enter();
    check(from, to.size());
    if (!to.empty()) std::memcpy(to.data(), from, to.size());
}

void SimulatedDevice::begin_step() {
    const std::lock_guard gate(gate_);
    const auto lock = enter();
    expect_idle("a step begins");
    for (const ProgramId program : std::exchange(forgotten_, {})) forget(program);
    if (faults_.step()) memory_.shrink_budget(faults_.faults().shrunk_budget);
    finish();
    programs_.begin_step();
    in_step_ = true;
}

std::uint32_t SimulatedDevice::launches(ProgramId program) const {
    const std::lock_guard lock(mutex_);
    if (!programs_.knows(program)) throw misuse("a recorded program", std::to_string(program.value));
    return options_.device.most_launches > 0 ? programs_.launches(program) : 0;
}

Point SimulatedDevice::submit(ProgramId program, std::span<const Point> waits, Watched watched) {
    const auto lock = enter();
    if (!programs_.knows(program)) throw misuse("a recorded program", std::to_string(program.value));
    for (const Point& wait : waits)
        if (wait.timeline == Timeline::kCompute && wait.value > points_.last(Timeline::kCompute).value)
            throw misuse("an earlier point of the compute lane", "a later one");
    Batch& batch = batches_.push();
    batch.program = program;
    batch.watched = watched;
    batch.launches = options_.device.most_launches > 0 ? programs_.launches(program) : 0;
    batch.waits.clear();
    for (const Point& wait : waits)  // those of its own lane come first anyway
        if (wait.timeline != Timeline::kCompute) batch.waits.push_back(wait);
    time_.add_batch(program, waits);
    return points_.enqueue(Timeline::kCompute);
}

void SimulatedDevice::flush() {
    const std::lock_guard gate(gate_);
    auto lock = enter();
    if (n_flushed_ < batches_.size()) batches_[batches_.size() - 1].watched = Watched::kYes;
    while (n_flushed_ < batches_.size()) {
        const std::uint32_t launches = batches_[n_flushed_].launches;
        changed_.wait(
            lock, [&] { return lost_ || n_launches_ == 0 || n_launches_ + launches <= options_.device.most_launches; });
        throw_if_lost(lock);
        n_launches_ += launches;
        ++n_flushed_;
        changed_.notify_all();
    }
}

Point SimulatedDevice::copy(std::span<const CopyRegion> regions, std::span<const Point> waits) {
    const std::lock_guard gate(gate_);
    const auto lock = enter();
    check(regions);
    if (!options_.device.copies_beside_work && !batches_.empty())
        throw misuse("no copies beside work on this device", "a copy within a step");
    std::size_t n_bytes = 0;
    for (const CopyRegion& region : regions) n_bytes += region.size;
    Copy& copy = copies_.push();
    copy.regions.assign(regions.begin(), regions.end());
    copy.waits.assign(waits.begin(), waits.end());
    time_.add_copy(copy_seconds(options_.rates, n_bytes) * faults_.faults().copy_slowdown, waits);
    changed_.notify_all();
    return points_.enqueue(Timeline::kCopy);
}

void SimulatedDevice::signal() {
    const std::lock_guard lock(mutex_);
    if (!lost_) count_call();
    points_.enqueue(Timeline::kHostSignals);
    points_.reach_next(Timeline::kHostSignals);
    changed_.notify_all();
}

void SimulatedDevice::wait(Point point) {
    auto lock = enter();
    changed_.wait(lock, [&] { return lost_ || points_.is_reached(point); });
    throw_if_lost(lock);
    if (!in_step_ && point.timeline == Timeline::kCopy) time_.let_pass(point.value);
}

void SimulatedDevice::host_worked(const HostWork& work) {
    const std::lock_guard lock(mutex_);
    const double operations = work.step != nullptr ? host_time_.seconds(work.operations, *work.step) : 0;
    time_.add_host_work({.after = work.after,
                         .done = work.done,
                         .seconds = operations + work.seconds,
                         .name = work.name,
                         .beside_device = work.beside_device});
}

void SimulatedDevice::finish_step() {
    std::unique_lock lock(mutex_);
    throw_if_lost(lock);
    expect_idle("a step ends");
    finish();
}
void SimulatedDevice::inject(const SimFaults& faults) {
    const std::lock_guard lock(mutex_);
    faults_.replace(faults);
}
void SimulatedDevice::release(const DeviceBlock::Place& place) noexcept {
    std::unique_lock lock(mutex_);
    await_quiet(lock);
    memory_.release(place.address);
}

SimulatedDevice::Lock SimulatedDevice::enter() {
    Lock lock(mutex_);
    throw_if_lost(lock);
    count_call();
    throw_if_lost(lock);
    return lock;
}

Error SimulatedDevice::misuse(std::string_view expected, const std::string& found) const {
    return {ErrorCode::kUsage, where_, "expected " + std::string(expected) + ", found " + found};
}

void SimulatedDevice::expect_idle(std::string_view when) const {
    if (!batches_.empty())
        throw misuse("nothing submitted when " + std::string(when), std::to_string(batches_.size()) + " programs");
}

void SimulatedDevice::count_allocation(std::string_view what) {
    if (faults_.allocation())
        throw Error(ErrorCode::kShortfall, where_,
                    "expected memory for " + std::string(what) + " beside the " + format_bytes(memory_.used()) +
                        " in use, found allocation " + std::to_string(faults_.counts().allocations) +
                        " refused on demand");
}

void SimulatedDevice::check(const std::byte* address, std::size_t size) const {
    if (size > 0 && !memory_.holds(address, size))
        throw misuse("a range within one block of the device", std::to_string(size) + " bytes elsewhere");
}
void SimulatedDevice::check(std::span<const CopyRegion> regions) const {
    for (const CopyRegion& region : regions) check(region.to, region.size);
}

void SimulatedDevice::finish() {
    if (in_step_ || time_.has_work()) time_.finish(points_.reached());
    in_step_ = false;
}

std::unique_ptr<SimDevice> make_sim_device(const SimOptions& options, Ledger& ledger) {
    return std::make_unique<SimulatedDevice>(options, ledger);
}

}  // namespace lfm::sim
