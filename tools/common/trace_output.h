// --trace FILE: what ran when, for ui.perfetto.dev.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "memory/output_file.h"
#include "runtime/step/trace.h"

namespace lfm::tools {

/// Traces nothing when no file is named.
class TraceOutput {
public:
    /// The file is refused now if it cannot be written. `title`: as "lfm-run MODEL". `files_read`: what it may not
    /// replace.
    TraceOutput(const std::optional<std::string>& file, const std::vector<std::string>& files_read,
                const std::string& title) {
        if (!file) return;
        file_.emplace(*file, files_read);
        constexpr std::size_t kMostEvents = std::size_t{1} << 18;  // 16 MiB: some hundred to some thousand steps
        trace_.emplace(title, kMostEvents);
    }

    /// For SessionOptions; null: nothing is traced.
    Trace* trace() { return trace_ ? &*trace_ : nullptr; }
    std::optional<OutputFile>& file() { return file_; }
    void keep() {
        if (!trace_) return;
        file_->write(trace_->json());
        file_->keep();
    }

private:
    std::optional<OutputFile> file_;
    std::optional<Trace> trace_;
};

}  // namespace lfm::tools
