#include "api/hubble/options.h"

#include "net/address.h"

namespace beeline::hubble {

Result<std::string> listen_address(const std::string& text, unsigned port) {
    if (text.empty()) return fail(Code::invalid, "expected HOST:PORT or :PORT");
    if (net::Ip::parse(text)) {
        return text.find(':') == std::string::npos ? fmt::format("{}:{}", text, port)
                                                   : fmt::format("[{}]:{}", text, port);
    }
    if (text.front() == ':') return listen_address("[::]" + text, port);
    const auto colon = text.rfind(':');
    const bool has_port = colon != std::string::npos && text.find(']', colon) == std::string::npos;
    if (!has_port) return fmt::format("{}:{}", text, port);
    const std::string digits = text.substr(colon + 1);
    if (digits.empty() || digits.size() > 5 ||
        digits.find_first_not_of("0123456789") != std::string::npos || std::stoul(digits) > 65535)
        return fail(Code::invalid, "'{}' has no port from 0 to 65535", text);
    return text;
}

bool is_loopback(const std::string& address) {
    std::string host = address.substr(0, address.rfind(':'));
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    if (host == "localhost") return true;
    const auto ip = net::Ip::parse(host);
    if (!ip) return false;
    return ip->is_v4() ? ip->bytes[12] == 127 : *ip == net::Ip::parse("::1").value();
}

} // namespace beeline::hubble
