// libs: source_kubernetes
// What an API server sends: any bytes become events and objects that keep the model's promises, or an error that can be
// shown; whatever was taken is the same after it was written out and read back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "source/kubernetes/event.h"
#include "source/kubernetes/object_state.h"
#include "source/yaml.h"

using namespace beeline;
using namespace beeline::source;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void check(ObjectState& state, ObjectKind kind, Arrival arrival) {
    require(yaml::invalid_utf8(arrival.problem) == std::string::npos);
    require(arrival.object.has_value() == arrival.problem.empty());
    if (arrival.object) {
        JsonReader reader;
        const auto document = reader.read(to_json(*arrival.object), "again");
        require(document.has_value());
        const auto again = read_manifest(document->root());
        require(again.has_value());
        require(again->kind == kind && again->name == arrival.name);
    }
    state.put(kind, std::move(arrival));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto kind = static_cast<ObjectKind>(data[0] % 6);
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    JsonReader reader;
    ObjectState state;
    LineCutter lines(4096);
    (void)lines.add(text, [&](std::string_view line) {
        auto event = read_event(reader, kind, line);
        if (event && event->type == WatchEvent::Type::put)
            check(state, kind, std::move(event->arrival));
        return true;
    });
    if (auto page = read_page(reader, kind, text)) {
        for (auto& item : page->items)
            check(state, kind, std::move(item));
    }
    if (state.changed()) require(state.publish() != nullptr);
    return 0;
}
