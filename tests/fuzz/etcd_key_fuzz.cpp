// libs: beeline_source
// Keys of etcd: each means one object or is an error that can be shown; what was understood makes the same key again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "source/object_key.h"

using namespace beeline;
using namespace beeline::source;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view kPrefix = "/b";
    // The first line is the key, the rest its value.
    const auto key = parse_key(kPrefix, text.substr(0, text.find('\n')));
    if (!key) {
        const auto& message = key.error().message;
        require(yaml::invalid_utf8(message) == std::string::npos);
        require(
            std::none_of(message.begin(), message.end(), [](char c) { return c >= 0 && c < ' '; }));
        return 0;
    }
    require(has_namespace(key->kind) != key->name.space.empty());
    const auto again = key->node.empty() ? object_key(kPrefix, key->kind, key->name)
                                         : workload_key(kPrefix, key->node, key->name);
    require(again == text.substr(0, text.find('\n')));
    if (text.find('\n') == std::string_view::npos) return 0;
    const yaml::Limits limits{.bytes = 1U << 14, .depth = 32, .values = 5'000};
    const auto value = read_value(*key, text.substr(text.find('\n') + 1), "key", limits);
    if (value) require(value->kind == key->kind && value->name == key->name);
    return 0;
}
