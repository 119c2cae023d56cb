#include "cli/sysdump.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include <yaml-cpp/yaml.h>

#include "base/file.h"
#include "cli/connectivity/socket.h"
#include "cli/json_view.h"
#include "cli/runtime_files.h"
#include "cli/sysdump/command.h"
#include "cli/sysdump/programs.h"
#include "cli/sysdump/redact.h"
#include "net/netlink.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr std::size_t kMostFile = 8U << 20;    // of one file, cut behind
constexpr std::size_t kMostLog = 4U << 20;     // of a log, the end of it
constexpr std::size_t kMostTotal = 128U << 20; // before compression
constexpr auto kToolWait = 10s;

std::string dump(const json& document) {
    return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// A YAML document as JSON, so that members can be told from values.
json to_document(const YAML::Node& node, int depth = 0) {
    if (depth > 64) return nullptr;
    if (node.IsMap()) {
        json object = json::object();
        for (const auto& entry : node)
            object[entry.first.IsScalar() ? entry.first.Scalar() : std::string("?")] =
                to_document(entry.second, depth + 1);
        return object;
    }
    if (node.IsSequence()) {
        json array = json::array();
        for (const auto& entry : node)
            array.push_back(to_document(entry, depth + 1));
        return array;
    }
    return node.IsScalar() ? json(node.Scalar()) : json(nullptr);
}

Result<json> read_yaml(const std::string& path) {
    const auto text = TRY(read_file(path, kMostFile));
    try {
        return to_document(YAML::Load(text));
    } catch (const YAML::Exception& error) {
        // Without its structure nobody can tell what is secret in it.
        return fail(Code::invalid, "{} is no YAML, and left out: {}", path, error.what());
    }
}

Result<std::string> tail_of(const std::string& path, std::size_t most) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return fail_errno(errno, path);
    const auto size = ::lseek(fd.get(), 0, SEEK_END);
    if (size < 0) return fail_errno(errno, path);
    const auto from = static_cast<std::size_t>(size) > most ? size - static_cast<off_t>(most) : 0;
    std::string text(static_cast<std::size_t>(size - from), '\0');
    const auto got = ::pread(fd.get(), text.data(), text.size(), from);
    if (got < 0) return fail_errno(errno, path);
    text.resize(static_cast<std::size_t>(got));
    return text;
}

// The metrics page of an endpoint like "127.0.0.1:9965".
Result<std::string> get_page(const std::string& listen, std::string_view path) {
    const auto colon = listen.rfind(':');
    if (colon == std::string::npos) return fail(Code::not_found, "no metrics endpoint");
    auto host = listen.substr(0, colon);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    auto address = TRY(net::Ip::parse(host.empty() ? "127.0.0.1" : host));
    if (address == net::Ip::v4(0)) address = net::Ip::v4(0x7f000001);
    const auto port = std::strtoul(listen.c_str() + colon + 1, nullptr, 10);
    const auto target = socket_address(address, static_cast<std::uint16_t>(port));
    const Fd fd(::socket(target.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval wait{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (::connect(fd.get(), target.get(), target.length) != 0)
        return fail_errno(errno, "connect to " + listen);
    const auto request = fmt::format("GET {} HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0)
        return fail_errno(errno, "ask " + listen);
    std::string answer;
    std::array<char, 65536> buffer;
    for (ssize_t size = 0; answer.size() < kMostFile &&
                           (size = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;)
        answer.append(buffer.data(), static_cast<std::size_t>(size));
    const auto head = answer.find("\r\n\r\n");
    if (head == std::string::npos) return fail(Code::unavailable, "{} did not answer", listen);
    return answer.substr(head + 4);
}

class Collector {
public:
    Collector(const SysdumpPlan& plan, const api::Client& client, Archive& archive)
        : plan_(plan), client_(client), archive_(archive) {}

    Result<SysdumpSummary> run() {
        TRY(agent());
        TRY(lists());
        TRY(streams());
        TRY(maps());
        TRY(programs());
        TRY(machine());
        TRY(network());
        TRY(tools());
        TRY(logs());
        return finish();
    }

private:
    // --- putting things into the archive -------------------------------------------------------

    Result<> put(const std::string& name, std::string content) {
        const bool cut = content.size() > kMostFile;
        if (cut) content.resize(kMostFile);
        content = redactor_.scrub(std::move(content));
        if (total_ + content.size() > kMostTotal)
            return note(name, Error{Code::exhausted, 0, "the archive is full"});
        total_ += content.size();
        json entry{{"file", name}, {"bytes", content.size()}};
        if (cut) entry["cut"] = true;
        files_.push_back(std::move(entry));
        return archive_.add(plan_.folder + "/" + name, content);
    }
    Result<> note(const std::string& name, const Error& error) {
        failures_.push_back(
            {{"file", name}, {"error", redactor_.redact(std::string_view(error.message))}});
        return {};
    }
    Result<> put(const std::string& name, Result<json> document) {
        if (!document) return note(name, document.error());
        redactor_.redact(*document);
        return put(name, dump(*document));
    }
    Result<> put(const std::string& name, const Result<std::string>& text) {
        if (!text) return note(name, text.error());
        return put(name, redactor_.redact(std::string_view(*text)));
    }

    // --- the agent -----------------------------------------------------------------------------

    Result<> agent() {
        plan_.progress("the agent");
        const auto status = client_.get("/v1/status");
        if (status) status_ = *status;
        const auto pid = number(status_, "pid");
        // The configuration first: what is secret there is then known everywhere.
        std::string config = "/etc/beeline/beeline.yaml";
        if (const auto line = read_file(fmt::format("/proc/{}/cmdline", pid)); pid != 0 && line) {
            std::vector<std::string> words;
            std::string_view rest = *line;
            while (!rest.empty()) {
                words.emplace_back(rest.substr(0, rest.find('\0')));
                rest.remove_prefix(std::min(rest.size(), words.back().size() + 1));
            }
            for (std::size_t i = 0; i < words.size(); ++i) {
                if (words[i] == "--config" && i + 1 < words.size()) config = words[i + 1];
                if (words[i].starts_with("--config=")) config = words[i].substr(9);
            }
            TRY(put("agent/cmdline.json", Result<json>(words)));
        }
        TRY(put("agent/config.json", read_yaml(config)));
        TRY(put("agent/status.json", status));
        if (pid == 0) return {};
        for (const auto* file : {"status", "limits", "cgroup", "io", "sched"})
            TRY(put(fmt::format("agent/proc-{}", file),
                    read_file(fmt::format("/proc/{}/{}", pid, file))));
        const auto metrics = text(member(status_, "prometheus"), "listen");
        if (!metrics.empty()) TRY(put("agent/metrics.txt", get_page(metrics, "/metrics")));
        return {};
    }

    Result<> lists() {
        plan_.progress("workloads, services and objects");
        static constexpr std::array<std::pair<const char*, const char*>, 8> kCalls{{
            {"workloads.json", "/v1/workloads"},
            {"services.json", "/v1/services"},
            {"objects.json", "/v1/objects"},
            {"policy-matrix.json", "/v1/policy/matrix"},
            {"rules.json", "/v1/rules"},
            {"top.json", "/v1/top"},
            {"service-map.json", "/v1/map"},
            {"edges.json", "/v1/edges?limit=5000"},
        }};
        for (const auto& [file, call] : kCalls)
            TRY(put(file, client_.get(call)));
        return {};
    }

    Result<> stream(const std::string& name, const std::string& call) {
        std::string lines;
        const auto done = client_.stream(call, [&](std::string_view line) {
            auto document = json::parse(line, nullptr, false);
            if (!document.is_discarded()) {
                redactor_.redact(document);
                lines += document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
            }
            return lines.size() < kMostFile;
        });
        if (!done) TRY(note(name, done.error()));
        return put(name, std::move(lines));
    }

    Result<> streams() {
        plan_.progress("flows and alerts");
        TRY(stream("flows.jsonl", fmt::format("/v1/flows?last={}", plan_.flows)));
        TRY(stream("drops.jsonl", fmt::format("/v1/flows?verdict=dropped&last={}", plan_.flows)));
        return stream("alerts.jsonl", "/v1/alerts?last=2000");
    }

    Result<> maps() {
        auto found = client_.get("/v1/maps");
        if (found) {
            for (const auto& map : list(*found, "maps")) {
                const auto name = text(map, "name");
                plan_.progress("map " + name);
                TRY(put("maps/" + name + ".json",
                        client_.get(fmt::format("/v1/maps/{}?limit={}", name, plan_.map_entries))));
            }
        }
        return put("maps.json", std::move(found));
    }

    Result<> programs() {
        plan_.progress("programs");
        // A second with statistics, so that there are run times also where nobody counts them otherwise.
        const auto before = bpf_programs("bl_");
        if (const auto statistics = enable_bpf_statistics()) {
            std::this_thread::sleep_for(1s);
            auto after = bpf_programs("bl_");
            if (before && after) {
                for (auto& program : *after) {
                    for (const auto& old : *before) {
                        if (old["id"] != program["id"]) continue;
                        program["last_second"] = {
                            {"run_count", number(program, "run_count") - number(old, "run_count")},
                            {"run_time_ns",
                             number(program, "run_time_ns") - number(old, "run_time_ns")}};
                    }
                }
            }
            TRY(put("programs.json", std::move(after)));
        } else {
            TRY(note("programs.json: run times", statistics.error()));
            TRY(put("programs.json", before));
        }
        return put("kernel-maps.json", bpf_maps("bl_"));
    }

    // --- the machine ---------------------------------------------------------------------------

    Result<> machine() {
        plan_.progress("the machine");
        utsname names{};
        ::uname(&names);
        TRY(put("versions.json", Result<json>(json{{"beeline", BEELINE_VERSION},
                                                   {"beelined", text(status_, "version")},
                                                   {"kernel", names.release},
                                                   {"build", names.version},
                                                   {"machine", names.machine},
                                                   {"host", names.nodename}})));
        for (const auto* file : {"/etc/os-release",
                                 "/proc/version",
                                 "/proc/cmdline",
                                 "/proc/meminfo",
                                 "/proc/loadavg",
                                 "/proc/stat",
                                 "/proc/cpuinfo",
                                 "/proc/self/mountinfo",
                                 "/proc/self/cgroup",
                                 "/proc/modules",
                                 "/proc/net/dev",
                                 "/proc/net/snmp",
                                 "/proc/net/snmp6",
                                 "/proc/net/netstat",
                                 "/proc/net/softnet_stat",
                                 "/proc/net/sockstat",
                                 "/proc/sys/kernel/bpf_stats_enabled",
                                 "/proc/sys/kernel/unprivileged_bpf_disabled",
                                 "/proc/sys/net/core/bpf_jit_enable",
                                 "/proc/sys/net/ipv4/ip_forward",
                                 "/proc/sys/net/ipv6/conf/all/forwarding",
                                 "/proc/sys/net/ipv4/conf/all/rp_filter",
                                 "/proc/sys/net/netfilter/nf_conntrack_count",
                                 "/proc/sys/net/netfilter/nf_conntrack_max"})
            TRY(put("machine" + std::string(file), read_file(file, 64U << 20)));
        return {};
    }

    static Result<json> netlink_document() {
        auto netlink = TRY(net::Netlink::open());
        json links = json::array();
        for (const auto& link : TRY(netlink.links()))
            links.push_back({{"index", link.index},
                             {"name", link.name},
                             {"kind", link.kind},
                             {"alias", link.alias},
                             {"mac", net::to_string(link.mac)},
                             {"mtu", link.mtu},
                             {"flags", link.flags},
                             {"up", link.up()},
                             {"master", link.master}});
        json addresses = json::array();
        for (const auto& one : TRY(netlink.addresses()))
            addresses.push_back({{"link", one.index},
                                 {"address", fmt::format("{}/{}", one.ip.to_string(), one.length)},
                                 {"scope", one.scope}});
        json routes = json::array();
        for (const auto& one : TRY(netlink.routes()))
            routes.push_back({{"to", one.destination.to_string()},
                              {"via", one.gateway.is_zero() ? "" : one.gateway.to_string()},
                              {"link", one.index},
                              {"table", one.table},
                              {"type", one.type},
                              {"protocol", one.protocol},
                              {"metric", one.metric}});
        json neighbours = json::array();
        for (const auto& one : TRY(netlink.neighbours()))
            neighbours.push_back({{"link", one.index},
                                  {"address", one.ip.to_string()},
                                  {"mac", net::to_string(one.mac)},
                                  {"state", one.state}});
        return json{{"links", links},
                    {"addresses", addresses},
                    {"routes", routes},
                    {"neighbours", neighbours}};
    }

    Result<> network() {
        plan_.progress("the network");
        return put("network.json", netlink_document());
    }

    Result<> tools() {
        static const std::array<std::pair<const char*, std::vector<std::string>>, 10> kTools{{
            {"ip-link", {"ip", "-s", "-d", "link"}},
            {"ip-address", {"ip", "address"}},
            {"ip-route", {"ip", "route", "show", "table", "all"}},
            {"ip-rule", {"ip", "rule"}},
            {"ip6-rule", {"ip", "-6", "rule"}},
            {"tc-qdisc", {"tc", "-s", "qdisc"}},
            {"nft-ruleset", {"nft", "list", "ruleset"}},
            {"iptables", {"iptables-save", "-c"}},
            {"ss-summary", {"ss", "-s"}},
            {"ss-listening", {"ss", "-Hlntu"}},
        }};
        for (const auto& [name, command] : kTools) {
            plan_.progress(command.front());
            TRY(put(fmt::format("tools/{}.txt", name),
                    command_output(command, kMostFile, kToolWait)));
        }
        return {};
    }

    // The agent's log: the file behind its stderr, or what the journal has of its unit.
    Result<> logs() {
        plan_.progress("logs");
        const auto pid = number(status_, "pid");
        std::array<char, 4096> path{};
        const auto link = fmt::format("/proc/{}/fd/2", pid);
        const auto size = pid == 0 ? -1 : ::readlink(link.c_str(), path.data(), path.size() - 1);
        if (size > 0 && path[0] == '/' && !std::string_view(path.data()).starts_with("/dev/"))
            return put("agent/log.txt", tail_of(link, kMostLog));
        const auto unit = plan_.paths.instance.empty()
                              ? std::string("beeline")
                              : fmt::format("beeline@{}", plan_.paths.instance);
        return put("agent/log.txt", command_output({"journalctl", "-u", unit, "-n", "20000",
                                                    "--no-pager", "-o", "short-iso-precise"},
                                                   kMostLog, kToolWait));
    }

    Result<SysdumpSummary> finish() {
        const SysdumpSummary summary{files_.size(), failures_.size()};
        const json document{{"made", timestamp()},
                            {"node", text(status_, "node")},
                            {"instance", plan_.paths.instance},
                            {"version", BEELINE_VERSION},
                            {"files", files_},
                            {"missing", failures_}};
        TRY(archive_.add(plan_.folder + "/sysdump.json", redactor_.scrub(dump(document))));
        TRY(archive_.finish());
        return summary;
    }

    const SysdumpPlan& plan_;
    const api::Client& client_;
    Archive& archive_;
    Redactor redactor_;
    json status_;
    json files_ = json::array();
    json failures_ = json::array();
    std::size_t total_ = 0;
};

} // namespace

Result<SysdumpSummary> collect_sysdump(const SysdumpPlan& plan, const api::Client& client,
                                       Archive& archive) {
    return Collector(plan, client, archive).run();
}

} // namespace beeline::cli
