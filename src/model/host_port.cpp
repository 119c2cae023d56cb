#include "model/host_port.h"

#include <fmt/format.h>

namespace beeline::model {

bool HostPort::at(const net::Ip& node_address) const {
    if (node_address.is_v4() ? !v4 : !v6) return false;
    return address.is_zero() || address == node_address;
}

std::string HostPort::to_string() const {
    std::string where = "*";
    if (!address.is_zero()) {
        where = address.is_v4() ? address.to_string() : fmt::format("[{}]", address.to_string());
    } else if (v4 != v6) {
        where = v4 ? "0.0.0.0" : "[::]";
    }
    return fmt::format("{}:{}/{}", where, port, model::to_string(protocol));
}

bool overlap(const HostPort& a, const HostPort& b) {
    if (a.protocol != b.protocol || a.port != b.port) return false;
    if (!((a.v4 && b.v4) || (a.v6 && b.v6))) return false;
    return a.address.is_zero() || b.address.is_zero() || a.address == b.address;
}

} // namespace beeline::model
