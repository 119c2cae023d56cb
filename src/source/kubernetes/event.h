// What an API server sends on a watch: one JSON object a line. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "source/json.h"
#include "source/manifest.h"
#include "source/object_json.h"

namespace beeline::source {

// An object that arrived. Without `object` it is not one that can be taken, and `problem` says why.
struct Arrival {
    model::ObjectName name;
    std::optional<Object> object;
    std::string problem;
};

struct WatchEvent {
    enum class Type : std::uint8_t { put, erase, bookmark, error };
    Type type = Type::error;
    Arrival arrival;        // of put; of erase only its name
    std::string version;    // resourceVersion: where a watch goes on
    bool list_ends = false; // bookmark: all objects that were there have been sent
    long code = 0;          // error: HTTP's, 410 means "list again"
    std::string problem;    // error
};

// Fails for a line that is no event at all.
Result<WatchEvent> read_event(JsonReader& reader, ObjectKind kind, std::string_view line);

struct ListPage {
    std::vector<Arrival> items;
    std::string version;
    std::string next; // token of the next page; empty: this was the last
};
Result<ListPage> read_page(JsonReader& reader, ObjectKind kind, std::string_view text);

// Cuts a stream into lines; refuses a line that is longer than `most`.
class LineCutter {
public:
    explicit LineCutter(std::size_t most) : most_(most) {}
    // Calls line(text) for every line that is whole; false when one is too long, or line() said false.
    template <typename F>
    bool add(std::string_view bytes, F line) {
        for (;;) {
            const auto end = bytes.find('\n');
            if (end == std::string_view::npos) {
                if (rest_.size() + bytes.size() > most_) return false;
                rest_ += bytes;
                return true;
            }
            const auto part = bytes.substr(0, end);
            bytes.remove_prefix(end + 1);
            if (rest_.size() + part.size() > most_) return false;
            bool more = true;
            if (rest_.empty()) {
                more = part.empty() || line(part);
            } else {
                rest_ += part;
                more = line(std::string_view(rest_));
                rest_.clear();
            }
            if (!more) return false;
        }
    }

private:
    std::size_t most_;
    std::string rest_;
};

} // namespace beeline::source
