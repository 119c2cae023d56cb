#include "agent/config_metrics.h"

#include <charconv>

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

bool is_listen_address(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return false;
    std::uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
    if (error != std::errc{} || stop != end || port == 0) return false;
    std::string host = text.substr(0, colon);
    if (host.empty()) return true;
    const bool brackets = host.front() == '[' && host.back() == ']';
    if (brackets) host = host.substr(1, host.size() - 2);
    const auto ip = net::Ip::parse(host);
    return ip && ip->is_v4() != brackets;
}

} // namespace

Result<> read_metrics(const yaml::Map& root, observe::metrics::Options& options) {
    const auto map = TRY(root.map("metrics", {"listen", "hubble", "series", "programStats"}));
    if (!map) return {};
    options.listen = TRY(map->string_or("listen", options.listen));
    if (options.listen == "none") options.listen.clear();
    if (!options.listen.empty() && !is_listen_address(options.listen))
        return map->fail_of("listen", "expected ADDRESS:PORT, :PORT for all addresses, or none");
    if (map->find("hubble")) {
        auto parsed = observe::metrics::parse_enabled(TRY(map->strings("hubble")));
        if (!parsed) return map->node().failure_of("hubble", parsed.error().message);
        options.hubble = std::move(*parsed);
    }
    options.series = static_cast<std::size_t>(
        TRY(map->integer_or("series", 1, 1'000'000, static_cast<std::int64_t>(options.series))));
    options.program_stats = TRY(map->boolean_or("programStats", options.program_stats));
    return {};
}

} // namespace beeline::agent
