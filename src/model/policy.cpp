#include "model/policy.h"

#include <algorithm>

#include <fmt/format.h>

namespace beeline::model {

std::string_view to_string(Direction direction) {
    return direction == Direction::ingress ? "ingress" : "egress";
}

bool CidrBlock::contains(const net::Ip& ip) const {
    return cidr.contains(ip) &&
           std::none_of(except.begin(), except.end(),
                        [&](const net::Prefix& hole) { return hole.contains(ip); });
}

std::string Policy::title() const { return fmt::format("{} {}/{}", kind, space, name); }

std::string rule_title(const Policy& policy, Direction direction, std::size_t index) {
    return fmt::format("{} {}[{}]", policy.title(), to_string(direction), index);
}

} // namespace beeline::model
