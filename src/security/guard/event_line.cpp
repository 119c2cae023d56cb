#include "security/guard/event_line.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "net/address.h"
#include "security/events/process.h"

namespace beeline::security {
namespace {

using nlohmann::ordered_json;

std::string time_text(std::int64_t time_ns) {
    const time_t seconds = time_ns / 1'000'000'000;
    tm utc{};
    gmtime_r(&seconds, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    return fmt::format("{}.{:09}Z", text, time_ns % 1'000'000'000);
}

ordered_json process_json(const Process& process) {
    ordered_json out{{"pid", process.key.pid}, {"name", process.name}};
    if (!process.image->exepath.empty()) out["exepath"] = process.image->exepath;
    if (!process.cmdline.empty()) out["cmdline"] = process.cmdline;
    out["uid"] = process.uid;
    if (process.parent != nullptr) {
        out["parent"] = {{"pid", process.parent->key.pid}, {"name", process.parent->name}};
    }
    return out;
}

std::string end_text(const bl_addr& address, __be16 port) {
    net::Ip ip;
    std::memcpy(ip.bytes.data(), address.byte, sizeof address.byte);
    const auto number = ntohs(port);
    return ip.is_v4() ? fmt::format("{}:{}", ip.to_string(), number)
                      : fmt::format("[{}]:{}", ip.to_string(), number);
}

bool is_zero(const bl_addr& address) { return (address.half[0] | address.half[1]) == 0; }

ordered_json socket_json(const bl_event_sock& socket) {
    ordered_json out{{"family", socket.family == AF_INET    ? "ipv4"
                                : socket.family == AF_INET6 ? "ipv6"
                                : socket.family == AF_UNIX  ? "unix"
                                                            : fmt::format("{}", socket.family)},
                     {"protocol", socket.protocol}};
    if (!is_zero(socket.local) || socket.local_port != 0)
        out["local"] = end_text(socket.local, socket.local_port);
    if (!is_zero(socket.remote) || socket.remote_port != 0)
        out["remote"] = end_text(socket.remote, socket.remote_port);
    return out;
}

ordered_json flag_names(std::uint16_t flags) {
    ordered_json out = ordered_json::array();
    const auto add = [&](std::uint16_t flag, const char* name) {
        if ((flags & flag) != 0) out.push_back(name);
    };
    add(BL_EVENT_COMPAT, "compat");
    add(BL_EVENT_URING, "io_uring");
    add(BL_EVENT_TRUNCATED, "truncated");
    add(BL_EVENT_TAMPERED, "tampered");
    add(BL_EVENT_UNREAD, "unread");
    return out;
}

} // namespace

std::string event_line(const Event& event) {
    ordered_json out{{"time", time_text(event.time_ns)},
                     {"number", event.number},
                     {"type", kind_name(event.head.kind)}};
    const auto result = event.head.result;
    if (event.head.kind == BL_EVENT_procexit) {
        out["exit_code"] = result;
    } else {
        out["result"] = result;
        if (result < 0 && result > -4096) {
            const char* name = strerrorname_np(static_cast<int>(-result));
            if (name != nullptr) out["error"] = name;
        }
    }
    out["process"] = process_json(*event.process);
    out["tid"] = event.head.tid;
    if (event.task == nullptr && event.head.kind != BL_EVENT_procexit &&
        event.head.kind != BL_EVENT_flow) {
        ordered_json numbers = ordered_json::array();
        for (const auto number : event.head.num)
            numbers.push_back(number);
        out["arguments"] = std::move(numbers);
    }
    constexpr std::pair<unsigned, const char*> kTexts[] = {
        {BL_STR_PATH, "path"}, {BL_STR_RESOLVED, "resolved"}, {BL_STR_BASE, "base"}};
    for (const auto& [string, name] : kTexts) {
        if (event.has(string)) out[name] = event.text[string];
    }
    if (event.has(BL_STR_PATH2) && event.task == nullptr) out["path2"] = event.text[BL_STR_PATH2];
    if (event.socket != nullptr) out["socket"] = socket_json(*event.socket);
    if (auto flags = flag_names(event.head.flags); !flags.empty()) out["flags"] = std::move(flags);
    if (event.process->container) out["container"] = event.process->container->id;
    if (!event.process->workload.empty()) out["workload"] = event.process->workload;
    return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

} // namespace beeline::security
