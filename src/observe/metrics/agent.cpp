#include "observe/metrics/agent.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <sstream>
#include <string_view>
#include <utility>

#include "abi/drop.h"
#include "observe/drop_reason.h"
#include "observe/metrics/words.h"

namespace beeline::observe::metrics {
namespace {

using nlohmann::json;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using LabelList = std::initializer_list<std::pair<const char*, std::string>>;

class Families {
public:
    void counter(const char* name, const char* help, LabelList labels, double value) {
        sample(name, help, MetricType::Counter, labels).counter.value = value;
    }
    void counter(const char* name, const char* help, LabelList labels, std::uint64_t value) {
        counter(name, help, labels, static_cast<double>(value));
    }
    void gauge(const char* name, const char* help, LabelList labels, double value) {
        sample(name, help, MetricType::Gauge, labels).gauge.value = value;
    }
    void histogram(const char* name, const char* help, LabelList labels, const Timing& timing) {
        auto& out = sample(name, help, MetricType::Histogram, labels).histogram;
        for (std::size_t i = 0; i < timing.buckets.size(); ++i) {
            out.sample_count += timing.buckets[i];
            const double bound = i < Timing::kBounds.size()
                                     ? Timing::kBounds[i]
                                     : std::numeric_limits<double>::infinity();
            out.bucket.push_back({out.sample_count, bound});
        }
        out.sample_sum = timing.sum;
    }
    std::vector<MetricFamily> take() { return std::move(list_); }

private:
    ClientMetric& sample(const char* name, const char* help, MetricType type, LabelList labels) {
        if (list_.empty() || list_.back().name != name) {
            MetricFamily family;
            family.name = name;
            family.help = help;
            family.type = type;
            list_.push_back(std::move(family));
        }
        ClientMetric& metric = list_.back().metric.emplace_back();
        for (const auto& [label, value] : labels)
            metric.label.push_back({label, label_text(value)});
        return metric;
    }

    std::vector<MetricFamily> list_;
};

// A number at a path of a document; 0 when it is not there.
double number(const json& document, std::initializer_list<const char*> path) {
    const json* at = &document;
    for (const char* key : path) {
        if (!at->is_object() || !at->contains(key)) return 0;
        at = &(*at)[key];
    }
    return at->is_number() ? at->get<double>() : 0;
}

std::string text(const json& document, const char* key) {
    return document.is_object() && document.contains(key) && document[key].is_string()
               ? document[key].get<std::string>()
               : "";
}

const json& list(const json& document, const char* key) {
    static const json kEmpty = json::array();
    return document.is_object() && document.contains(key) && document[key].is_array()
               ? document[key]
               : kEmpty;
}

json section(const json& document, const char* key) {
    return document.is_object() && document.contains(key) && document[key].is_object()
               ? document[key]
               : json::object();
}

void about(Families& out, const AgentFacts& facts) {
#if defined(__x86_64__)
    const char* arch = "amd64";
#elif defined(__aarch64__)
    const char* arch = "arm64";
#else
    const char* arch = "";
#endif
    out.gauge("cilium_version", "Version of the agent, in its labels",
              {{"version", text(facts.status, "version")}, {"revision", ""}, {"arch", arch}}, 1);
    out.counter("cilium_errors_warnings_total", "Log lines that report something wrong",
                {{"level", "warning"}, {"subsystem", "agent"}}, facts.warnings);
    out.counter("cilium_errors_warnings_total", "", {{"level", "error"}, {"subsystem", "agent"}},
                facts.errors);
    const auto& process = facts.process;
    out.counter("cilium_process_cpu_seconds_total", "CPU time of the agent", {},
                process.cpu_seconds);
    out.gauge("cilium_process_resident_memory_bytes", "Resident memory of the agent", {},
              process.resident_bytes);
    out.gauge("cilium_process_virtual_memory_bytes", "Address space of the agent", {},
              process.virtual_bytes);
    out.gauge("cilium_process_open_fds", "File descriptors of the agent", {}, process.open_fds);
    out.gauge("cilium_process_max_fds", "File descriptors that the agent may have", {},
              process.max_fds);
    out.gauge("cilium_process_start_time_seconds", "When the agent started", {},
              process.start_seconds);
    out.gauge("beeline_process_threads", "Threads of the agent", {}, process.threads);
}

void datapath(Families& out, const AgentFacts& facts) {
    const char* drops = "Packets that the datapath dropped";
    for (const json& drop : list(facts.status, "drops")) {
        const std::string name = text(drop, "reason");
        std::string reason = name;
        for (unsigned number = 0; number < BL_DROP_REASON_MAX; ++number)
            if (drop_reason_name(number) == name && !name.empty())
                reason = drop_reason_text(number);
        for (const auto& [direction, key] : {std::pair{"INGRESS", "ingress"}, {"EGRESS", "egress"}})
            if (number(drop, {key}) != 0)
                out.counter("cilium_drop_count_total", drops,
                            {{"reason", reason}, {"direction", direction}}, number(drop, {key}));
    }
    const json kernel = section(section(facts.status, "kernel_drops"), "reasons");
    for (const auto& [reason, count] : kernel.items())
        out.counter("beeline_kernel_drops_total",
                    "Packets of workloads that the kernel dropped by itself", {{"reason", reason}},
                    count.is_number() ? count.get<double>() : 0);
    const char* directions[] = {"INGRESS", "EGRESS"};
    for (std::size_t i = 0; i < 2; ++i)
        out.counter("cilium_forward_count_total", "Forwarded packets of connections that ended",
                    {{"direction", directions[i]}}, facts.forwarded_packets[i]);
    for (std::size_t i = 0; i < 2; ++i)
        out.counter("cilium_forward_bytes_total", "Forwarded bytes of connections that ended",
                    {{"direction", directions[i]}}, facts.forwarded_bytes[i]);
    for (const json& map : list(facts.status, "maps"))
        out.gauge("cilium_bpf_map_pressure", "How full a BPF map is, from 0 to 1",
                  {{"map_name", text(map, "name")}},
                  number(map, {"entries"}) / std::max(number(map, {"max_entries"}), 1.0));
    const char* outcomes[] = {"success", "fail"};
    for (const auto& map : facts.map_operations) {
        for (const auto& [operation, counts] :
             {std::pair{"update", &map.updates}, {"delete", &map.deletes}})
            for (std::size_t i = 0; i < 2; ++i)
                out.counter(
                    "cilium_bpf_map_ops_total",
                    "Entries that the agent wrote and removed, and writes that failed",
                    {{"map_name", map.map}, {"operation", operation}, {"outcome", outcomes[i]}},
                    (*counts)[i]);
    }
    for (const json& map : list(facts.status, "maps"))
        out.gauge("beeline_bpf_map_entries", "Entries of a BPF map", {{"map", text(map, "name")}},
                  number(map, {"entries"}));
    for (const json& map : list(facts.status, "maps"))
        out.gauge("beeline_bpf_map_max_entries", "Entries that a BPF map has room for",
                  {{"map", text(map, "name")}}, number(map, {"max_entries"}));
    if (facts.status.is_object() && facts.status.contains("metrics")) {
        for (const auto& [event, value] : facts.status["metrics"].items())
            out.counter("beeline_datapath_events_total", "What the datapath counts beside drops",
                        {{"event", event}}, value.is_number() ? value.get<double>() : 0);
    }
    for (const auto& program : facts.programs)
        out.counter("beeline_bpf_program_runs_total", "Runs of a BPF program",
                    {{"program", program.name}}, program.runs);
    for (const auto& program : facts.programs)
        out.counter("beeline_bpf_program_run_seconds_total", "Time spent in a BPF program",
                    {{"program", program.name}}, static_cast<double>(program.run_ns) / 1e9);
    out.counter("cilium_datapath_conntrack_gc_runs_total", "Sweeps of the connection table",
                {{"family", "all"}, {"protocol", "all"}, {"status", "completed"}},
                facts.sweeps.done);
    out.counter("cilium_datapath_conntrack_gc_runs_total", "",
                {{"family", "all"}, {"protocol", "all"}, {"status", "uncompleted"}},
                facts.sweeps.failed);
    for (const json& map : list(facts.status, "maps")) {
        if (text(map, "name") != "bl_ct") continue;
        out.gauge("cilium_datapath_conntrack_gc_entries",
                  "Connections after the last sweep, and those that sweeps removed so far",
                  {{"family", "all"}, {"protocol", "all"}, {"status", "alive"}},
                  number(map, {"entries"}));
    }
    out.gauge("cilium_datapath_conntrack_gc_entries",
              "Connections after the last sweep, and those that sweeps removed so far",
              {{"family", "all"}, {"protocol", "all"}, {"status", "deleted"}},
              static_cast<double>(facts.swept));
    out.histogram("cilium_datapath_conntrack_gc_duration_seconds",
                  "How long sweeps of the connection table take",
                  {{"family", "all"}, {"protocol", "all"}, {"status", "completed"}}, facts.sweeps);
}

void endpoints(Families& out, const AgentFacts& facts) {
    const double count = number(facts.status, {"workloads"});
    out.gauge("cilium_endpoint", "Workloads of this machine", {}, count);
    out.gauge("cilium_endpoint_state", "Workloads by state", {{"endpoint_state", "ready"}}, count);
    const json& errors = facts.status.is_object() && facts.status.contains("source")
                             ? list(facts.status["source"], "errors")
                             : list(facts.status, "errors");
    out.counter("cilium_endpoint_regenerations_total",
                "How often the desired state was brought into the kernel", {{"outcome", "success"}},
                facts.applies.done);
    out.counter("cilium_endpoint_regenerations_total", "", {{"outcome", "fail"}},
                facts.applies.failed);
    out.histogram("cilium_endpoint_regeneration_time_stats_seconds",
                  "How long it takes to bring the desired state into the kernel",
                  {{"scope", "total"}, {"status", "success"}}, facts.applies);
    out.gauge("cilium_policy", "Network policies", {}, number(facts.status, {"policies"}));
    out.gauge("cilium_policy_max_revision", "Desired states in force so far", {},
              static_cast<double>(facts.applies.done));
    out.counter("cilium_policy_change_total", "Changes of the desired state",
                {{"outcome", "success"}}, facts.applies.done);
    out.counter("cilium_policy_change_total", "", {{"outcome", "failure"}}, facts.applies.failed);
    double enforced[4] = {0, 0, 0, 0};
    for (const json& workload : list(facts.workloads, "workloads")) {
        const json isolated = section(workload, "isolated");
        const bool ingress = isolated.value("ingress", false);
        const bool egress = isolated.value("egress", false);
        ++enforced[(ingress ? 1 : 0) + (egress ? 2 : 0)];
    }
    const char* words[] = {"none", "ingress", "egress", "both"};
    for (std::size_t i = 0; i < 4; ++i)
        out.gauge("cilium_policy_endpoint_enforcement_status",
                  "Workloads by the directions in which policies isolate them",
                  {{"enforcement", words[i]}}, enforced[i]);
    out.histogram("cilium_policy_implementation_delay",
                  "From a change of the desired state until the kernel has it",
                  {{"source", "files"}}, facts.applies);
    out.gauge("cilium_identity", "Distinct label sets", {{"type", "node_local"}},
              number(facts.status, {"identities"}));
    const char* actions[] = {"add", "update", "delete"};
    for (std::size_t i = 0; i < 3; ++i)
        out.counter("cilium_services_events_total", "Changes of services", {{"action", actions[i]}},
                    facts.service_events[i]);
    const json addresses = section(facts.status, "addresses");
    for (const char* family : {"ipv4", "ipv6"})
        if (addresses.contains(family))
            out.gauge("cilium_ipam_capacity", "Addresses that workloads can get",
                      {{"family", family}}, number(addresses, {family, "size"}));
    for (const char* family : {"ipv4", "ipv6"})
        if (addresses.contains(family))
            out.gauge("cilium_ip_addresses", "Addresses that workloads have", {{"family", family}},
                      number(addresses, {family, "used"}));
    out.gauge("beeline_services", "Services", {}, number(facts.status, {"services"}));
    out.gauge("beeline_source_errors", "Manifests that are not in force because of an error", {},
              static_cast<double>(errors.size()));
}

void flows(Families& out, const AgentFacts& facts) {
    const double ring = number(facts.status, {"losses", "ring"});
    const double queue = number(facts.status, {"losses", "queue"});
    if (facts.hubble) {
        const char* help = "Flows that were lost, by where";
        out.counter("hubble_lost_events_total", help, {{"source", "perf_event_ring_buffer"}}, ring);
        out.counter("hubble_lost_events_total", help, {{"source", "observer_events_queue"}}, 0.0);
        out.counter("hubble_lost_events_total", help, {{"source", "hubble_ring_buffer"}}, queue);
    }
    out.counter("beeline_ring_lost_total", "Events that the kernel found no room for",
                {{"ring", "flows"}}, ring);
    out.counter("beeline_ring_lost_total", "", {{"ring", "security"}},
                number(facts.status, {"losses", "security"}));
    out.counter("beeline_flows_overtaken_total",
                "Flows that readers of the store were too slow for", {}, queue);
    out.gauge("beeline_flows_stored", "Flows in memory", {},
              number(facts.status, {"flows", "stored"}));
    out.gauge("beeline_flows_capacity", "Flows that the memory has room for", {},
              number(facts.status, {"flows", "capacity"}));
    out.gauge("beeline_flows_per_second", "New flows a second, mean of the last minute", {},
              number(facts.status, {"flows", "per_second"}));
    out.counter("beeline_metrics_flows_total", "Flows that the metrics have counted", {},
                facts.counted_flows);
}

void security(Families& out, const AgentFacts& facts) {
    const json part = section(facts.status, "security");
    if (part.empty() || part.contains("error")) return;
    out.gauge("beeline_security_rules", "Security rules in force", {}, number(part, {"rules"}));
    out.counter("beeline_security_events_total", "Security events that were read", {},
                number(part, {"records"}));
    out.counter("beeline_security_lost_total", "Security events that were lost", {},
                number(part, {"lost"}));
    out.counter("beeline_security_alerts_dropped_total",
                "Alerts that an output had no room for or a limit held back", {},
                number(part, {"alerts", "dropped"}) + number(part, {"alerts", "limited"}));
    for (const json& rule : list(facts.rules, "rules"))
        out.counter("beeline_security_alerts_total", "Alerts by rule",
                    {{"rule", text(rule, "name")}, {"priority", text(rule, "priority")}},
                    number(rule, {"matches"}));
    for (const json& rule : list(facts.rules, "rules"))
        out.counter("beeline_security_rule_events_total", "Events that a rule was asked about",
                    {{"rule", text(rule, "name")}}, number(rule, {"events"}));
    for (const json& output : list(part, "outputs"))
        for (const char* outcome : {"sent", "failed", "dropped"})
            out.counter("beeline_security_output_alerts_total", "Alerts by output and outcome",
                        {{"output", text(output, "name")}, {"outcome", outcome}},
                        number(output, {outcome}));
}

void exports(Families& out, const AgentFacts& facts) {
    const json part = section(facts.status, "export");
    if (part.empty()) return;
    double up[2] = {0, 0};
    for (const auto& [name, one] : part.items())
        ++up[one.is_object() && !one.contains("error") ? 0 : 1];
    const char* states[] = {"active", "inactive"};
    for (std::size_t i = 0; i < 2; ++i)
        out.gauge("hubble_dynamic_exporter_exporters_total", "Exports by whether they run",
                  {{"status", states[i]}}, up[i]);
    for (const auto& [name, one] : part.items())
        out.gauge("hubble_dynamic_exporter_up", "Whether an export works", {{"name", name}},
                  one.is_object() && !one.contains("error") && !one.contains("last_error") ? 1 : 0);
    for (const auto& [name, one] : part.items())
        for (const char* outcome : {"sent", "failed", "lost"})
            out.counter("beeline_export_records_total", "Records by export and what became of them",
                        {{"export", name}, {"kind", text(one, "kind")}, {"outcome", outcome}},
                        number(one, {outcome}));
}

constexpr std::size_t kMostFields = 200;

void flatten(Families& out, const std::string& part, const json& value, const std::string& path,
             std::size_t& left) {
    if (left == 0) return;
    if (value.is_object()) {
        for (const auto& [key, inner] : value.items())
            flatten(out, part, inner, path.empty() ? key : path + "." + key, left);
    } else if (value.is_number() || value.is_boolean()) {
        --left;
        out.gauge("beeline_status", "A number of a part of `beeline status`",
                  {{"part", part}, {"field", path}},
                  value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>());
    }
}

// Parts that may be there or not keep their counters under their own names in the status.
void parts(Families& out, const AgentFacts& facts) {
    std::size_t left = kMostFields;
    for (const char* part : {"history", "l7", "hubble", "relay", "web"})
        if (facts.status.is_object() && facts.status.contains(part))
            flatten(out, part, facts.status[part], "", left);
}

} // namespace

AgentFacts::Process read_process() {
    AgentFacts::Process out;
    rusage usage{};
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        out.cpu_seconds =
            static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
    // After the command, which may hold blanks and brackets.
    std::ifstream stat_file("/proc/self/stat");
    const std::string stat((std::istreambuf_iterator<char>(stat_file)), {});
    const std::size_t bracket = stat.rfind(')');
    std::istringstream fields(bracket == std::string::npos ? "" : stat.substr(bracket + 1));
    std::vector<std::string> field;
    for (std::string one; fields >> one;)
        field.push_back(one);
    if (field.size() > 21) { // field[0] is the third of proc(5)
        out.threads = std::strtod(field[17].c_str(), nullptr);
        out.virtual_bytes = std::strtod(field[20].c_str(), nullptr);
        out.resident_bytes =
            std::strtod(field[21].c_str(), nullptr) * static_cast<double>(sysconf(_SC_PAGESIZE));
        const double ticks =
            std::strtod(field[19].c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
        std::ifstream boot("/proc/stat");
        for (std::string key, value; boot >> key >> value;) {
            if (key == "btime") {
                out.start_seconds = std::strtod(value.c_str(), nullptr) + ticks;
                break;
            }
            boot.ignore(1 << 20, '\n');
        }
    }
    std::error_code error;
    for (std::filesystem::directory_iterator i("/proc/self/fd", error), end; !error && i != end;
         i.increment(error))
        ++out.open_fds;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) out.max_fds = static_cast<double>(limit.rlim_cur);
    return out;
}

std::vector<MetricFamily> agent_families(const AgentFacts& facts) {
    Families out;
    about(out, facts);
    datapath(out, facts);
    endpoints(out, facts);
    flows(out, facts);
    security(out, facts);
    exports(out, facts);
    parts(out, facts);
    return out.take();
}

} // namespace beeline::observe::metrics
