// The tables of the history, and how a file comes to have them.
#pragma once

#include <string>
#include <string_view>

#include "observe/history/database.h"

namespace beeline::observe::history {

// block: flows (codec.h); time_min and time_max find a block by time. entry: what blocks name.
// edge, text, hour_lost: hourly sums (edges.h).
struct Opened {
    Database database;
    std::string damage; // what was set aside and why; empty: nothing
};

// For writing. A file that is damaged, that is not a history or that a newer version wrote is renamed to PATH.damaged (an
// older one of that name goes) and a new one is begun.
Result<Opened> open_history(const std::string& path);
// For damage that is found later, once the database is closed: renames the file, if it is there.
Result<> set_aside(const std::string& path);
std::string damage_text(const std::string& path, std::string_view why);

} // namespace beeline::observe::history
