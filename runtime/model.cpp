#include "runtime/model.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/mman.h>
#include <unistd.h>

#include "runtime/random_weights.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22  // Linux 5.14; older headers lack the name
#endif

namespace lfm {

Model Model::load(GgufFile file, const ModelDescription& description, const Plan& plan, Ledger& ledger) {
    Model model(description, plan);
    model.file_ = std::move(file);
    model.data_ = model.file_->data();
    model.weights_.emplace(model.description_, plan, model.data_, ledger);
    model.mapped_ = LedgerEntry(ledger, {kHost, Purpose::kMappedWeights, Bytes{model.data_.size()}});
    return model;
}

Model Model::random(const ModelDescription& description, const Plan& plan, std::uint64_t seed, Ledger& ledger) {
    Model model(description, plan);
    model.own_ = HostBuffer(ledger, Purpose::kWeights, data_section_size(description));
    fill_random(description, model.own_.bytes(), seed);
    model.data_ = model.own_.bytes();
    model.weights_.emplace(model.description_, plan, model.data_, ledger);
    return model;
}

void Model::read_ahead(const LoadProgress& progress) const {
    if (!file_ || file_->mapping() == nullptr) return;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto memory = static_cast<std::size_t>(::sysconf(_SC_AVPHYS_PAGES)) * page;
    // Free memory leaves out pages of files that are already cached, so only a clear excess counts as "would not fit".
    const auto physical = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * page;
    if (data_.size() > memory && data_.size() > physical / 10 * 9) return;
    const auto address = reinterpret_cast<std::uintptr_t>(data_.data());
    const std::uintptr_t begin = address / page * page;
    const std::uintptr_t end = address + data_.size();
    constexpr std::size_t kPiece = std::size_t{64} << 20;
    for (std::uintptr_t at = begin; at < end; at += kPiece) {
        const std::size_t size = std::min<std::size_t>(kPiece, end - at);
        auto* piece = reinterpret_cast<std::byte*>(at);
        if (::madvise(piece, size, MADV_POPULATE_READ) != 0) {
            if (errno != EINVAL) return;  // not readable now: the first use will say so
            ::madvise(piece, size, MADV_WILLNEED);
        }
        if (progress) progress(Bytes{at + size - begin}, Bytes{end - begin});
    }
}

}  // namespace lfm
