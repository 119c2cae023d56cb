// Whole command lines against a server with canned answers.
#include "cli/app.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "api/server/server.h"
#include "api/server/v1.h"
#include "cli/manifest_input.h"

namespace beeline::cli {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class Lines : public api::LineStream {
public:
    explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
    std::optional<std::string> next(std::chrono::milliseconds) override {
        if (at_ == lines_.size()) return {};
        return lines_[at_++];
    }
    [[nodiscard]] bool done() const override { return at_ == lines_.size(); }

private:
    std::vector<std::string> lines_;
    std::size_t at_ = 0;
};

class CannedBackend : public api::Backend {
public:
    Result<json> status() override { return answer("status"); }
    Result<json> workloads() override { return answer("workloads"); }
    Result<json> services() override { return answer("services"); }
    Result<json> objects(const api::ObjectQuery& query) override {
        last_objects = query;
        return answer("objects");
    }
    Result<json> apply(const std::string& yaml, bool dry_run) override {
        last_yaml = yaml;
        last_dry_run = dry_run;
        return answer("apply");
    }
    Result<json> remove(const std::string& kind, const model::ObjectName& name) override {
        removed.push_back(kind + " " + name.space + " " + name.name);
        if (name.name == "none")
            return fail(Code::not_found, "{} {} does not exist", kind, name.to_string());
        return json::object();
    }
    Result<std::unique_ptr<api::LineStream>> flows(const observe::FlowFilter& filter) override {
        last_flows = filter;
        return std::make_unique<Lines>(flow_lines);
    }
    Result<json> explain(const api::ExplainQuery& query) override {
        last_explain = query;
        return answer("explain");
    }
    Result<json> why(const api::WhyQuery&) override { return {}; }
    Result<json> top(std::int64_t) override { return {}; }
    Result<json> maps() override { return answer("maps"); }
    Result<json> map(const std::string& name, std::size_t limit) override {
        last_limit = limit;
        if (name != "bl_ct") return fail(Code::not_found, "there is no map {}", name);
        return answer("map");
    }
    Result<std::unique_ptr<api::LineStream>> alerts(const security::AlertFilter& filter) override {
        last_alerts = filter;
        return std::make_unique<Lines>(alert_lines);
    }
    Result<std::unique_ptr<api::LineStream>> events(const api::EventQuery& query) override {
        last_events = query;
        return std::make_unique<Lines>(event_lines);
    }
    Result<std::unique_ptr<api::LineStream>> record(bool) override {
        return std::make_unique<Lines>(std::vector<std::string>{"recorded"});
    }
    Result<json> rules() override { return answer("rules"); }
    Result<json> reload_rules() override { return answer("reload"); }
    Result<api::CniReply> cni(const api::CniCall&) override { return api::CniReply{}; }

    std::map<std::string, std::string> documents;
    std::map<std::string, Error> errors;
    std::vector<std::string> flow_lines;
    std::vector<std::string> alert_lines;
    std::vector<std::string> event_lines;
    api::ObjectQuery last_objects;
    std::string last_yaml;
    bool last_dry_run = false;
    std::vector<std::string> removed;
    observe::FlowFilter last_flows;
    security::AlertFilter last_alerts;
    api::EventQuery last_events;
    api::ExplainQuery last_explain;
    std::size_t last_limit = 0;

private:
    Result<json> answer(const std::string& name) {
        if (errors.contains(name)) return Failure(errors[name]);
        return json::parse(documents.contains(name) ? documents[name] : "{}");
    }
};

class AppTest : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/beeline-cli-XXXXXX";
        folder = mkdtemp(pattern);
        context.find_paths = [this](std::string_view instance) -> Result<api::Paths> {
            asked_instance = instance;
            auto paths = api::paths_for(instance);
            if (paths) paths->run = folder;
            return paths;
        };
        auto made = api::Server::create(api::v1_routes(backend));
        ASSERT_TRUE(made);
        server = std::move(*made);
        ASSERT_TRUE(server->serve_unix(folder + "/beeline.sock"));
        setenv("TZ", "UTC", 1);
    }
    void TearDown() override {
        server.reset();
        fs::remove_all(folder);
    }

    int cli(std::vector<std::string> arguments) {
        out.str("");
        err.str("");
        return run(std::move(arguments), context);
    }
    std::string file(const std::string& name, const std::string& content) {
        std::ofstream(folder + "/" + name) << content;
        return folder + "/" + name;
    }
    [[nodiscard]] bool printed(const std::string& text) const {
        return out.str().find(text) != std::string::npos;
    }
    [[nodiscard]] bool complained(const std::string& text) const {
        return err.str().find(text) != std::string::npos;
    }

    std::string folder;
    CannedBackend backend;
    std::unique_ptr<api::Server> server;
    std::ostringstream out;
    std::ostringstream err;
    Context context{.out = out, .err = err};
    std::string asked_instance = "not asked";
};

// --- the command line itself

TEST_F(AppTest, EveryVerbHasAnExampleInItsHelp) {
    const auto app = make_app(context);
    int verbs = 0;
    const std::function<void(const CLI::App&, const std::string&)> visit =
        [&](const CLI::App& verb, const std::string& path) {
            for (const auto* below : verb.get_subcommands(
                     [](const CLI::App* each) { return !each->get_group().empty(); })) {
                ++verbs;
                const std::string title = path + " " + below->get_name();
                const std::string help = below->help(path);
                EXPECT_NE(help.find("Example:\n  "), std::string::npos) << title;
                EXPECT_NE(help.find("beeline " + title.substr(8)), std::string::npos)
                    << title << " has another verb's example";
                EXPECT_FALSE(below->get_description().empty()) << title;
                visit(*below, title);
            }
        };
    visit(*app, "beeline");
    EXPECT_GE(verbs, 14);
}

TEST_F(AppTest, HelpAndVersionGoToStdout) {
    EXPECT_EQ(cli({"--help"}), 0);
    EXPECT_TRUE(printed("Subcommands:"));
    EXPECT_EQ(cli({"flows", "--help"}), 0);
    EXPECT_TRUE(printed("Usage: beeline flows"));
    EXPECT_EQ(cli({"version"}), 0);
    EXPECT_TRUE(out.str().starts_with("beeline "));
    EXPECT_EQ(cli({"--version"}), 0);
    EXPECT_TRUE(out.str().starts_with("beeline "));
    EXPECT_EQ(err.str(), "");
}

TEST_F(AppTest, WrongUsageIsTwoAndSaysWhatToDo) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> rows{
        {{}, "'beeline' needs a verb: status, "},
        {{"folws"}, "'beeline' has no verb 'folws': did you mean 'flows'?"},
        {{"--instance", "x", "folws"}, "did you mean 'flows'?"},
        {{"qqqqq"}, "'beeline --help' shows what there is"},
        {{"policy"}, "'beeline policy' needs a verb: explain"},
        {{"policy", "explan"}, "'beeline policy' has no verb 'explan': did you mean 'explain'?"},
        {{"flows", "--folow"}, "'beeline flows' does not take '--folow': did you mean '--follow'?"},
        {{"flows", "extra"}, "'beeline flows' does not take 'extra'"},
        {{"flows", "-o", "xml"}, "'xml' is not one of table|wide|json|jsonl"},
        {{"flows", "--since"}, "--since"},
        {{"get"}, "KIND is required ('beeline get --help' shows how)"},
        {{"apply"}, "--file is required"},
        {{"delete"}, "either KIND NAME"},
        {{"delete", "pod"}, "either KIND NAME"},
        {{"delete", "pod", "x", "-f", "y"}, "either KIND NAME"},
        {{"map", "dump", "bl_ct", "--limit", "0"}, "--limit"},
        {{"completion", "tcsh"}, "tcsh"},
        {{"flows", "-o", "json", "--follow"}, "use -o jsonl"},
        {{"flows", "--since", "yesterday"}, "parameter 'since': 'yesterday' is not a duration"},
        {{"policy", "explain", "a/b", "c/d"}, "parameter 'port': TCP needs one"},
    };
    for (const auto& [arguments, message] : rows) {
        EXPECT_EQ(cli(arguments), 2) << message;
        EXPECT_TRUE(complained(message)) << "wanted: " << message << "\ngot: " << err.str();
        EXPECT_EQ(out.str(), "") << message;
        EXPECT_TRUE(err.str().starts_with("beeline: "));
    }
}

TEST_F(AppTest, InstanceMayStandAnywhere) {
    EXPECT_EQ(cli({"--instance", "n1", "status"}), 0);
    EXPECT_EQ(asked_instance, "n1");
    EXPECT_EQ(cli({"map", "list", "--instance", "n2"}), 0);
    EXPECT_EQ(asked_instance, "n2");
    EXPECT_EQ(cli({"--instance=NO", "status"}), 1);
    EXPECT_TRUE(complained("cannot name an instance"));
}

TEST_F(AppTest, WithoutADaemon) {
    server->stop();
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"status"},
                                                      {"flows"},
                                                      {"get", "pod"},
                                                      {"service", "list"},
                                                      {"map", "list"}}) {
        EXPECT_EQ(cli(arguments), 1);
        EXPECT_TRUE(complained("beelined is not running (" + folder)) << err.str();
    }
}

TEST_F(AppTest, OddAnswersDoNotCrash) {
    for (
        const std::string odd :
        {"[]", "3", "\"x\"", "null", R"({"services":3,"maps":[5],"objects":{"a":1},"applied":"x"})",
         R"({"kernel":[],"source":"x","losses":5,"metrics":[1],"drops":{},"addresses":{"ipv4":1}})"}) {
        for (const std::string name :
             {"status", "services", "objects", "maps", "map", "explain", "apply"})
            backend.documents[name] = odd;
        for (const std::string format : {"table", "json", "yaml"}) {
            EXPECT_EQ(cli({"status", "-o", format}), 0) << odd;
            EXPECT_EQ(cli({"service", "list", "-o", format}), 0) << odd;
            EXPECT_EQ(cli({"get", "all", "-o", format}), 0) << odd;
            EXPECT_EQ(cli({"map", "list", "-o", format}), 0) << odd;
            EXPECT_EQ(cli({"map", "dump", "bl_ct", "-o", format}), 0) << odd;
            EXPECT_EQ(cli({"policy", "explain", "host", "host", "1", "-o", format}), 0) << odd;
        }
        EXPECT_EQ(cli({"status", "-o", "wide"}), 0) << odd;
    }
}

// --- lists

TEST_F(AppTest, ServiceList) {
    backend.documents["services"] = R"({"services":[
        {"namespace":"shop","name":"web","addresses":["10.96.0.1","fd96::1"],"affinity_s":600,"ports":[
          {"name":"http","protocol":"TCP","port":80,"backends":[{"address":"10.0.0.3","port":8080,"ready":true},
                                                                  {"address":"fd00::3","port":8080,"ready":false}]},
          {"name":"","protocol":"UDP","port":53,"backends":[]}]}]})";
    EXPECT_EQ(cli({"service", "list"}), 0);
    EXPECT_EQ(out.str(), "NAMESPACE  NAME  ADDRESSES          PORTS               READY\n"
                         "shop       web   10.96.0.1,fd96::1  http:80/TCP,53/UDP  1/2,0/0\n");
    EXPECT_EQ(cli({"service", "list", "-o", "wide"}), 0);
    EXPECT_TRUE(printed("10m0s")) << out.str();
    EXPECT_TRUE(printed("10.0.0.3:8080,[fd00::3]:8080(not ready)"));
    EXPECT_EQ(cli({"service", "list", "-o", "jsonl"}), 0);
    EXPECT_EQ(json::parse(out.str())["name"], "web");
    EXPECT_EQ(cli({"service", "list", "-o", "json"}), 0);
    EXPECT_EQ(json::parse(out.str())[0]["name"], "web");
    EXPECT_EQ(cli({"service", "list", "-o", "yaml"}), 0);
    EXPECT_TRUE(out.str().starts_with("- addresses:\n"));

    backend.documents["services"] = R"({"services":[]})";
    EXPECT_EQ(cli({"service", "list"}), 0);
    EXPECT_EQ(out.str(), "");
    EXPECT_EQ(err.str(), "no services\n");
    EXPECT_EQ(cli({"service", "list", "-o", "json"}), 0);
    EXPECT_EQ(out.str(), "[]\n");
}

TEST_F(AppTest, Maps) {
    backend.documents["maps"] =
        R"({"maps":[{"name":"bl_ct","type":"hash","key_size":40,"value_size":128,"max_entries":524288,"entries":7}]})";
    EXPECT_EQ(cli({"map", "list"}), 0);
    EXPECT_EQ(out.str(), "NAME   TYPE  ENTRIES  MAX\nbl_ct  hash  7        524288\n");
    backend.documents["map"] = R"({"name":"bl_ct","entries":[
        {"key":{"source":"10.0.0.1","port":80},"value":{"packets":[1,2]}},{"key":{"source":"10.0.0.2"},"value":{"extra":true}}]})";
    EXPECT_EQ(cli({"map", "dump", "bl_ct"}), 0);
    EXPECT_EQ(out.str(), "key.port  key.source  value.packets  value.extra\n"
                         "80        10.0.0.1    [1,2]          -\n"
                         "-         10.0.0.2    -              true\n");
    EXPECT_EQ(backend.last_limit, 1000U);
    EXPECT_EQ(cli({"map", "dump", "bl_ct", "--limit", "2"}), 0);
    EXPECT_EQ(backend.last_limit, 2U);
    EXPECT_TRUE(complained("only the first 2 entries"));
    EXPECT_EQ(cli({"map", "dump", "bl_x"}), 1);
    EXPECT_TRUE(complained("there is no map bl_x"));
    backend.documents["map"] = R"({"name":"bl_ct","entries":[]})";
    EXPECT_EQ(cli({"map", "dump", "bl_ct"}), 0);
    EXPECT_TRUE(complained("bl_ct is empty"));
}

// --- objects

TEST_F(AppTest, Get) {
    backend.documents["objects"] = R"({"objects":[
        {"kind":"Service","namespace":"shop","name":"web","file":"a.yaml","yaml":"kind: Service\nx: 1\n"},
        {"kind":"Namespace","name":"shop","file":"b.yaml","yaml":"kind: Namespace"}]})";
    EXPECT_EQ(cli({"get", "all"}), 0);
    EXPECT_EQ(out.str(), "KIND       NAMESPACE  NAME  FILE\n"
                         "Service    shop       web   a.yaml\n"
                         "Namespace  -          shop  b.yaml\n");
    EXPECT_EQ(backend.last_objects.kind, "");
    EXPECT_EQ(cli({"get", "svc", "web", "-n", "shop", "-o", "yaml"}), 0);
    EXPECT_EQ(out.str(), "kind: Service\nx: 1\n---\nkind: Namespace\n");
    EXPECT_EQ(backend.last_objects.kind, "svc");
    EXPECT_EQ(backend.last_objects.name, "web");
    EXPECT_EQ(backend.last_objects.space, std::optional<std::string>("shop"));

    backend.documents["objects"] = R"({"objects":[]})";
    EXPECT_EQ(cli({"get", "svc"}), 0);
    EXPECT_EQ(err.str(), "no objects\n");
    EXPECT_EQ(cli({"get", "svc", "none", "-n", "shop"}), 1);
    EXPECT_TRUE(complained("there is no svc shop/none"));
}

TEST_F(AppTest, ApplyReadsFilesFoldersAndNamesTheirLines) {
    fs::create_directory(folder + "/m");
    file("m/b.yml", "b1\nb2\n");
    file("m/a.yaml", "a1\na2");
    file("m/notes.txt", "no manifest");
    file("m/.hidden.yaml", "no manifest");
    const std::string single = file("c.json", "{}\n");
    backend.documents["apply"] =
        R"({"applied":[{"kind":"Service","namespace":"shop","name":"web","action":"created"},
                       {"kind":"Namespace","name":"shop","action":"unchanged"}],"warnings":["input:2:1: has no effect"]})";
    EXPECT_EQ(cli({"apply", "-f", folder + "/m", "-f", single}), 0);
    EXPECT_EQ(backend.last_yaml, "a1\na2\n---\nb1\nb2\n---\n{}\n");
    EXPECT_FALSE(backend.last_dry_run);
    EXPECT_EQ(out.str(), "Service shop/web created\nNamespace shop unchanged\n");
    EXPECT_EQ(err.str(), "warning: " + folder + "/m/a.yaml:2:1: has no effect\n");
    EXPECT_EQ(cli({"apply", "-f", single, "--dry-run"}), 0);
    EXPECT_TRUE(backend.last_dry_run);
    EXPECT_TRUE(printed("Service shop/web created (dry run)"));

    backend.errors["apply"] = Error{Code::invalid, 0, "input:5:3: spec.ports: expected a list"};
    EXPECT_EQ(cli({"apply", "-f", folder + "/m", "-f", single}), 1);
    EXPECT_EQ(err.str(), "beeline: " + folder + "/m/b.yml:2:3: spec.ports: expected a list\n");
    EXPECT_EQ(out.str(), "");
}

TEST_F(AppTest, ApplyWithoutAnythingToApply) {
    EXPECT_EQ(cli({"apply", "-f", folder + "/none.yaml"}), 1);
    EXPECT_TRUE(complained(folder + "/none.yaml"));
    fs::create_directory(folder + "/empty");
    EXPECT_EQ(cli({"apply", "-f", folder + "/empty"}), 1);
    EXPECT_TRUE(complained("holds no *.yaml"));
    EXPECT_EQ(cli({"apply", "-f", file("blank.yaml", "\n")}), 1);
    EXPECT_TRUE(complained("the body is empty"));
}

TEST_F(AppTest, Delete) {
    EXPECT_EQ(cli({"delete", "networkpolicy", "deny", "-n", "shop"}), 0);
    EXPECT_EQ(out.str(), "networkpolicy shop/deny deleted\n");
    EXPECT_EQ(cli({"delete", "Pod", "web"}), 0);
    EXPECT_EQ(cli({"delete", "Namespace", "shop", "-n", "ignored"}), 0);
    EXPECT_EQ(backend.removed, (std::vector<std::string>{"networkpolicy shop deny",
                                                         "Pod default web", "Namespace  shop"}));
    EXPECT_EQ(cli({"delete", "pod", "none"}), 1);
    EXPECT_TRUE(complained("pod default/none does not exist"));
}

TEST_F(AppTest, DeleteByFileGoesOnAfterAMissingObject) {
    backend.documents["apply"] =
        R"({"applied":[{"kind":"Pod","namespace":"shop","name":"none","action":"created"},
                                                {"kind":"Namespace","name":"shop","action":"unchanged"}]})";
    EXPECT_EQ(cli({"delete", "-f", file("x.yaml", "kind: Pod\n")}), 1);
    EXPECT_TRUE(backend.last_dry_run) << "nothing may be applied";
    EXPECT_TRUE(complained("Pod shop/none does not exist"));
    EXPECT_EQ(out.str(), "Namespace shop deleted\n");
}

TEST(ManifestInputTest, RelocatesOnlyPlaces) {
    ManifestInput input;
    std::istringstream standard("x\ny");
    ASSERT_TRUE(input.add("-", standard));
    std::istringstream again("z");
    ASSERT_TRUE(input.add("-", again));
    EXPECT_EQ(input.text(), "x\ny\n---\nz");
    EXPECT_EQ(input.relocate("input:2:7: bad"), "standard input:2:7: bad");
    EXPECT_EQ(input.relocate("same as (input:4:1) and 'input:1'"),
              "same as (standard input:1:1) and 'standard input:1'");
    for (const std::string untouched : {"myinput:2: x", "input: x", "input:", "", "input:0:1"})
        EXPECT_EQ(input.relocate(untouched), untouched);
}

// --- flows

TEST_F(AppTest, FlowsPassTheirFlagsOn) {
    EXPECT_EQ(cli({"flows"}), 0);
    EXPECT_EQ(backend.last_flows.last, 20U);
    EXPECT_EQ(err.str(), "no flows\n");
    EXPECT_EQ(cli({"flows",  "-f",       "--since", "10m",       "--pod",   "shop/web",   "--pod",
                   "api",    "--to-pod", "shop/",   "--verdict", "DROPPED", "--protocol", "tcp",
                   "--port", "80",       "--port",  "443",       "-o",      "jsonl"}),
              0);
    EXPECT_TRUE(backend.last_flows.follow);
    EXPECT_FALSE(backend.last_flows.last);
    EXPECT_TRUE(backend.last_flows.since_ns);
    EXPECT_EQ(backend.last_flows.pods, (std::vector<std::string>{"shop/web", "api"}));
    EXPECT_EQ(backend.last_flows.to_pods, (std::vector<std::string>{"shop/"}));
    EXPECT_EQ(backend.last_flows.ports, (std::vector<std::uint16_t>{80, 443}));
    EXPECT_EQ(err.str(), "");
}

TEST_F(AppTest, AlertsPassTheirFlagsOn) {
    EXPECT_EQ(cli({"alerts"}), 0);
    EXPECT_EQ(backend.last_alerts.last, 20U);
    EXPECT_EQ(err.str(), "no alerts\n");
    EXPECT_EQ(cli({"alerts", "--since", "10m", "--priority", "error", "--rule", "a*", "--rule", "b",
                   "--tag", "t", "--pod", "shop/", "--container", "ab", "--pid", "7"}),
              0);
    EXPECT_EQ(backend.last_alerts.least, model::Priority::error);
    EXPECT_EQ(backend.last_alerts.rules, (std::vector<std::string>{"a*", "b"}));
    EXPECT_EQ(backend.last_alerts.pids, (std::vector<std::uint32_t>{7}));
    EXPECT_EQ(cli({"alerts", "--priority", "bad"}), 2);
    EXPECT_NE(err.str().find("'bad' is not one of"), std::string::npos);
}

TEST_F(AppTest, AlertsForPeople) {
    backend.alert_lines = {
        R"j({"time":"2026-11-25T09:00:00.5Z","priority":"Error","rule":"Write below etc",)j"
        R"j("output":"09:00:00.5: Error File (file=/etc/x\u001b[31m)","beeline":{)j"
        R"j("workload":"shop/web","ancestors":[{"pid":7,"name":"sh"},{"pid":1,"name":"init"}]}})j",
        R"j({"missed":3})j"};
    EXPECT_EQ(cli({"alerts"}), 0);
    EXPECT_TRUE(printed("Nov 25 09:00:00.500 Error         Write below etc  shop/web\n"));
    EXPECT_TRUE(printed("\n    File (file=/etc/x?[31m)\n"));
    EXPECT_TRUE(printed("\n    process: sh[7] < init[1]\n"));
    EXPECT_TRUE(printed("MISSED 3 of these"));
}

TEST_F(AppTest, EventsForPeople) {
    backend.event_lines = {
        R"({"time":"2026-11-25T09:00:00Z","type":"openat","error":"ENOENT","process":{"pid":7,)"
        R"("name":"cat"},"path":"/etc/x","resolved":"/data/x","flags":["tampered"]})"};
    EXPECT_EQ(cli({"events", "--kind", "openat"}), 0);
    EXPECT_EQ(backend.last_events.kinds, (std::vector<std::uint16_t>{11}));
    EXPECT_TRUE(
        printed("openat             7 cat              ENOENT  /etc/x  reached /data/x  tampered"));
}

TEST_F(AppTest, RulesList) {
    backend.documents["rules"] =
        R"({"rules":[{"name":"A","priority":"Error","enabled":true,"kinds":["a","b","c","d","e"],)"
        R"("pushed_down":"success","events":5,"matches":2,"ns_per_event":12.4}]})";
    EXPECT_EQ(cli({"rules", "list"}), 0);
    EXPECT_TRUE(printed("a,b,c,d,+1"));
    EXPECT_TRUE(printed("12ns"));
}

TEST_F(AppTest, RulesAreCheckedWithoutAnAgent) {
    server.reset();
    const std::string good = folder + "/good.yaml";
    std::ofstream(good) << "- rule: A\n  desc: d\n  condition: evt.type = execve\n  output: x\n"
                           "  priority: ERROR\n";
    EXPECT_EQ(cli({"rules", "check", good}), 0);
    EXPECT_TRUE(printed("1 rules in 1 files are good\n"));
    const std::string bad = folder + "/bad.yaml";
    std::ofstream(bad) << "- rule: A\n  desc: d\n  condition: evt.typo = execve\n  output: x\n"
                          "  priority: ERROR\n";
    EXPECT_EQ(cli({"rules", "check", bad}), 1);
    EXPECT_TRUE(printed("LOAD_ERR_COMPILE_CONDITION"));
    EXPECT_TRUE(printed("bad.yaml"));
    EXPECT_EQ(cli({"rules", "check", folder + "/nothing.yaml"}), 1);
}

TEST_F(AppTest, FlowFormats) {
    backend.flow_lines = {
        R"({"time":"2026-11-25T09:00:00Z","kind":"opened","verdict":"FORWARDED","protocol":"TCP"})",
        R"({"time":"2026-11-25T09:00:01Z","kind":"lost","lost":{"where":"queue","count":3}})"};
    EXPECT_EQ(cli({"flows"}), 0);
    EXPECT_TRUE(printed("Nov 25 09:00:00.000 "));
    EXPECT_TRUE(printed("\nNov 25 09:00:01.000 LOST 3 flows are missing here (queue)\n"));
    EXPECT_EQ(cli({"flows", "-o", "jsonl"}), 0);
    EXPECT_EQ(out.str(), backend.flow_lines[0] + "\n" + backend.flow_lines[1] + "\n");
    EXPECT_EQ(cli({"flows", "-o", "json"}), 0);
    EXPECT_EQ(json::parse(out.str()).size(), 2U);
    backend.flow_lines.clear();
    EXPECT_EQ(cli({"flows", "-o", "json"}), 0);
    EXPECT_EQ(out.str(), "[]\n");
}

// --- explain and status

TEST_F(AppTest, Explain) {
    backend.documents["explain"] = R"({"allowed":false,"protocol":"TCP","port":8080,
        "source":{"kind":"workload","namespace":"shop","name":"client","address":"10.0.0.2"},
        "destination":{"kind":"workload","namespace":"shop","name":"web","address":"10.0.0.3"},
        "egress":{"isolated":false,"allowed":true,"rule":"","policies":[]},
        "ingress":{"isolated":true,"allowed":false,"rule":"","policies":["NetworkPolicy shop/default-deny"]},
        "kernel":{"allowed":false,"rule":""}})";
    EXPECT_EQ(cli({"policy", "explain", "shop/client", "shop/web", "8080"}), 0);
    EXPECT_EQ(out.str(), "DENIED  shop/client (10.0.0.2) -> shop/web (10.0.0.3)  TCP:8080\n"
                         "  egress   allowed: no policy isolates it\n"
                         "  ingress  no rule allows; isolated by NetworkPolicy shop/default-deny\n"
                         "  kernel   agrees\n");
    EXPECT_EQ(backend.last_explain.port, 8080);
    backend.documents["explain"] =
        R"({"allowed":true,"protocol":"ICMP","source":{"kind":"host"},"destination":{"address":"10.0.0.3"},
        "egress":{"allowed":true},"ingress":{"isolated":true,"allowed":true,"rule":"NetworkPolicy shop/a ingress[0]"},
        "service":{"namespace":"shop","name":"web","address":"10.96.0.1","port":80},
        "kernel":{"allowed":false,"rule":"x"}})";
    EXPECT_EQ(cli({"policy", "explain", "host", "10.96.0.1", "--protocol", "icmp"}), 0);
    EXPECT_TRUE(out.str().starts_with(
        "ALLOWED  host -> 10.0.0.3  ICMP\n  service  shop/web 10.96.0.1:80\n"))
        << out.str();
    EXPECT_TRUE(printed("  ingress  allowed by NetworkPolicy shop/a ingress[0]\n"));
    EXPECT_TRUE(printed("  kernel   denies it by x: a change is on its way"));
    context.color = true;
    EXPECT_EQ(cli({"policy", "explain", "host", "10.96.0.1", "--protocol", "icmp"}), 0);
    EXPECT_TRUE(out.str().starts_with("\033[32mALLOWED\033[0m"));
}

TEST_F(AppTest, StatusPage) {
    backend.documents["status"] =
        R"({"version":"0.1.0","node":"n1","instance":"demo","pid":42,"uptime_s":18720,
        "kernel":{"release":"6.18.0","features":[{"name":"tcx","available":true},
                  {"name":"netkit","available":false,"lost":"pods use veth pairs"}]},
        "source":{"kind":"files","place":"/etc/beeline/manifests","manifests":"/etc/beeline/manifests","objects":{"NetworkPolicy":2,"Service":1},
                  "errors":[{"file":"bad.yaml","message":"bad.yaml:3:1: unknown field"},{"file":"x.yaml","message":"cannot be read"}]},
        "workloads":3,"identities":4,"services":1,"policies":2,
        "addresses":{"ipv4":{"range":"10.0.0.0/24","used":3,"size":254},"ipv6":{"range":"fd00::/64","used":3,"size":1000}},
        "maps":[{"name":"bl_ct","entries":1,"max_entries":9}],"flows":{"stored":10,"capacity":100,"per_second":1.25},
        "losses":{"ring":5,"queue":0},"drops":[{"reason":"Policy denied","count":9},{"reason":"Unused","count":0}],
        "metrics":{"helper_failures":1}})";
    EXPECT_EQ(cli({"status"}), 0);
    EXPECT_EQ(out.str(), "beelined 0.1.0 on n1 (instance demo), pid 42, up 5h12m\n"
                         "  source      files /etc/beeline/manifests: 2 NetworkPolicy, 1 Service\n"
                         "  workloads   3 (4 identities, 1 services, 2 policies)\n"
                         "  addresses   3 of 254 in 10.0.0.0/24, 3 of 1000 in fd00::/64\n"
                         "  flows       10 of 100 stored, 1.2 a second\n"
                         "  kernel      6.18.0\n"
                         "  losses      lost: 5 flows in the ring\n"
                         "\nThis kernel lacks\n"
                         "  netkit      pods use veth pairs\n"
                         "\nManifests with errors (what they said before stays in force)\n"
                         "  bad.yaml:3:1: unknown field\n"
                         "  x.yaml: cannot be read\n"
                         "\nDROPPED PACKETS  REASON\n"
                         "9                Policy denied\n");
    EXPECT_EQ(cli({"status", "-o", "wide"}), 0);
    EXPECT_TRUE(printed("This kernel has\n  tcx\n"));
    EXPECT_TRUE(printed("bl_ct"));
    EXPECT_TRUE(printed("helper_failures"));
    EXPECT_EQ(cli({"status", "-o", "json"}), 0);
    EXPECT_EQ(json::parse(out.str())["pid"], 42);
    EXPECT_EQ(cli({"status", "-o", "yaml"}), 0);
    EXPECT_TRUE(printed("pid: 42\n"));
}

// --- completion and the page

// What bash offers for the last of `words`.
std::string bash_offers(const std::string& script, const std::vector<std::string>& words) {
    std::string line = "COMP_WORDS=(";
    for (const auto& word : words)
        line += "'" + word + "' ";
    line += fmt::format("); COMP_CWORD={}; _beeline; printf '%s ' \"${{COMPREPLY[@]}}\"\n",
                        words.size() - 1);
    char name[] = "/tmp/beeline-completion-XXXXXX";
    const int fd = mkstemp(name);
    const std::string text = "compopt() { :; }\n" + script + line;
    EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(fd);
    std::string out;
    FILE* pipe = popen((std::string("bash ") + name + " 2>&1").c_str(), "re");
    char buffer[4096];
    while (const std::size_t got = fread(buffer, 1, sizeof(buffer), pipe))
        out.append(buffer, got);
    EXPECT_EQ(pclose(pipe), 0) << out;
    unlink(name);
    return out;
}

TEST_F(AppTest, BashCompletes) {
    EXPECT_EQ(cli({"completion", "bash"}), 0);
    const std::string script = out.str();
    EXPECT_EQ(bash_offers(script, {"beeline", "fl"}), "flows ");
    EXPECT_EQ(bash_offers(script, {"beeline", "policy", ""}).substr(0, 8), "explain ");
    EXPECT_EQ(bash_offers(script, {"beeline", "--instance", "n1", "map", "du"}), "dump ");
    EXPECT_EQ(bash_offers(script, {"beeline", "flows", "--fo"}), "--follow ");
    EXPECT_EQ(bash_offers(script, {"beeline", "flows", "-o", "js"}), "json jsonl ");
    EXPECT_EQ(bash_offers(script, {"beeline", "map", "list", "-o", "y"}), "yaml ");
    EXPECT_EQ(bash_offers(script, {"beeline", "apply", "--dr"}), "--dry-run ");
    EXPECT_NE(bash_offers(script, {"beeline", "apply", "-f", "/etc/host"}).find("/etc/hosts "),
              std::string::npos);
    EXPECT_EQ(bash_offers(script, {"beeline", "zzz"}), " ");
    EXPECT_EQ(bash_offers(script, {"beeline", "cli"}), " ") << "hidden verbs stay hidden";
}

TEST_F(AppTest, OtherShells) {
    EXPECT_EQ(cli({"completion", "zsh"}), 0);
    EXPECT_TRUE(out.str().starts_with("#compdef beeline\n"));
    EXPECT_TRUE(printed("'policy explain')"));
    EXPECT_EQ(cli({"completion", "fish"}), 0);
    EXPECT_TRUE(printed("complete -c beeline -n '__fish_use_subcommand' -a flows"));
    EXPECT_TRUE(printed("-l follow -s f -d"));
}

TEST_F(AppTest, ThePageHasEveryVerb) {
    EXPECT_EQ(cli({"cli-docs"}), 0);
    EXPECT_TRUE(out.str().starts_with("# The command line\n"));
    for (const std::string title : {"\n## beeline\n", "Usage: beeline [OPTIONS] SUBCOMMAND",
                                    "\n## beeline flows\n", "\n## beeline policy explain\n",
                                    "Usage: beeline policy explain [OPTIONS] SRC DST [PORT]"})
        EXPECT_TRUE(printed(title)) << title;
    EXPECT_FALSE(printed("cli-docs\n"));
}

} // namespace
} // namespace beeline::cli
