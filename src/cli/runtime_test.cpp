// Real workloads below a cgroup and in a mount namespace of this test's own, with an API that only says yes.
#include "cli/runtime.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "cli/runtime_cgroup.h"
#include "cli/runtime_files.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

template <typename F>
bool eventually(F&& condition, std::chrono::milliseconds limit = 10s) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

std::string content(const std::string& path) { return read_file(path).value_or(""); }

// Answers every POST; keeps the body of call N to /v1/cni/VERB as <folder>/N-VERB.
class FakeApi {
public:
    FakeApi(const std::string& socket_path, std::string folder, int status)
        : folder_(std::move(folder)), status_(status) {
        const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, socket_path.c_str(), sizeof(address.sun_path) - 1);
        ::unlink(socket_path.c_str());
        EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
                  0);
        EXPECT_EQ(::listen(listener.get(), 16), 0);
        // A process, not a thread: the runtime changes namespaces.
        pid_ = ::fork();
        if (pid_ == 0) serve(listener.get());
    }
    ~FakeApi() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    FakeApi(const FakeApi&) = delete;
    FakeApi& operator=(const FakeApi&) = delete;

private:
    [[noreturn]] void serve(int listener) const {
        for (int number = 1;; ++number) {
            const Fd client(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
            if (!client) ::_exit(1);
            std::string text;
            char buffer[4096];
            std::size_t wanted = std::string::npos;
            while (wanted == std::string::npos || text.size() < wanted) {
                const ssize_t got = ::read(client.get(), buffer, sizeof(buffer));
                if (got <= 0) break;
                text.append(buffer, static_cast<std::size_t>(got));
                const auto end = text.find("\r\n\r\n");
                const auto length = text.find("Content-Length: ");
                if (end != std::string::npos && length != std::string::npos)
                    wanted = end + 4 + std::strtoul(text.c_str() + length + 16, nullptr, 10);
            }
            const auto verb = text.substr(13, text.find(' ', 13) - 13); // after "POST /v1/cni/"
            std::ofstream(fmt::format("{}/{}-{}", folder_, number, verb))
                << text.substr(text.find("\r\n\r\n") + 4);
            const std::string body =
                status_ == 200
                    ? R"({"cniVersion":"1.1.0","ips":[{"address":"10.9.0.5/32"},{"address":"fd09::5/128"}]})"
                    : R"({"cniVersion":"1.1.0","code":11,"msg":"no address is free","details":"pool empty"})";
            const auto answer = fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n{}",
                                            status_, body.size(), body);
            (void)!::write(client.get(), answer.data(), answer.size());
        }
    }

    std::string folder_;
    int status_;
    pid_t pid_ = 0;
};

struct Ended {
    int code = -1;
    std::string out;
    std::string err;
};

class Runtime : public testing::Test {
protected:
    static void SetUpTestSuite() {
        if (::geteuid() != 0) return;
        // Mounts made below end with this process, also when it crashes.
        usable = ::unshare(CLONE_NEWNS) == 0 &&
                 ::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0;
        ::signal(SIGPIPE, SIG_IGN);
    }

    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root, for namespaces and cgroups";
        if (!usable) GTEST_SKIP() << "this environment does not allow mount namespaces";
        if (!find_cgroup_mounts()) GTEST_SKIP() << "cgroup2 is not mounted";
        char name[] = "/tmp/beeline-run-XXXXXX";
        folder_ = ::mkdtemp(name);
        fs::permissions(folder_, static_cast<fs::perms>(0755));
        for (const auto* sub : {"/run", "/state", "/calls"})
            fs::create_directory(folder_ + sub);
        paths_.run = folder_ + "/run";
        paths_.state = folder_ + "/state";
        paths_.cgroup = fmt::format("beeline/unit-{}", ::getpid());
        api_.emplace(paths_.socket(), folder_ + "/calls", 200);
        flags_.name = "web";
        flags_.space = "shop";
    }

    void TearDown() override {
        if (folder_.empty()) return;
        const auto mounts = find_cgroup_mounts().value();
        for (const auto& record : load_records(RunFiles(paths_)).records) {
            signal_process(open_process(record.supervisor, record.supervisor_start), SIGKILL);
            EXPECT_TRUE(eventually([&] {
                return record.status == RunRecord::Status::exited || !record.supervised();
            }));
        }
        (void)clean_leftovers(paths_, client());
        api_.reset();
        EXPECT_TRUE(cgroup_remove(mounts, paths_.cgroup));
        EXPECT_TRUE(!fs::exists(paths_.run + "/netns") || fs::is_empty(paths_.run + "/netns"));
        fs::remove_all(folder_);
    }

    [[nodiscard]] api::Client client() const { return api::Client(paths_.socket()); }
    [[nodiscard]] RunFiles files() const { return RunFiles(paths_); }

    // As the command line does it, in a process of its own, its output in files.
    pid_t start(std::vector<std::string> command, bool detach = false) {
        flags_.command = std::move(command);
        for (const auto* file : {"/out", "/err"})
            fs::remove(folder_ + file);
        const pid_t pid = ::fork();
        if (pid != 0) return pid;
        ::setpgid(0, 0);
        const int in = ::open("/dev/null", O_RDONLY);
        const int out = ::open((folder_ + "/out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
        const int err = ::open((folder_ + "/err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
        ::dup2(in, 0);
        ::dup2(out, 1);
        ::dup2(err, 2);
        ::closefrom(3);
        ::_exit(run_and_tell(detach));
    }

    [[nodiscard]] int run_and_tell(bool detach) const {
        const auto spec = parse_run(flags_);
        if (!spec) {
            fmt::print(stderr, "{}\n", spec.error().message);
            return 2;
        }
        const auto outcome = detach ? run_detached(*spec, paths_, client())
                                    : run_foreground(*spec, paths_, client());
        if (!outcome)
            fmt::print(stderr, "{}: {}\n", code_name(outcome.error().code),
                       outcome.error().message);
        if (outcome && !outcome->message.empty()) fmt::print(stderr, "{}\n", outcome->message);
        std::fflush(stderr);
        return outcome ? outcome->exit_code : 1;
    }

    [[nodiscard]] Ended finish(pid_t pid) const {
        int status = 0;
        EXPECT_TRUE(eventually([&] { return ::waitpid(pid, &status, WNOHANG) != 0; }, 30s));
        Ended ended;
        ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        ended.out = content(folder_ + "/out");
        ended.err = content(folder_ + "/err");
        return ended;
    }

    Ended run(std::vector<std::string> command) { return finish(start(std::move(command))); }
    Ended run_shell(const std::string& script) { return run({"/bin/sh", "-c", script}); }
    Ended run_detached_shell(const std::string& script) {
        return finish(start({"/bin/sh", "-c", script}, true));
    }

    // Waits until the workload of `start` has said so.
    void wait_output(const std::string& text) const {
        EXPECT_TRUE(eventually([&] {
            return content(folder_ + "/out").find(text) != std::string::npos;
        })) << text;
    }

    [[nodiscard]] RunRecord record() const {
        const auto found = load_record(files(), "shop_web");
        return found ? *found : RunRecord{};
    }
    [[nodiscard]] bool exited() const { return record().status == RunRecord::Status::exited; }

    // Bodies of the calls of a verb, in order.
    [[nodiscard]] std::vector<nlohmann::json> calls(const std::string& verb) const {
        std::vector<fs::path> found;
        for (const auto& entry : fs::directory_iterator(folder_ + "/calls"))
            if (entry.path().string().ends_with("-" + verb)) found.push_back(entry.path());
        std::sort(found.begin(), found.end());
        std::vector<nlohmann::json> result;
        result.reserve(found.size());
        for (const auto& path : found)
            result.push_back(nlohmann::json::parse(content(path), nullptr, false));
        return result;
    }

    void expect_nothing_left() const {
        EXPECT_TRUE(fs::is_empty(paths_.run + "/netns"));
        const auto mounts = find_cgroup_mounts().value();
        EXPECT_FALSE(fs::exists(mounts.unified + "/" + paths_.cgroup + "/workloads"));
        for (const auto& [controller, mount] : mounts.controllers)
            EXPECT_FALSE(fs::exists(mount + "/" + paths_.cgroup)) << controller;
    }

    static inline bool usable = false;
    std::string folder_;
    api::Paths paths_;
    std::optional<FakeApi> api_;
    RunFlags flags_;
};

TEST_F(Runtime, ExitCodeOutputAndCleanUp) {
    const auto ended = run_shell("echo said; echo warned >&2; exit 7");
    EXPECT_EQ(ended.code, 7);
    EXPECT_EQ(ended.out, "said\n");
    EXPECT_EQ(ended.err, "warned\n");
    expect_nothing_left();
    EXPECT_FALSE(fs::exists(files().record("shop_web")));
    EXPECT_FALSE(fs::exists(paths_.tombstones()));
}

TEST_F(Runtime, AttachesThroughCni) {
    flags_.labels = {"app=web", "tier=front"};
    flags_.ports = {"name=http,port=8080", "name=dns,protocol=udp,port=53"};
    ASSERT_EQ(run({"/bin/true"}).code, 0);
    ASSERT_EQ(calls("add").size(), 1U);
    const auto add = calls("add")[0];
    EXPECT_EQ(add["container"].get<std::string>().size(), 64U);
    EXPECT_EQ(add["netns"], paths_.run + "/netns/" + add["container"].get<std::string>());
    EXPECT_EQ(add["interface"], "eth0");
    EXPECT_EQ(add["args"], "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web");
    EXPECT_EQ(add["config"]["type"], "beeline-cni");
    EXPECT_EQ(
        add["config"]["args"]["cni"]["labels"],
        nlohmann::json::parse(R"([{"key":"app","value":"web"},{"key":"tier","value":"front"}])"));
    const auto& own = add["config"]["args"]["beeline"];
    EXPECT_EQ(own["source"], "run");
    EXPECT_EQ(own["cgroup"], paths_.cgroup + "/workloads/shop_web");
    EXPECT_GT(own["pid"].get<int>(), 1);
    EXPECT_EQ(own["ports"], nlohmann::json::parse(R"([{"name":"http","protocol":"TCP","port":8080},
                                                      {"name":"dns","protocol":"UDP","port":53}])"));
    EXPECT_EQ(calls("del"), calls("add")) << "DEL has the same body";
}

TEST_F(Runtime, RefusedAttachmentRunsNothing) {
    api_.reset();
    api_.emplace(paths_.socket(), folder_ + "/calls", 503);
    const auto ended = run_shell("echo ran");
    EXPECT_EQ(ended.code, 1);
    EXPECT_EQ(ended.out, "");
    EXPECT_NE(ended.err.find("no address is free: pool empty"), std::string::npos) << ended.err;
    expect_nothing_left();
    EXPECT_FALSE(fs::exists(files().record("shop_web")));
}

TEST_F(Runtime, NoAgentRunsNothing) {
    api_.reset();
    const auto ended = run_shell("echo ran");
    EXPECT_EQ(ended.code, 1);
    EXPECT_EQ(ended.out, "");
    EXPECT_NE(ended.err.find("not running"), std::string::npos) << ended.err;
    expect_nothing_left();
}

TEST_F(Runtime, ExecFailures) {
    auto ended = run({"/no/such/program"});
    EXPECT_EQ(ended.code, 127);
    EXPECT_NE(ended.err.find("cannot execute /no/such/program: No such file"), std::string::npos)
        << ended.err;
    ended = run({"no-such-program"});
    EXPECT_EQ(ended.code, 127);
    ended = run({"/etc/passwd"});
    EXPECT_EQ(ended.code, 126);
    EXPECT_EQ(run({"/tmp"}).code, 126);
    std::ofstream(folder_ + "/no-format") << "echo a shell ran\n";
    fs::permissions(folder_ + "/no-format", static_cast<fs::perms>(0755));
    ended = run({folder_ + "/no-format"});
    EXPECT_EQ(ended.code, 126) << "a file without a format is not given to a shell";
    EXPECT_EQ(ended.out, "");
    flags_.environment = {"PATH=/usr/bin:" + folder_};
    EXPECT_EQ(run({"no-format"}).code, 126);
    EXPECT_EQ(run({"true"}).code, 0) << "found along the PATH";
    EXPECT_EQ(calls("add").size(), calls("del").size());
    expect_nothing_left();
}

TEST_F(Runtime, KilledWorkloadsCountFrom128) {
    EXPECT_EQ(run_shell("kill -TERM $$").code, 128 + SIGTERM);
    EXPECT_EQ(run_shell("kill -KILL $$").code, 128 + SIGKILL);
}

TEST_F(Runtime, SignalsReachTheWorkload) {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
        const pid_t pid =
            start({"/bin/sh", "-c",
                   "trap 'exit 3' TERM INT HUP USR1; echo ready; while :; do sleep 0.01; done"});
        wait_output("ready");
        ::kill(pid, signal);
        EXPECT_EQ(finish(pid).code, 3) << signal;
    }
    expect_nothing_left();
}

TEST_F(Runtime, ASecondSigtermKills) {
    const pid_t pid =
        start({"/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"});
    wait_output("ready");
    ::kill(pid, SIGTERM);
    std::this_thread::sleep_for(200ms);
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), 0) << "one SIGTERM is not enough";
    ::kill(pid, SIGTERM);
    EXPECT_EQ(finish(pid).code, 128 + SIGKILL);
    expect_nothing_left();
}

TEST_F(Runtime, Isolation) {
    flags_.hostname = "web.shop";
    const auto ended = run_shell(
        "for n in net mnt pid uts ipc user; do readlink /proc/self/ns/$n; done; hostname; echo $$; "
        "ls -A /sys/fs/cgroup " +
        paths_.run +
        " /dev/shm; cat /sys/class/net/lo/flags; touch /sys/x 2>/dev/null || echo read-only; "
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep -c . /proc/1/comm; cut -d: -f3 "
        "/proc/self/cgroup | tail -1");
    std::istringstream lines(ended.out);
    std::string line;
    for (const auto* name : {"net", "mnt", "pid", "uts", "ipc", "user"}) {
        std::getline(lines, line);
        const bool shared =
            fs::read_symlink(fmt::format("/proc/self/ns/{}", name)).string() == line;
        EXPECT_EQ(shared, std::string(name) == "user") << name;
    }
    const std::string rest{std::istreambuf_iterator<char>(lines), {}};
    EXPECT_EQ(rest, fmt::format("web.shop\n2\n/dev/shm:\n\n/sys/fs/"
                                "cgroup:\n\n{}:\n0x9\nread-only\n0\n1\n/{}/workloads/shop_web\n",
                                paths_.run, paths_.cgroup))
        << ended.err;
}

TEST_F(Runtime, HostPidAndPrivileged) {
    flags_.pid = "host";
    flags_.privileged = true;
    const auto ended =
        run_shell("readlink /proc/self/ns/pid; ls " + paths_.run + "; readlink /proc/self/ns/net");
    EXPECT_EQ(ended.code, 0);
    EXPECT_NE(ended.out.find(fs::read_symlink("/proc/self/ns/pid").string()), std::string::npos);
    EXPECT_NE(ended.out.find("beeline.sock"), std::string::npos);
    EXPECT_EQ(ended.out.find(fs::read_symlink("/proc/self/ns/net").string()), std::string::npos);
}

TEST_F(Runtime, NothingOutlivesTheMainProcess) {
    for (const auto* pid : {"", "host"}) {
        flags_.pid = pid;
        const auto ended = run_shell(
            "setsid sleep 1000 >/dev/null 2>&1 & (setsid sleep 1000 & exit 0); echo done");
        EXPECT_EQ(ended.code, 0);
        expect_nothing_left();
    }
}

TEST_F(Runtime, OrphansAreReaped) {
    // Grandchildren whose parent has ended become zombies unless process 1 takes them.
    const auto ended = run_shell("for i in 1 2 3; do (sleep 0.01 & exit 0); done; sleep 0.2; grep "
                                 "-l '^State:.Z' /proc/[0-9]*/status; true");
    EXPECT_EQ(ended.out, "");
}

TEST_F(Runtime, Users) {
    const std::string script = "id -u; id -g; id -G; sed -n 's/^CapEff:.//p; s/^CapBnd:.//p; "
                               "s/^NoNewPrivs:.//p' /proc/self/status; echo $HOME";
    flags_.user = "54321:54322";
    EXPECT_EQ(run_shell(script).out,
              "54321\n54322\n54322\n0000000000000000\n0000000000000000\n1\n/\n");
    flags_.user = "";
    EXPECT_EQ(run_shell(script).out, "0\n0\n0\n00000000a00425fb\n00000000a00425fb\n0\n/root\n")
        << "what container runtimes leave to root, without CAP_MKNOD";
    flags_.privileged = true;
    const auto all = content("/proc/self/status");
    const auto at = all.find("CapBnd:\t") + 8;
    EXPECT_NE(run_shell(script).out.find(all.substr(at, 17)), std::string::npos)
        << "the caller's own bounding set";
}

TEST_F(Runtime, Environment) {
    ::setenv("BEELINE_TEST_SECRET", "hidden", 1);
    std::ofstream(folder_ + "/env") << "# file\nFROM_FILE=1\nBOTH=file\n";
    flags_.environment_files = {folder_ + "/env"};
    flags_.environment = {"BOTH=flag", "SPACES=a b"};
    const auto ended = run({"/usr/bin/env"});
    EXPECT_NE(ended.out.find("FROM_FILE=1\n"), std::string::npos);
    EXPECT_NE(ended.out.find("BOTH=flag\n"), std::string::npos);
    EXPECT_NE(ended.out.find("SPACES=a b\n"), std::string::npos);
    EXPECT_EQ(ended.out.find("BEELINE_TEST_SECRET"), std::string::npos);
}

TEST_F(Runtime, WorkingDirectory) {
    flags_.workdir = "/usr/bin";
    EXPECT_EQ(run({"/bin/pwd"}).out, "/usr/bin\n");
    flags_.workdir = "/no/such/folder";
    const auto ended = run({"/bin/pwd"});
    EXPECT_EQ(ended.code, 1);
    EXPECT_NE(ended.err.find("--workdir /no/such/folder"), std::string::npos) << ended.err;
    flags_.workdir = "";
    EXPECT_EQ(run({"/bin/pwd"}).out, fs::current_path().string() + "\n");
}

TEST_F(Runtime, Volumes) {
    fs::create_directories(folder_ + "/source/deep");
    fs::create_directories(folder_ + "/target");
    fs::create_directories(folder_ + "/frozen");
    std::ofstream(folder_ + "/source/file") << "from the host\n";
    std::ofstream(folder_ + "/target/covered") << "covered\n";
    flags_.volumes = {folder_ + "/source:" + folder_ + "/target",
                      folder_ + "/source:" + folder_ + "/frozen:ro", "/etc:/sys/kernel"};
    const auto ended =
        run_shell(fmt::format("cd {}; ls target; cat frozen/file; echo new > target/made; "
                              "echo x > frozen/made 2>/dev/null || echo frozen; cat frozen/made; "
                              "test -e /sys/kernel/passwd && echo over sys",
                              folder_));
    EXPECT_EQ(ended.out, "deep\nfile\nfrom the host\nfrozen\nnew\nover sys\n") << ended.err;
    EXPECT_EQ(content(folder_ + "/source/made"), "new\n");
    EXPECT_TRUE(fs::exists(folder_ + "/target/covered")) << "the host still sees what is below";
}

TEST_F(Runtime, MemoryLimitKillsAHog) {
    flags_.memory = "32M";
    // One buffer of 128 MiB, filled once.
    const auto ended = run({"/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"});
    if (ended.err.find("cannot be applied") != std::string::npos) GTEST_SKIP() << ended.err;
    EXPECT_EQ(ended.code, 128 + SIGKILL);
    EXPECT_NE(ended.err.find("memory limit"), std::string::npos) << ended.err;
    EXPECT_EQ(run({"/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=4M", "count=1"}).code, 0);
    expect_nothing_left();
}

TEST_F(Runtime, CpuLimitHolds) {
    flags_.cpu = "0.1";
    const auto ended = run_detached_shell("while :; do :; done");
    if (ended.err.find("cannot be applied") != std::string::npos) GTEST_SKIP() << ended.err;
    ASSERT_EQ(ended.code, 0) << ended.err;
    const auto mounts = find_cgroup_mounts().value();
    const auto cgroup = record().cgroup;
    const auto before = cgroup_usage(mounts, cgroup);
    std::this_thread::sleep_for(1s);
    const auto after = cgroup_usage(mounts, cgroup);
    EXPECT_LT(after.cpu_us - before.cpu_us, 400'000U);
    EXPECT_GT(after.cpu_us, 0U);
    EXPECT_GT(after.memory_bytes, 0U);
    ASSERT_TRUE(stop_workloads({record()}, paths_, client(), 5s));
    expect_nothing_left();
}

TEST_F(Runtime, LimitsNeedAController) {
    CgroupMounts mounts = find_cgroup_mounts().value();
    mounts.controllers.clear();
    const auto relative = paths_.cgroup + "/none";
    const auto made = cgroup_create(mounts, relative, {.memory_bytes = 1 << 20});
    if (!fs::exists(mounts.unified + "/" + relative + "/memory.max")) {
        ASSERT_FALSE(made);
        EXPECT_NE(made.error().message.find("--memory: the limit cannot be applied"),
                  std::string::npos);
    }
    EXPECT_TRUE(cgroup_remove(mounts, relative));
}

TEST_F(Runtime, DetachedRunsLogAndStop) {
    const auto started = run_detached_shell("echo out; echo err >&2; exec sleep 1000");
    ASSERT_EQ(started.code, 0) << started.err;
    EXPECT_EQ(record().status, RunRecord::Status::running);
    EXPECT_EQ(record().addresses, (std::vector<std::string>{"10.9.0.5", "fd09::5"}));
    const auto log = files().log("shop_web");
    EXPECT_TRUE(eventually([&] {
        return content(log).find(" stdout F out\n") != std::string::npos &&
               content(log).find(" stderr F err\n") != std::string::npos;
    })) << content(log);
    EXPECT_EQ(process_start(record().pid), record().pid_start);
    EXPECT_EQ(calls("add")[0]["config"]["args"]["beeline"]["pid"], record().pid);
    // A session of its own, away from the command that started it.
    EXPECT_EQ(::getsid(record().pid), record().pid);
    EXPECT_NE(::getsid(record().supervisor), ::getsid(0));

    ASSERT_TRUE(stop_workloads({record()}, paths_, client(), 5s));
    EXPECT_EQ(record().status, RunRecord::Status::exited);
    EXPECT_EQ(record().exit_code, 128 + SIGTERM);
    EXPECT_GE(record().finished, record().started);
    EXPECT_EQ(calls("del").size(), 1U);
    expect_nothing_left();
}

TEST_F(Runtime, DetachedExitStatusIsRecorded) {
    ASSERT_EQ(run_detached_shell("printf unfinished; exit 9").code, 0);
    ASSERT_TRUE(eventually([&] { return exited(); }));
    EXPECT_EQ(record().exit_code, 9);
    EXPECT_NE(content(files().log("shop_web")).find(" stdout F unfinished\n"), std::string::npos);
    expect_nothing_left();
    ASSERT_EQ(run_detached_shell("exit 4").code, 0) << "an ended workload's name is free";
    ASSERT_TRUE(eventually([&] { return exited() && record().exit_code == 4; }));
}

TEST_F(Runtime, DetachedExecFailureIsReported) {
    const auto ended = finish(start({"/no/such/program"}, true));
    EXPECT_EQ(ended.code, 127);
    EXPECT_NE(ended.err.find("cannot execute"), std::string::npos);
    EXPECT_FALSE(fs::exists(files().record("shop_web")));
    EXPECT_FALSE(fs::exists(files().log("shop_web")));
    expect_nothing_left();
}

TEST_F(Runtime, OneNameOnce) {
    ASSERT_EQ(run_detached_shell("exec sleep 1000").code, 0);
    const auto first = record();
    for (const bool detach : {false, true}) {
        const auto second = finish(start({"/bin/true"}, detach));
        EXPECT_EQ(second.code, 1);
        EXPECT_NE(second.err.find("exists: shop/web is running already"), std::string::npos)
            << second.err;
    }
    EXPECT_EQ(record().container, first.container);
    EXPECT_TRUE(record().supervised());
    ASSERT_TRUE(stop_workloads({record()}, paths_, client(), 5s));
}

TEST_F(Runtime, StopKillsWhatIgnoresIt) {
    ASSERT_EQ(run_detached_shell("trap '' TERM; echo ready; while :; do sleep 0.01; done").code, 0);
    ASSERT_TRUE(eventually(
        [&] { return content(files().log("shop_web")).find("ready") != std::string::npos; }));
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(stop_workloads({record()}, paths_, client(), 300ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
    EXPECT_EQ(record().exit_code, 128 + SIGKILL);
    expect_nothing_left();
}

TEST_F(Runtime, KilledSupervisorLeavesNothingForLong) {
    for (const auto* pid : {"", "host"}) {
        flags_.pid = pid;
        ASSERT_EQ(run_detached_shell("sleep 1000 & exec sleep 1000").code, 0);
        const auto before = record();
        const auto mounts = find_cgroup_mounts().value();
        ASSERT_TRUE(
            signal_process(open_process(before.supervisor, before.supervisor_start), SIGKILL));
        EXPECT_TRUE(eventually([&] { return process_start(before.pid) != before.pid_start; }))
            << "the workload ends with its supervisor";
        EXPECT_TRUE(fs::exists(before.netns));
        const auto cleaned = clean_leftovers(paths_, client());
        ASSERT_TRUE(cleaned) << cleaned.error().message;
        EXPECT_EQ(*cleaned, std::vector<std::string>{"shop/web"});
        EXPECT_EQ(record().status, RunRecord::Status::exited);
        EXPECT_EQ(record().exit_code, 128 + SIGKILL);
        EXPECT_EQ(record().note, "its supervisor was killed");
        EXPECT_EQ(calls("del").back()["container"], before.container);
        expect_nothing_left();
        EXPECT_TRUE(clean_leftovers(paths_, client()).value().empty());
    }
}

TEST_F(Runtime, KilledForegroundSupervisorIsCleanedUpByTheNextRun) {
    const pid_t pid = start({"/bin/sh", "-c", "echo ready; exec sleep 1000"});
    wait_output("ready");
    ::kill(pid, SIGKILL);
    EXPECT_EQ(finish(pid).code, -SIGKILL);
    EXPECT_EQ(run_shell("exit 5").code, 5);
    EXPECT_EQ(calls("del").size(), 2U);
    expect_nothing_left();
}

TEST_F(Runtime, StopCleansUpWhatAKilledSupervisorLeft) {
    ASSERT_EQ(run_detached_shell("exec sleep 1000").code, 0);
    const auto before = record();
    ASSERT_TRUE(signal_process(open_process(before.supervisor, before.supervisor_start), SIGKILL));
    ASSERT_TRUE(stop_workloads({before}, paths_, client(), 5s));
    EXPECT_TRUE(exited());
    expect_nothing_left();
}

TEST_F(Runtime, AgentDownAtTheEndLeavesANoteForIt) {
    ASSERT_EQ(run_detached_shell("exec sleep 1000").code, 0);
    const auto before = record();
    api_.reset();
    ASSERT_TRUE(stop_workloads({before}, paths_, client(), 5s));
    expect_nothing_left();
    const auto note =
        content(fmt::format("{}/{}-eth0.json", paths_.tombstones(), before.container));
    EXPECT_EQ(nlohmann::json::parse(note, nullptr, false), before.attachment);
}

// A job of a shell on a terminal: this process plays the shell's part.
class RuntimeTerminal : public Runtime {
protected:
    void SetUp() override {
        Runtime::SetUp();
        if (IsSkipped()) return;
        shell_ = ::forkpty(&master_, nullptr, nullptr, nullptr);
        if (shell_ == 0) be_the_shell();
    }
    void TearDown() override {
        if (shell_ > 0) {
            ::kill(shell_, SIGKILL);
            ::waitpid(shell_, nullptr, 0);
            ::close(master_);
        }
        Runtime::TearDown();
    }

    // Runs the job in the foreground; resumes it once when it stops, and says so.
    [[noreturn]] void be_the_shell() {
        ::signal(SIGTTOU, SIG_IGN);
        flags_.command = {
            "/bin/sh", "-c",
            "trap 'echo interrupted; exit 5' INT; echo ready; while :; do read line; done"};
        const pid_t job = ::fork();
        if (job == 0) {
            ::setpgid(0, 0);
            ::tcsetpgrp(0, ::getpgrp());
            ::signal(SIGTTOU, SIG_DFL);
            ::_exit(run_and_tell(false));
        }
        ::setpgid(job, job);
        ::tcsetpgrp(0, job);
        for (;;) {
            int status = 0;
            ::waitpid(job, &status, WUNTRACED);
            if (WIFSTOPPED(status)) {
                ::tcsetpgrp(0, ::getpgrp());
                fmt::print("stopped\n");
                std::fflush(stdout);
                ::tcsetpgrp(0, job);
                ::kill(-job, SIGCONT);
                continue;
            }
            fmt::print("exit {}\n", WEXITSTATUS(status));
            std::fflush(stdout);
            for (;;)
                ::pause();
        }
    }

    bool shows(const std::string& text) {
        return eventually([&] {
            pollfd poll{.fd = master_, .events = POLLIN, .revents = 0};
            char buffer[512];
            if (::poll(&poll, 1, 10) == 1) {
                const ssize_t got = ::read(master_, buffer, sizeof(buffer));
                if (got > 0) screen_.append(buffer, static_cast<std::size_t>(got));
            }
            return screen_.find(text) != std::string::npos;
        });
    }
    void type(char key) const { EXPECT_EQ(::write(master_, &key, 1), 1); }

    int master_ = -1;
    pid_t shell_ = 0;
    std::string screen_;
};

TEST_F(RuntimeTerminal, CtrlCReachesTheWorkload) {
    ASSERT_TRUE(shows("ready")) << screen_;
    type('\x03');
    EXPECT_TRUE(shows("interrupted")) << screen_;
    EXPECT_TRUE(shows("exit 5")) << screen_;
    expect_nothing_left();
}

TEST_F(RuntimeTerminal, CtrlZStopsAndTheShellResumes) {
    ASSERT_TRUE(shows("ready")) << screen_;
    type('\x1a');
    ASSERT_TRUE(shows("stopped")) << screen_;
    std::this_thread::sleep_for(100ms);
    type('\x03');
    EXPECT_TRUE(shows("exit 5")) << screen_;
}

} // namespace
} // namespace beeline::cli
