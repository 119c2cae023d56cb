// What makes a change of several files all or nothing: it is written down as a whole first.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace beeline::source {

// File name -> new text.
using FileTexts = std::vector<std::pair<std::string, std::string_view>>;

// Replaces the files of `folder`, by way of `journal` when there are several. A process that dies in between has changed
// nothing, or replay_journal() completes what it began. After a failure the files are as they were.
Result<> replace_files(const std::string& folder, const std::string& journal,
                       const FileTexts& files);

// At the start, before the folder is read. A journal that is not whole is from a change that had not begun.
Result<> replay_journal(const std::string& folder, const std::string& journal);

} // namespace beeline::source
