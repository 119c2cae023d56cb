#include "cli/run_spec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

namespace beeline::cli {
namespace {

template <typename T>
std::string message(const Result<T>& result) {
    return result ? "" : result.error().message;
}

RunFlags flags_of(std::vector<std::string> command = {"/bin/true"}) {
    RunFlags flags;
    flags.name = "web";
    flags.command = std::move(command);
    return flags;
}

bool has(const std::vector<std::string>& list, const std::string& wanted) {
    return std::find(list.begin(), list.end(), wanted) != list.end();
}

TEST(RunSpec, SizesArePowersOf1024) {
    EXPECT_EQ(parse_size("1048576").value(), 1U << 20);
    EXPECT_EQ(parse_size("2048K").value(), 2U << 20);
    EXPECT_EQ(parse_size("256M").value(), 256U << 20);
    EXPECT_EQ(parse_size("256Mi").value(), 256U << 20);
    EXPECT_EQ(parse_size("256MB").value(), 256U << 20);
    EXPECT_EQ(parse_size("1.5g").value(), 3ULL << 29);
    EXPECT_EQ(parse_size("2T").value(), 2ULL << 40);
}

TEST(RunSpec, SizesThatMeanNothingAreRefused) {
    for (const auto* text : {"", "M", "12X", "-1M", "1e6", "inf", "nan", "1 M", "0", "1K",
                             "99999999999T", "1.2.3M", "0x10M"})
        EXPECT_FALSE(parse_size(text)) << text;
    EXPECT_NE(message(parse_size("12X")).find("'12X' is not a size"), std::string::npos);
    EXPECT_NE(message(parse_size("1K")).find("at least 1M"), std::string::npos);
}

TEST(RunSpec, Cpu) {
    EXPECT_EQ(parse_cpu("0.5").value(), 500U);
    EXPECT_EQ(parse_cpu("2").value(), 2000U);
    EXPECT_EQ(parse_cpu("250m").value(), 250U);
    for (const auto* text : {"", "m", "-1", "0", "0.001", "1e3", "two", "100000"})
        EXPECT_FALSE(parse_cpu(text)) << text;
}

TEST(RunSpec, Volumes) {
    const Volume expected{"/usr/bin", "/etc", true};
    EXPECT_EQ(parse_volume("/usr/bin:/etc:ro").value(), expected);
    EXPECT_FALSE(parse_volume("/usr/bin:/etc").value().read_only);
    EXPECT_FALSE(parse_volume("/usr/bin:/etc:rw").value().read_only);
    EXPECT_TRUE(parse_volume(".:/etc").value().source.starts_with("/"))
        << "relative sources become absolute";
    for (const auto* text : {"", "/usr", ":/etc", "/usr:", "/usr:etc", "/usr:/", "/usr:///",
                             "/usr:/etc:wo", "/usr:/etc:ro:x", "/no-such-source:/etc",
                             "/usr:/no-such-target", "/etc/passwd:/etc", "/etc:/etc/passwd"})
        EXPECT_FALSE(parse_volume(text)) << text;
    EXPECT_NE(message(parse_volume("/usr:/no-such-target")).find("must exist on the host"),
              std::string::npos);
}

TEST(RunSpec, Users) {
    const auto root = parse_user("root").value();
    EXPECT_EQ(root.uid, 0U);
    EXPECT_EQ(root.home, "/root");
    const auto nobody = parse_user("nobody").value();
    EXPECT_EQ(nobody.uid, 65534U);
    EXPECT_EQ(nobody.name, "nobody");
    EXPECT_FALSE(nobody.groups.empty());
    EXPECT_EQ(parse_user("65534").value().name, "nobody");

    const auto stranger = parse_user("54321").value();
    EXPECT_EQ(stranger.uid, 54321U);
    EXPECT_EQ(stranger.gid, 54321U);
    EXPECT_EQ(stranger.home, "/");
    EXPECT_EQ(stranger.groups, std::vector<gid_t>{54321});

    const auto pair = parse_user("nobody:123").value();
    EXPECT_EQ(pair.gid, 123U);
    EXPECT_EQ(pair.groups, std::vector<gid_t>{123}) << "a given group replaces the user's others";
    EXPECT_EQ(parse_user("1:daemon").value().gid, 1U);

    for (const auto* text : {"", ":", ":0", "no-such-user", "nobody:no-such-group", "nobody:", "-1",
                             "4294967295", "99999999999"})
        EXPECT_FALSE(parse_user(text)) << text;
}

TEST(RunSpec, Ports) {
    const auto port = parse_port("name=http,protocol=udp,port=8080").value();
    EXPECT_EQ(port.name, "http");
    EXPECT_EQ(port.protocol, model::Protocol::udp);
    EXPECT_EQ(port.port, 8080);
    EXPECT_EQ(parse_port("port=80").value().protocol, model::Protocol::tcp);
    EXPECT_EQ(parse_port("port=80,protocol=SCTP").value().protocol, model::Protocol::sctp);
    for (const auto* text :
         {"", "http", "name=http", "port=0", "port=65536", "port=80x", "port=80,protocol=icmp",
          "port=80,name=Http", "port=80,name=a--b", "port=80,name=123", "port=80,name=-a",
          "port=80,color=red", "port=80,name=sixteen-letters-", "port=80,name=sixteen-letters1",
          "port=80,", "port"})
        EXPECT_FALSE(parse_port(text)) << text;
}

TEST(RunSpec, Labels) {
    EXPECT_EQ(parse_label("app=web").value(), std::pair(std::string("app"), std::string("web")));
    EXPECT_EQ(parse_label("app.kubernetes.io/name=Web_1.2").value().second, "Web_1.2");
    EXPECT_EQ(parse_label("empty=").value().second, "");
    for (const auto* text :
         {"", "app", "=web", "a b=c", "-a=b", "a=b=c", "a=-b", "/a=b", "Up/a=b", "x/y/z=b", "a/=b"})
        EXPECT_FALSE(parse_label(text)) << text;
    EXPECT_FALSE(parse_label(std::string(64, 'a') + "=b"));
    EXPECT_FALSE(parse_label("a=" + std::string(64, 'b')));
}

TEST(RunSpec, EnvironmentOfTheCallerIsNotPassedOn) {
    ::setenv("BEELINE_TEST_SECRET", "hidden", 1);
    ::setenv("BEELINE_TEST_WANTED", "seen", 1);
    auto flags = flags_of();
    flags.environment = {"A=1", "BEELINE_TEST_WANTED", "BEELINE_TEST_UNSET", "EMPTY=", "EQ=a=b"};
    const auto spec = parse_run(flags).value();
    EXPECT_TRUE(has(spec.environment, "A=1"));
    EXPECT_TRUE(has(spec.environment, "BEELINE_TEST_WANTED=seen"));
    EXPECT_TRUE(has(spec.environment, "EMPTY="));
    EXPECT_TRUE(has(spec.environment, "EQ=a=b"));
    EXPECT_TRUE(has(spec.environment, "HOME=/root"));
    for (const auto& variable : spec.environment) {
        EXPECT_FALSE(variable.starts_with("BEELINE_TEST_SECRET"));
        EXPECT_FALSE(variable.starts_with("BEELINE_TEST_UNSET"));
    }
    for (const auto* text : {"", "=1", "a b=1"})
        EXPECT_FALSE(parse_environment(text)) << text;
}

TEST(RunSpec, EnvironmentFile) {
    const auto pairs =
        parse_environment_lines("# comment\n\nA=1\r\nB=two words\n", "f.env").value();
    ASSERT_EQ(pairs.size(), 2U);
    EXPECT_EQ(pairs[0], std::pair(std::string("A"), std::string("1")));
    EXPECT_EQ(pairs[1], std::pair(std::string("B"), std::string("two words")));
    EXPECT_NE(message(parse_environment_lines("A=1\n=x\n", "f.env")).find("f.env:2"),
              std::string::npos);
    auto flags = flags_of();
    flags.environment_files = {"/no/such.env"};
    EXPECT_NE(message(parse_run(flags)).find("--env-file: /no/such.env"), std::string::npos);
}

TEST(RunSpec, NamesAreDnsLabels) {
    for (const auto* text : {"", "Web", "-web", "web-", "we_b", "a.b", "../x", "a/b"}) {
        auto flags = flags_of();
        flags.name = text;
        EXPECT_NE(message(parse_run(flags)).find("--name"), std::string::npos) << text;
        flags.name = "web";
        flags.space = text;
        EXPECT_NE(message(parse_run(flags)).find("--namespace"), std::string::npos) << text;
    }
    auto flags = flags_of();
    flags.name = std::string(63, 'a');
    EXPECT_TRUE(parse_run(flags));
    flags.name += 'a';
    EXPECT_FALSE(parse_run(flags));
}

TEST(RunSpec, ErrorsNameTheirFlag) {
    const auto with = [](auto change) {
        auto flags = flags_of();
        change(flags);
        return message(parse_run(flags));
    };
    EXPECT_TRUE(with([](RunFlags& f) { f.labels = {"x"}; }).starts_with("--label: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.ports = {"x"}; }).starts_with("--port: "));
    EXPECT_TRUE(with([](RunFlags& f) {
                    f.ports = {"port=1,name=a", "port=2,name=a"};
                }).starts_with("--port: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.user = "no-such-user"; }).starts_with("--user: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.volumes = {"x"}; }).starts_with("--volume: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.memory = "x"; }).starts_with("--memory: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.cpu = "x"; }).starts_with("--cpu: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.workdir = "x"; }).starts_with("--workdir: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.hostname = "x_y"; }).starts_with("--hostname: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.pid = "container"; }).starts_with("--pid: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.environment = {"=1"}; }).starts_with("--env: "));
    EXPECT_TRUE(with([](RunFlags& f) { f.command.clear(); }).starts_with("no command"));
    EXPECT_EQ(with([](RunFlags&) {}), "");
}

} // namespace
} // namespace beeline::cli
