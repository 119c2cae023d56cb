// Whole files, read and replaced at once.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace beeline {

// not_found when there is no such file; `exhausted` when it is larger than `most` bytes.
Result<std::string> read_file(const std::string& path, std::size_t most = 256U << 20);

enum class Durable { no, yes };
// Readers, and a start after a crash of the process, see the old content or the new one, never a part. With
// Durable::yes the same holds for a crash of the machine, and the new content is on disk when this returns.
Result<> replace_file(const std::string& path, std::string_view content,
                      Durable durable = Durable::yes);

// Makes the folder and its parents, mode 0755.
Result<> make_folder(const std::string& path);

} // namespace beeline
