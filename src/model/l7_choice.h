// Of which workloads the application protocols are read, and which protocols.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "model/l7.h"
#include "model/labels.h"

namespace beeline::model {

// A bit for each L7::Protocol.
using L7Protocols = std::uint32_t;

constexpr L7Protocols l7_bit(L7::Protocol protocol) {
    return L7Protocols{1} << static_cast<unsigned>(protocol);
}
inline constexpr L7Protocols kAllL7 =
    (L7Protocols{1} << static_cast<unsigned>(L7::Protocol::count)) - 1;

// On a pod: "true", "false", or names of protocols with commas between them. It decides over everything else.
inline constexpr std::string_view kL7Annotation = "beeline.io/l7";

// "true", "false" or "http,dns". "http" stands for HTTP of every version, gRPC included.
Result<L7Protocols> parse_l7_protocols(std::string_view text);

struct L7Choice {
    enum class Mode : std::uint8_t {
        off,
        annotation, // pods that ask for it, and those that `selector` matches
        all,        // every workload that does not refuse it
    };
    Mode mode = Mode::annotation;
    std::optional<LabelSelector> selector;
    L7Protocols protocols = kAllL7; // of workloads whose annotation names none

    // What is read of a workload; 0: nothing. `annotation`: what its pod's says, if it has one.
    [[nodiscard]] L7Protocols of(const Labels& labels, std::optional<L7Protocols> annotation) const;
};

} // namespace beeline::model
