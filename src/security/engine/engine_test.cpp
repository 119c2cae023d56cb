// Conditions of one field at a time: what each operator, transformer and field says of an event.
#include <gtest/gtest.h>

#include <fcntl.h>

#include "security/engine/test_scene.h"

namespace beeline::security {
namespace {

using namespace testing;

class Conditions : public ::testing::Test {
protected:
    Result<std::unique_ptr<Engine>> compile(const std::string& condition,
                                            EngineOptions options = {},
                                            const std::string& output = "x") {
        rules::RuleSet set;
        rules::Rule rule;
        rule.name = "r";
        rule.output = output;
        rules::Parsed parsed = rules::parse_condition(condition);
        if (!parsed.node) return fail(Code::invalid, "{}", parsed.error.message);
        rule.condition = std::move(parsed.node);
        set.rules.push_back(std::move(rule));
        return Engine::compile(set, options, machine.host, machine.tree);
    }
    bool matches(const std::string& condition, const Event& event) {
        auto engine = compile(condition);
        EXPECT_TRUE(engine.has_value())
            << condition << ": " << (engine ? "" : engine.error().message);
        if (!engine) return false;
        bool hit = false;
        (*engine)->evaluate(event, [&](model::Alert&&) { hit = true; });
        return hit;
    }
    std::string output(const std::string& text, const Event& event) {
        EngineOptions options;
        options.suggested_output = false;
        auto engine = compile("evt.type exists", options, text);
        EXPECT_TRUE(engine.has_value()) << (engine ? "" : engine.error().message);
        std::string out = "no match";
        if (engine) (*engine)->evaluate(event, [&](model::Alert&& alert) { out = alert.message; });
        return out;
    }
    void expect_error(const std::string& condition, const std::string& part) {
        auto engine = compile(condition);
        ASSERT_FALSE(engine.has_value()) << condition;
        EXPECT_NE(engine.error().message.find(part), std::string::npos) << engine.error().message;
    }
    struct Row {
        std::string condition;
        bool matches;
    };
    void check(const Event& event, std::initializer_list<Row> rows) {
        for (const Row& row : rows)
            EXPECT_EQ(matches(row.condition, event), row.matches) << row.condition;
    }
    Machine machine;
};

TEST_F(Conditions, TextOperators) {
    const Event event = machine.event(
        machine.make({.name = "Grep", .args = {"-r", "Needle", "/home/a"}, .ancestors = {"bash"}}),
        open_of("/etc/pam.d/login", O_RDONLY));
    check(event, {
                     {"proc.name = Grep", true},
                     {"proc.name == Grep", true},
                     {"proc.name = grep", false},
                     {"proc.name != grep", true},
                     {"proc.name != Grep", false},
                     {"proc.name exists", true},
                     {"proc.args contains Needle", true},
                     {"proc.args contains needle", false},
                     {"proc.args icontains nEEdle", true},
                     {"proc.args startswith -r", true},
                     {"proc.args endswith /a", true},
                     {"fd.name glob /etc/*/log?n", true},
                     {"fd.name glob /etc/*/[a-k]*", false},
                     {"fd.name iglob /ETC/*", true},
                     {"fd.name regex '/etc/.*n'", true},
                     {"fd.name regex '/etc/'", false},
                     {"proc.name in (a, Grep, b)", true},
                     {"proc.name in (a, b)", false},
                     {"proc.name in ()", false},
                     {"proc.name intersects (a, Grep)", true},
                     {"fd.name pmatch (/usr, /etc/pam.d)", true},
                     {"fd.name pmatch (/etc/pam)", false},
                     {"fd.name pmatch (/*/pam.d)", true},
                     {"fd.name pmatch (/etc/*/other)", false},
                     {"proc.name startswith oneof (G, Gr, x)", false},
                     {"proc.name startswith oneof (G, y, x)", true},
                     {"proc.name startswith anyof (z, Gr)", true},
                     {"proc.name contains allof (G, ep)", true},
                     {"proc.name contains allof (G, xx)", false},
                     {"proc.name != allof (a, b)", true},
                     {"proc.name = anyof (a, Grep)", true},
                 });
}

TEST_F(Conditions, NumbersAndTruth) {
    const Event event =
        machine.event(machine.make({.uid = 1000, .tty = 34816}), open_of("/x", O_RDWR, 3));
    check(event, {
                     {"user.uid = 1000", true},
                     {"user.uid=0x3e8", true},
                     {"user.uid > 999", true},
                     {"user.uid >= 1001", false},
                     {"user.uid <= 1000", true},
                     {"user.uid < 1000", false},
                     {"user.uid != 0", true},
                     {"user.uid in (0, 1000)", true},
                     {"user.loginuid = -1", true},
                     {"user.loginuid > -2", true},
                     {"proc.tty != 0", true},
                     {"evt.is_open_read = true", true},
                     {"evt.is_open_write=true", true},
                     {"evt.is_open_exec = false", true},
                     {"evt.rawres >= 0", true},
                     {"evt.res = SUCCESS", true},
                     {"evt.failed = false", true},
                     {"evt.num = 0", false},
                     {"evt.dir = <", true},
                     {"evt.dir = >", false},
                     {"fd.num >= 0", true},
                 });
    const Event failed = machine.event(machine.make({}), open_of("/x", O_RDONLY, -13));
    check(failed, {
                      {"evt.res = EACCES", true},
                      {"evt.res startswith E", true},
                      {"evt.rawres = -13", true},
                      {"evt.rawres < 0", true},
                      {"fd.num = -1", true},
                      {"fd.num >= 0", false},
                      {"fd.typechar = 'f'", true},
                      {"fd.name = /x", true},
                      {"evt.arg.fd = EACCES", true},
                  });
}

TEST_F(Conditions, AbsentValues) {
    const Event orphan = machine.event(machine.make({}), RecordBuilder(BL_EVENT_execve));
    check(orphan, {
                      {"proc.pname exists", false},
                      {"proc.pname = x", false},
                      {"proc.pname != x", false},
                      {"not proc.pname = x", true},
                      {"not proc.pname in (x)", true},
                      {"proc.aname = x", false},
                      {"not proc.aname = x", true},
                      {"fd.name exists", false},
                      {"fd.name != x", false},
                      {"container.image.repository != x", false},
                      {"container.id = host", true},
                      {"proc.args exists", true}, // an empty text is there
                      {"proc.args = ''", true},
                      {"proc.args startswith x", false},
                      {"evt.arg.nstype exists", false},
                  });
}

TEST_F(Conditions, Ancestors) {
    const Event event =
        machine.event(machine.make({.name = "id", .ancestors = {"sh", "nginx", "systemd"}}),
                      RecordBuilder(BL_EVENT_execve));
    check(event, {
                     {"proc.aname = nginx", true},
                     {"proc.aname = id", false}, // not itself
                     {"proc.aname in (x, systemd)", true},
                     {"not proc.aname = nginx", false},
                     {"proc.aname[0] = id", true},
                     {"proc.aname[1] = sh", true},
                     {"proc.aname[2] = nginx", true},
                     {"proc.aname[3] = systemd", true},
                     {"proc.aname[4] exists", false},
                     {"proc.aname startswith sys", true},
                     {"proc.aexepath = /usr/bin/nginx", true},
                     {"proc.acmdline contains ngin", true},
                     {"proc.pname = sh", true},
                 });
}

TEST_F(Conditions, Networks) {
    const Event event = machine.event(machine.make({}), connect_to("203.0.113.7", 443, -115));
    check(event, {
                     {"fd.sip = 203.0.113.7", true},
                     {"fd.cip = 10.0.0.5", true},
                     {"fd.lip = 10.0.0.5", true},
                     {"fd.rip = 203.0.113.7", true},
                     {"fd.ip = 10.0.0.5", true},
                     {"fd.ip != 10.0.0.5", false}, // both must differ
                     {"fd.ip != 10.0.0.9", true},
                     {"fd.ip = fd00::1", false},
                     {"fd.ip != fd00::1", true},
                     {"fd.net = 10.0.0.0/8", true},
                     {"fd.net != 10.0.0.0/8", false},
                     {"fd.snet in (192.168.0.0/16, 203.0.113.0/24)", true},
                     {"fd.snet in (10.0.0.0/8)", false},
                     {"fd.sport = 443", true},
                     {"fd.sport = https", true},
                     {"fd.port in (443)", true},
                     {"fd.port != 443", false},
                     {"fd.sport >= 400", true},
                     {"fd.typechar = 4", true},
                     {"fd.l4proto = tcp", true},
                     {"fd.sockfamily = ip", true},
                     {"fd.type in (ipv4, ipv6)", true},
                     {"fd.connected = true", true},
                     {"fd.name = '10.0.0.5:40000->203.0.113.7:443'", true},
                     {"evt.res = EINPROGRESS", true},
                     {"fd.directory exists", false},
                     {"fd.sip.name = kubernetes.default.svc.cluster.local", false},
                 });
    const Event server =
        machine.event(machine.make({}),
                      RecordBuilder(BL_EVENT_accept)
                          .result(4)
                          .facts(socket_of("fd00::1", 80, "fd00::2", 5000, 6, BL_SOCK_ACCEPTED)));
    check(server, {
                      {"fd.sip = fd00::1", true},
                      {"fd.cip = fd00::2", true},
                      {"fd.lport = 80", true},
                      {"fd.typechar = 6", true},
                      {"fd.name = 'fd00::2:5000->fd00::1:80'", true},
                      {"fd.is_server = true", true},
                  });
    const Event listening = machine.event(
        machine.make({}), RecordBuilder(BL_EVENT_listen)
                              .num(0, 3)
                              .facts(socket_of("0.0.0.0", 80, "", 0, 6, BL_SOCK_LISTENING)));
    check(listening, {
                         {"fd.ip = 0.0.0.0", true},
                         {"fd.ip != 0.0.0.0", false},
                         {"fd.name = 0.0.0.0:80", true},
                         {"fd.cip exists", false},
                     });
}

TEST_F(Conditions, PathsAsAskedAndAsReached) {
    const Event link =
        machine.event(machine.make({}), open_of("/tmp/x", O_RDONLY, 3, "/etc/shadow"));
    check(link, {
                    {"fd.name = /tmp/x", true},
                    {"fd.name = /etc/shadow", true},
                    {"fd.directory = /etc", true},
                    {"fd.filename = x", true},
                    // Each way of looking stands for itself.
                    {"fd.directory = /tmp and fd.filename = shadow", false},
                    {"fd.nameraw = /tmp/x", true},
                    {"not fd.name = /tmp/x", true},
                    {"beeline.event.path = /etc/shadow", true},
                });
    EXPECT_EQ(output("%fd.name", link), "/tmp/x");
    auto engine = compile("fd.name = /etc/shadow", {}, "%fd.name raw=%fd.nameraw");
    ASSERT_TRUE(engine.has_value());
    std::string message;
    (*engine)->evaluate(link, [&](model::Alert&& alert) { message = alert.message; });
    EXPECT_EQ(message.substr(0, 22), "/etc/shadow raw=/tmp/x");

    RecordBuilder relative(BL_EVENT_unlinkat);
    relative.text(BL_STR_PATH, "../b//./c").text(BL_STR_BASE, "/srv/a").num(2, 0x200);
    const Event event = machine.event(machine.make({}), relative);
    check(event, {
                     {"evt.arg.name = /srv/b/c", true},
                     {"evt.arg.flags = AT_REMOVEDIR", true},
                     {"evt.abspath = /srv/b/c", true},
                     {"fd.name exists", false},
                 });
}

TEST_F(Conditions, Transformers) {
    const Event event =
        machine.event(machine.make({.name = "CURL", .args = {"-v", "-o", "out", "aGVsbG8="}}),
                      open_of("/etc/Passwd", O_RDONLY));
    check(event, {
                     {"tolower(proc.name) = curl", true},
                     {"toupper(fd.name) = /ETC/PASSWD", true},
                     {"basename(fd.name) = Passwd", true},
                     {"len(proc.name) = 4", true},
                     {"len(fd.name) > 20", false},
                     {"b64(proc.args[3]) = hello", true},
                     {"b64(proc.args[0]) exists", false},
                     {"proc.args[2] = out", true},
                     {"proc.args[9] exists", false},
                     {"proc.name = val(proc.exe)", true},
                     {"proc.name != val(proc.exe)", false},
                     {"fd.name contains val(proc.name)", false},
                     {"tolower(basename(fd.name)) = passwd", true},
                     {"concat(proc.name, fd.name) = CURL/etc/Passwd", true},
                     {"join(\"+\", (proc.name, proc.exe)) = CURL+CURL", true},
                     {"getopt(proc.args, \"o:v\")[o] = out", true},
                     {"getopt(proc.args, \"o:v\") intersects (v)", true},
                     {"getopt(proc.args, \"o:v\")[x] exists", false},
                     {"join(',', proc.args) = '-v,-o,out,aGVsbG8='", true},
                 });
}

TEST_F(Conditions, Users) {
    const Event boxed = machine.event(machine.make({.uid = 1000, .in_container = true}),
                                      RecordBuilder(BL_EVENT_setuid).num(0, 33));
    check(boxed, {
                     {"user.name = app", true},
                     {"evt.arg.uid = www-data", true},
                     {"group.name = '<NA>'", true},
                     {"container.id = 0123456789ab", true},
                     {"container.image.repository endswith shop/web", true},
                     {"container.image.tag = 1.2", true},
                     {"k8s.ns.name = shop", true},
                     {"k8s.pod.name startswith web", true},
                     {"container.privileged = false", true},
                     {"container.label.app = web", true},
                     {"container.label[app] = web", true},
                 });
    const Event host = machine.event(machine.make({.uid = 1000}), RecordBuilder(BL_EVENT_setuid));
    check(host, {{"user.name = alice", true}, {"user.loginname = '<NA>'", true}});
    const Event nobody = machine.event(machine.make({.uid = 4711}), RecordBuilder(BL_EVENT_setuid));
    check(nobody, {{"user.name = '<NA>'", true}});
}

TEST_F(Conditions, Flows) {
    model::Flow flow;
    flow.kind = model::Flow::Kind::dropped;
    flow.verdict = model::Flow::Verdict::dropped;
    flow.reason = 133;
    flow.denied_direction = "egress";
    flow.denied_by = {"deny-all", "base"};
    flow.source.kind = model::FlowEnd::Kind::workload;
    flow.source.space = "shop";
    flow.source.name = "web";
    flow.source.labels = {{"app", "web"}};
    flow.destination.address = *net::Ip::parse("203.0.113.7");
    flow.destination.port = 4444;
    Event event = machine.event(machine.make({.name = "curl", .ancestors = {"bash", "nginx"}}),
                                RecordBuilder(BL_EVENT_flow));
    event.flow = &flow;
    check(event, {
                     {"evt.type = flow", true},
                     {"flow.verdict = DROPPED and proc.aname in (bash, sh)", true},
                     {"flow.drop_reason = POLICY_DENIED", true},
                     {"flow.direction = egress", true},
                     {"flow.denied_by intersects (base, x)", true},
                     {"flow.denied_by in (base, x)", false},
                     {"flow.denied_by in (base, deny-all)", true},
                     {"flow.src.workload = shop/web", true},
                     {"flow.src.labels[app] = web", true},
                     {"flow.dst.ip = 203.0.113.7", true},
                     {"flow.dst.net = 203.0.113.0/24", true},
                     {"flow.dst.port > 1024", true},
                     {"flow.protocol = tcp", true},
                     {"dns.query exists", false},
                     {"evt.res exists", false},
                 });
    EXPECT_EQ(output("%flow.src.name %flow.denied_by %dns.query", event),
              "web (deny-all,base) <NA>");
}

TEST_F(Conditions, Errors) {
    expect_error("proc.nme = x", "unknown field");
    expect_error("evt.arg.nothing = x", "unknown field");
    expect_error("evt.type = opem", "unknown event type");
    expect_error("proc.pid contains 1", "not for");
    expect_error("proc.pid = one", "not a number");
    expect_error("fd.ip startswith 1", "not for");
    expect_error("fd.net = 10.0.0.1", "not a network");
    expect_error("fd.ip = 10.0.0.1/8", "10.0.0.1/8");
    expect_error("fd.sport = nosuchservice", "neither a port nor a service");
    expect_error("proc.aname[x] = y", "needs a number");
    expect_error("container.mount.dest = y", "needs an argument");
    expect_error("evt.is_open_read = yes", "true or false");
    expect_error("proc.name regex '('", "bad regular expression");
    expect_error("proc.name regex '((a{1000}){1000}){1000}'", "bad regular expression");
    expect_error("evt.buffer bcontains 0xz", "hex");
    expect_error("proc.name = val(proc.pid)", "cannot be compared");
    expect_error("proc.name = val(proc.aname)", "right side");
    expect_error("tolower(proc.pid) = x", "needs a string");
    expect_error("flow.denied_by = x", "not for");
}

TEST_F(Conditions, KindsOfACondition) {
    const auto count = [&](const std::string& text) {
        return Engine::catalog().event_kinds(*rules::parse_condition(text).node);
    };
    EXPECT_EQ(count("evt.type = open"), 1U);
    EXPECT_EQ(count("evt.type in (open, openat) and proc.name = x"), 2U);
    EXPECT_EQ(count("evt.type = open or evt.type = close"), 2U);
    EXPECT_EQ(count("evt.type = open and evt.type = close"), 0U);
    EXPECT_EQ(count("evt.num = 0"), 0U);
    EXPECT_GT(count("proc.name = x"), 100U);
    EXPECT_GT(count("evt.type != open"), 100U);
    EXPECT_EQ(count("not evt.type != open"), 1U);
    EXPECT_GT(count("not (evt.type = open and proc.name = x)"), 100U);
    EXPECT_EQ(count("evt.type = fork"), 2U); // the name, and clone, which is what is recorded
}

TEST_F(Conditions, Outputs) {
    const Event event = machine.event(machine.make({.name = "cat", .args = {"x"}}),
                                      open_of("/etc/passwd", O_RDONLY));
    EXPECT_EQ(output("a %proc.name b %proc.pname c%%", event), "a cat b <NA> c%");
    EXPECT_EQ(output("*%5proc.name|%2proc.name|", event), "cat  |ca|");
    EXPECT_EQ(output("%toupper(proc.name) %proc.aname[2]", event), "CAT <NA>");
    EXPECT_EQ(output("%evt.arg.flags.", event), "O_RDONLY.");
    EXPECT_EQ(output("%container.info%evt.type", event), "openat");
    EXPECT_EQ(output("%evt.args", event).substr(0, 44),
              "fd=3(<f>/etc/passwd) dirfd=-100(AT_FDCWD) na");
    EXPECT_NE(Engine::catalog().check_output("x %proc.nme", "syscall"), "");
    EXPECT_NE(Engine::catalog().check_output("x %", "syscall"), "");
    EXPECT_EQ(Engine::catalog().check_output("x %proc.name", "syscall"), "");
}

TEST_F(Conditions, AlertLines) {
    EngineOptions options;
    options.static_fields = {{"site", "a"}};
    options.appends = {{.source = "",
                        .rule = "r",
                        .tags = {},
                        .extra_output = "uid=%user.uid",
                        .extra_fields = {{"who", "%user.name!"}},
                        .suggested = false}};
    auto engine = compile("static.site = a", options, "hit %proc.name %proc.pname %fd.name");
    ASSERT_TRUE(engine.has_value()) << engine.error().message;
    const Event event = machine.event(machine.make({.name = "c\nt", .in_container = true}),
                                      open_of("/a\xff", O_RDONLY));
    model::Alert alert;
    (*engine)->evaluate(event, [&](model::Alert&& one) { alert = std::move(one); });
    EXPECT_EQ(alert.message,
              "hit c\nt <NA> /a\xff uid=0 container_id=0123456789ab container_name=web "
              "container_image_repository=example.org/shop/web container_image_tag=1.2 "
              "k8s_pod_name=web-1 k8s_ns_name=shop static_site=a");
    const std::string text = alert_text(alert, true);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_TRUE(
        text.starts_with("2023-11-14T22:30:00.000000000+0000: Debug hit c\\nt <NA> /a\xef\xbf\xbd"))
        << text;
    const std::string json = alert_json(alert, true, false);
    EXPECT_TRUE(json.starts_with("{\"hostname\":\"host1\",\"output\":\"2023-11-14T22:30:00"))
        << json;
    for (const char* part :
         {"\"evt.time\":1700001000000000000", "\"proc.pname\":null", "\"user.uid\":0",
          "\"who\":\"root!\"", "\"priority\":\"Debug\"", "\"rule\":\"r\"", "\"source\":\"syscall\"",
          "\"tags\":[]", "\"time\":\"2023-11-14T22:30:00.000000000Z\""})
        EXPECT_NE(json.find(part), std::string::npos) << part << " in " << json;
    const std::string own = alert_json(alert);
    EXPECT_TRUE(own.starts_with("{\"beeline\":{\"ancestors\":[{\"cmdline\":")) << own;
}

TEST_F(Conditions, FirstOrAllAndSelections) {
    const auto set = [] {
        rules::RuleSet out;
        for (const char* name : {"one", "two", "three"}) {
            rules::Rule rule;
            rule.name = name;
            rule.output = name;
            rule.tags = {std::string("tag_") + name};
            rule.priority =
                name == std::string("two") ? model::Priority::error : model::Priority::notice;
            rule.condition = rules::parse_condition("evt.type = openat").node;
            out.rules.push_back(std::move(rule));
        }
        return out;
    }();
    const Event event = machine.event(machine.make({}), open_of("/x", O_RDONLY));
    const auto run = [&](const EngineOptions& options) {
        auto engine = Engine::compile(set, options, machine.host, machine.tree);
        std::string out;
        (*engine)->evaluate(event, [&](model::Alert&& alert) { out += alert.rule + ' '; });
        return out;
    };
    EXPECT_EQ(run({}), "one ");
    EXPECT_EQ(run({.match_all = true}), "one two three ");
    EXPECT_EQ(run({.match_all = true, .least = model::Priority::error}), "two ");
    EngineOptions some;
    some.selections = {{.enable = false, .rule = "*", .tag = ""},
                       {.enable = true, .rule = "", .tag = "tag_three"}};
    EXPECT_EQ(run(some), "three ");
}

TEST_F(Conditions, EveryFieldCanBeTaken) {
    // None of them reads what is not there, whatever the kind.
    std::string all;
    for (const FieldInfo& field : Engine::fields()) {
        EXPECT_FALSE(field.description.empty());
        if (field.argument == "required" ||
            Engine::catalog().check_output("%" + field.name, "syscall") != "")
            continue;
        all += "%" + field.name + " ";
    }
    auto engine = compile("evt.num > 0", {}, all);
    ASSERT_TRUE(engine.has_value()) << engine.error().message;
    int hits = 0;
    for (int kind = 2; kind < BL_EVENT_KIND_MAX; ++kind) {
        const Event event = machine.event(
            machine.make({.ancestors = {"a"}}),
            RecordBuilder(static_cast<std::uint16_t>(kind == 201 ? 2 : BL_EVENT_openat)));
        Event other = event;
        other.head.kind = static_cast<std::uint16_t>(kind);
        (*engine)->evaluate(other, [&](model::Alert&&) { ++hits; });
    }
    EXPECT_GT(hits, 100);
}

} // namespace
} // namespace beeline::security
