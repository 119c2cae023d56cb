#include "observe/metrics/agent.h"

#include <gtest/gtest.h>

#include <sstream>

#include <prometheus/text_serializer.h>

namespace beeline::observe::metrics {
namespace {

using nlohmann::json;

std::string scrape(const AgentFacts& facts) {
    return prometheus::TextSerializer().Serialize(agent_families(facts));
}

bool has(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(AgentMetrics, FromTheStatusDocument) {
    AgentFacts facts;
    facts.status = json::parse(R"({
        "version": "0.1.0", "workloads": 3, "identities": 9, "services": 2, "policies": 4,
        "addresses": {"ipv4": {"used": 5, "size": 250}},
        "flows": {"stored": 10, "capacity": 100, "per_second": 1.5},
        "maps": [{"name": "bl_ct", "entries": 25, "max_entries": 100}],
        "drops": [{"reason": "POLICY_DENIED", "count": 7, "ingress": 5, "egress": 2},
                  {"reason": "INVALID_SOURCE_IP", "count": 1, "ingress": 0, "egress": 1}],
        "kernel_drops": {"reasons": {"NO_SOCKET": 4}},
        "metrics": {"flow_events": 11},
        "losses": {"ring": 2, "queue": 3, "security": 4},
        "history": {"rows": 12, "lost": {"queue": 5}, "open": true, "file": "x"},
        "export": {"a": {"kind": "file", "sent": 3, "lost": 1}, "b": {"error": "x"},
                   "c": {"kind": "otlp", "last_error": "y"}},
        "security": {"rules": 6, "records": 100, "lost": 4, "alerts": {"dropped": 1, "limited": 2},
                     "outputs": [{"name": "stdout", "sent": 8, "failed": 0, "dropped": 1}]}
    })");
    facts.rules = json::parse(
        R"({"rules": [{"name": "Shell \"x\"", "priority": "Notice", "matches": 5, "events": 50}]})");
    facts.workloads = json::parse(
        R"({"workloads": [{"isolated": {"ingress": true, "egress": false}}, {"name": "y"}]})");
    facts.applies.add(0.003, true);
    facts.applies.add(0.3, false);
    facts.service_events = {1, 2, 3};
    facts.map_operations.push_back({"bl_policy", {6, 0}, {2, 1}});
    facts.programs = {{"bl_from_pod", 2'000'000'000, 5}};
    const std::string text = scrape(facts);
    for (
        const char* line : {
            R"(cilium_version{version="0.1.0",revision="",arch="amd64"} 1)",
            R"(cilium_endpoint 3)",
            R"(cilium_drop_count_total{reason="Policy denied",direction="INGRESS"} 5)",
            R"(cilium_drop_count_total{reason="Policy denied",direction="EGRESS"} 2)",
            R"(cilium_drop_count_total{reason="Invalid source ip",direction="EGRESS"} 1)",
            R"(beeline_kernel_drops_total{reason="NO_SOCKET"} 4)",
            R"(cilium_bpf_map_ops_total{map_name="bl_policy",operation="update",outcome="success"} 6)",
            R"(cilium_bpf_map_ops_total{map_name="bl_policy",operation="delete",outcome="fail"} 1)",
            R"(cilium_endpoint_regeneration_time_stats_seconds_count{scope="total",status="success"} 2)",
            R"(cilium_bpf_map_pressure{map_name="bl_ct"} 0.25)",
            R"(beeline_bpf_map_max_entries{map="bl_ct"} 100)",
            R"(beeline_datapath_events_total{event="flow_events"} 11)",
            R"(cilium_policy_change_total{outcome="failure"} 1)",
            R"(cilium_policy_implementation_delay_bucket{source="files",le="0.005"} 1)",
            R"(cilium_policy_implementation_delay_count{source="files"} 2)",
            R"(cilium_policy_endpoint_enforcement_status{enforcement="ingress"} 1)",
            R"(cilium_policy_endpoint_enforcement_status{enforcement="none"} 1)",
            R"(cilium_services_events_total{action="delete"} 3)",
            R"(cilium_ipam_capacity{family="ipv4"} 250)",
            R"(hubble_lost_events_total{source="perf_event_ring_buffer"} 2)",
            R"(hubble_lost_events_total{source="hubble_ring_buffer"} 3)",
            R"(beeline_ring_lost_total{ring="security"} 4)",
            R"(beeline_bpf_program_run_seconds_total{program="bl_from_pod"} 2)",
            R"(beeline_security_alerts_total{rule="Shell \"x\"",priority="Notice"} 5)",
            R"(beeline_security_alerts_dropped_total 3)",
            R"(beeline_security_output_alerts_total{output="stdout",outcome="sent"} 8)",
            R"(beeline_status{part="history",field="lost.queue"} 5)",
            R"(beeline_status{part="history",field="open"} 1)",
            R"(hubble_dynamic_exporter_exporters_total{status="active"} 2)",
            R"(hubble_dynamic_exporter_up{name="a"} 1)",
            R"(hubble_dynamic_exporter_up{name="c"} 0)",
            R"(beeline_export_records_total{export="a",kind="file",outcome="lost"} 1)",
        })
        EXPECT_TRUE(has(text, line)) << line << "\n" << text;
    facts.hubble = false;
    EXPECT_EQ(scrape(facts).find("hubble_lost"), std::string::npos);
}

TEST(AgentMetrics, SurvivesDocumentsOfAnyShape) {
    for (const char* status :
         {"null", "[]", "{}", R"({"drops": 5, "maps": [1, {}], "losses": [], "security": true})"}) {
        AgentFacts facts;
        facts.status = json::parse(status);
        facts.rules = json::parse(R"({"rules": [3, {"name": 4}]})");
        facts.workloads = json::parse(R"({"workloads": [3, {"isolated": 4}]})");
        EXPECT_TRUE(has(scrape(facts), "cilium_endpoint 0")) << status;
    }
}

TEST(AgentMetrics, OfThisProcess) {
    const auto process = read_process();
    EXPECT_GT(process.resident_bytes, 1e5);
    EXPECT_GT(process.virtual_bytes, process.resident_bytes);
    EXPECT_GE(process.open_fds, 3);
    EXPECT_GE(process.threads, 1);
    EXPECT_GT(process.start_seconds, 1e9);
}

} // namespace
} // namespace beeline::observe::metrics
