// Flows as lines of JSON in a file, with older files beside it.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "api/export/exporter.h"
#include "api/export/options.h"
#include "api/export/selection.h"
#include "base/fd.h"
#include "base/result.h"
#include "observe/store.h"

namespace beeline::exporting {

// FILE is written, FILE.1 is the last one before, FILE.2 older; compressed ones end in .gz. One thread.
class RotatingFile {
public:
    explicit RotatingFile(const FileOptions& options) : options_(options) {}

    // Lines, each with its end. A new file begins before them when the current one is full or too old.
    Result<> write(std::string_view lines);
    // Ends a file that is too old, if it has anything in it.
    Result<> tick();

private:
    Result<> open();
    Result<> rotate();
    [[nodiscard]] bool too_old() const;
    [[nodiscard]] std::string older(unsigned number, bool compressed) const;

    FileOptions options_;
    Fd fd_;
    std::uint64_t size_ = 0;
    std::chrono::steady_clock::time_point opened_;
};

Result<std::unique_ptr<Exporter>> start_file(const FileOptions& options, hubble::Origin origin,
                                             const observe::Store& store);

} // namespace beeline::exporting
