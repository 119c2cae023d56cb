// A .tar.gz that is written file by file.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace beeline::cli {

class Archive {
public:
    // The file must not exist; only its owner may read it.
    static Result<Archive> create(const std::string& path);

    // `name` is relative, of at most 255 bytes, and needs a '/' within its last 100 bytes when it is longer than those.
    Result<> add(const std::string& name, std::string_view content);
    // The end of the archive: what was not finished is no archive.
    Result<> finish();

private:
    struct Close {
        void operator()(void* file) const;
    };
    explicit Archive(void* file, std::time_t now) : file_(file), now_(now) {}
    Result<> write(std::string_view bytes);

    std::unique_ptr<void, Close> file_; // zlib's
    std::time_t now_;
};

// The 512 bytes before a file in a tar archive (POSIX ustar).
Result<std::string> tar_header(const std::string& name, std::uint64_t size, std::time_t when);

} // namespace beeline::cli
