#include "runtime/tensors/model.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/mman.h>
#include <unistd.h>

#include "memory/error.h"
#include "runtime/tensors/random_weights.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21  // Linux 5.4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22  // Linux 5.14; older headers lack the name
#endif

namespace lfm {
namespace {

/// Whole pages only. Returns the number of bytes given back.
Bytes give_back_pages(const std::byte* from, std::size_t size) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = (reinterpret_cast<std::uintptr_t>(from) + page - 1) / page * page;
    const auto end = (reinterpret_cast<std::uintptr_t>(from) + size) / page * page;
    if (begin >= end) return {};
    // MADV_PAGEOUT takes clean pages of a file out of the page cache too; MADV_DONTNEED only out of this process.
    auto* address = reinterpret_cast<void*>(begin);
    if (::madvise(address, end - begin, MADV_PAGEOUT) != 0 && ::madvise(address, end - begin, MADV_DONTNEED) != 0)
        return {};
    return {end - begin};
}

/// Throws unless the file has every tensor where the description says.
void require_described(const GgufFile& file, const ModelDescription& description) {
    for (const TensorRef* tensor : all_tensors(description)) {
        const GgufTensor* found = file.find_tensor(tensor->name);
        if (found == nullptr || found->type != tensor->type || found->dims != tensor->dims ||
            found->offset != tensor->offset)
            throw Error(ErrorCode::kInvalidModel, file.name() + ": " + tensor->name,
                        "expected the tensor as when the file was first opened, found " +
                            std::string(found == nullptr ? "none" : "another"));
    }
}

/// The first tensor with bytes at `offset` or after it.
const TensorRef* tensor_from(const ModelDescription& description, std::uint64_t offset) {
    const TensorRef* first = nullptr;
    for (const TensorRef* tensor : all_tensors(description))
        if (tensor->offset + tensor->bytes.value > offset && (first == nullptr || tensor->offset < first->offset))
            first = tensor;
    return first;
}

}  // namespace

Model::Model(const ModelDescription& description, const Plan& plan, Device* device)
    : description_(description), plan_(plan), device_(plan.uses_device() ? device : nullptr) {
    if (plan.uses_device() && device == nullptr)
        throw Error(ErrorCode::kUsage, "plan",
                    "expected a device (" + plan.machine.device_backend + ") for what it puts there, found none");
}

Model Model::load(GgufFile file, const ModelDescription& description, const Plan& plan, Ledger& ledger,
                  const DeviceLoad& to) {
    require_described(file, description);
    Model model(description, plan, to.device);
    model.file_ = std::move(file);
    model.data_ = model.file_->data();
    model.weights_.emplace(model.description_, plan, model.data_, ledger, model.device_);
    model.upload(to);
    if (const auto error = model.file_error()) throw *error;
    const Bytes dropped = model.drop_uploaded();
    model.mapped_ = LedgerEntry(ledger, {kHost, Purpose::kMappedWeights, Bytes{model.data_.size() - dropped.value}});
    return model;
}

Model Model::random(const ModelDescription& description, const Plan& plan, std::uint64_t seed, Ledger& ledger,
                    const DeviceLoad& to) {
    Model model(description, plan, to.device);
    model.own_ = HostBuffer(ledger, Purpose::kWeights, data_section_size(description));
    fill_random(description, model.own_.bytes(), seed);
    model.data_ = model.own_.bytes();
    model.weights_.emplace(model.description_, plan, model.data_, ledger, model.device_);
    model.upload(to);
    return model;
}

Model Model::absent(const ModelDescription& description, const Plan& plan, Ledger& ledger, const DeviceLoad& to) {
    Model model(description, plan, to.device);
    model.own_ = HostBuffer(ledger, Purpose::kWeights, data_section_size(description));
    model.data_ = model.own_.bytes();
    model.weights_.emplace(model.description_, plan, model.data_, ledger, model.device_);
    return model;
}

void Model::upload(const DeviceLoad& to) {
    if (device_ != nullptr) uploaded_ = lfm::upload(*device_, weights_->uploads(), to.n_threads, to.progress);
}

/// Gives back the file's pages of what was copied to the device. A hint to the system, which may keep them cached.
Bytes Model::drop_uploaded() const {
    Bytes dropped;
    if (device_ == nullptr) return dropped;
    for (const CopyRegion& region : weights_->uploads()) {
        const bool of_file = region.from >= data_.data() && region.from < data_.data() + data_.size();
        // A tied table may serve the host as embedding and the device as output.
        if (!of_file || region.from == weights_->token_embd().data) continue;
        dropped += give_back_pages(region.from, region.size);
    }
    return dropped;
}

/// The parts of the data that the device does not hold, in order.
std::vector<std::span<const std::byte>> Model::on_host() const {
    std::vector<std::span<const std::byte>> moved, parts;
    for (const CopyRegion& region : weights_->uploads())
        if (region.from >= data_.data() && region.from < data_.data() + data_.size() &&
            region.from != weights_->token_embd().data)
            moved.emplace_back(region.from, region.size);
    std::ranges::sort(moved, {}, [](std::span<const std::byte> part) { return part.data(); });
    const std::byte* at = data_.data();
    for (const std::span<const std::byte> part : moved) {
        if (part.data() > at) parts.emplace_back(at, part.data());
        at = std::max(at, part.data() + part.size());
    }
    if (at < data_.data() + data_.size()) parts.emplace_back(at, data_.data() + data_.size());
    return parts;
}

std::optional<Error> Model::file_error() const {
    if (!file_ || file_->mapping() == nullptr) return std::nullopt;
    std::optional<FileChange> change = file_->mapping()->change();
    if (!change) return std::nullopt;
    std::string where = file_->name();
    if (change->offset) {
        const auto before = static_cast<std::size_t>(data_.data() - file_->mapping()->bytes().data());
        const std::size_t offset = *change->offset - std::min(*change->offset, before);
        if (const TensorRef* tensor = tensor_from(description_, offset)) {
            where += ": " + tensor->name;
            change->offset = before + std::max<std::size_t>(offset, tensor->offset);
        }
    }
    return Error(ErrorCode::kInvalidModel, where, change->message());
}

void Model::read_ahead(const LoadProgress& progress) const {
    if (!file_ || file_->mapping() == nullptr) return;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto memory = static_cast<std::size_t>(::sysconf(_SC_AVPHYS_PAGES)) * page;
    // Free memory leaves out pages of files that are already cached, so only a clear excess counts as "would not fit".
    const auto physical = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * page;
    const std::vector<std::span<const std::byte>> parts = on_host();
    std::size_t total = 0, done = 0;
    for (const std::span<const std::byte> part : parts) total += part.size();
    if (total > memory && total > physical / 10 * 9) return;
    constexpr std::size_t kPiece = std::size_t{64} << 20;
    for (const std::span<const std::byte> part : parts) {
        const auto address = reinterpret_cast<std::uintptr_t>(part.data());
        const std::uintptr_t end = address + part.size();
        for (std::uintptr_t at = address / page * page; at < end; at += kPiece) {
            const std::size_t size = std::min<std::size_t>(kPiece, end - at);
            auto* piece = reinterpret_cast<std::byte*>(at);
            if (::madvise(piece, size, MADV_POPULATE_READ) != 0) {
                if (errno != EINVAL) return;  // not readable now: the first use will say so
                ::madvise(piece, size, MADV_WILLNEED);
            }
            done = std::min(total, done + size);
            if (progress) progress(Bytes{done}, Bytes{total});
        }
    }
}

}  // namespace lfm
