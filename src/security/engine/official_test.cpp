// The official rule files: what each rule is for fires it, and a harmless twin does not.
#include <gtest/gtest.h>

#include <fcntl.h>

#include <set>

#include "security/engine/test_scene.h"

namespace beeline::security {
namespace {

using namespace testing;

constexpr std::uint64_t kCap_sys_admin = 1ULL << 21, kCap_sys_module = 1ULL << 16;

class Official : public ::testing::Test {
protected:
    static const rules::RuleSet& rule_set() {
        static const rules::LoadResult kLoaded = [] {
            const std::string folder = BEELINE_TEST_DATA "/rules/falco/";
            auto files = rules::read_files({folder + "falco_rules.yaml",
                                            folder + "falco-incubating_rules.yaml",
                                            folder + "falco-sandbox_rules.yaml"});
            rules::LoadResult out = rules::load(*files, Engine::catalog());
            EXPECT_TRUE(out.successful()) << rules::to_text(out);
            return out;
        }();
        return kLoaded.set;
    }
    void SetUp() override {
        EngineOptions options;
        options.match_all = true;
        options.selections = {{.enable = true, .rule = "*", .tag = ""}};
        auto made = Engine::compile(rule_set(), options, machine.host, machine.tree);
        ASSERT_TRUE(made.has_value()) << made.error().message;
        engine = std::move(*made);
    }
    std::set<std::string> matches(const Event& event) {
        std::set<std::string> out;
        engine->evaluate(event, [&](model::Alert&& alert) {
            EXPECT_EQ(alert.message.find("<unknown"), std::string::npos);
            last = alert;
            out.insert(alert.rule);
        });
        return out;
    }
    void expect(const std::string& rule, const ProcessSpec& bad_process, const RecordBuilder& bad,
                const ProcessSpec& good_process, const RecordBuilder& good) {
        SCOPED_TRACE(rule);
        const auto hit = matches(machine.event(machine.make(bad_process), bad));
        EXPECT_TRUE(hit.contains(rule)) << "hits: " << ::testing::PrintToString(hit);
        const auto miss = matches(machine.event(machine.make(good_process), good));
        EXPECT_FALSE(miss.contains(rule));
        checked.insert(rule);
    }
    void expect_spawn(const std::string& rule, const ProcessSpec& bad, const ProcessSpec& good) {
        expect(rule, bad, RecordBuilder(BL_EVENT_execve), good, RecordBuilder(BL_EVENT_execve));
    }
    Machine machine;
    std::unique_ptr<Engine> engine;
    model::Alert last;
    std::set<std::string> checked;
};

TEST_F(Official, Load) {
    EXPECT_EQ(rule_set().rules.size(), 93U);
    for (const RuleStats& row : engine->stats())
        EXPECT_FALSE(row.kinds.empty()) << row.name;
}

// By its own macro (every container is an allowed one) it never matches: the file means it to be edited.
TEST_F(Official, DisallowedContainerNeedsEditing) {
    const ProcessSpec first{.name = "x", .vpid = 1, .in_container = true};
    EXPECT_FALSE(matches(machine.event(machine.make(first), RecordBuilder(BL_EVENT_execve)))
                     .contains("Launch Disallowed Container"));
}

TEST_F(Official, FilesRead) {
    const ProcessSpec cat{.name = "cat", .ancestors = {"bash", "sshd"}};
    const ProcessSpec boxed{.name = "cat", .in_container = true, .ancestors = {"bash"}};
    expect("Read sensitive file untrusted", cat, open_of("/etc/shadow", O_RDONLY), cat,
           open_of("/etc/passwd", O_RDONLY));
    expect("Read sensitive file untrusted", cat, open_of("/etc/pam.d/login", O_RDONLY),
           {.name = "sshd"}, open_of("/etc/pam.d/login", O_RDONLY));
    expect("Directory traversal monitored file read", {.name = "nginx"},
           open_of("/srv/www/../../etc/passwd", O_RDONLY, 3, "/etc/passwd"), {.name = "nginx"},
           open_of("/etc/passwd", O_RDONLY));
    expect("Directory traversal monitored file read", {.name = "nginx"},
           open_of("/srv/www/../../etc/none", O_RDONLY, -2), {.name = "nginx", .ancestors = {"sh"}},
           open_of("/srv/www/../../etc/none", O_RDONLY, -2));
    expect("Read sensitive file trusted after startup", {.name = "nginx"},
           open_of("/etc/shadow", O_RDONLY), {.name = "nginx", .age_ns = 1000},
           open_of("/etc/shadow", O_RDONLY));
    expect("Read ssh information", cat, open_of("/home/alice/.ssh/id_rsa", O_RDONLY),
           {.name = "ssh"}, open_of("/home/alice/.ssh/id_rsa", O_RDONLY));
    expect("Read ssh information", cat,
           open_of("/root/.ssh", O_RDONLY | O_DIRECTORY, 3, "", 0, 0, 040700), cat,
           open_of("/root/ssh", O_RDONLY | O_DIRECTORY, 3, "", 0, 0, 040700));
    expect("Read environment variable from /proc files", boxed,
           open_of("/proc/1/environ", O_RDONLY), cat, open_of("/proc/1/environ", O_RDONLY));
    expect("Exfiltrating Artifacts via Kubernetes Control Plane",
           {.name = "tar", .in_container = true}, open_of("/srv/data/x", O_RDONLY),
           {.name = "tar", .tty = 34816, .in_container = true}, open_of("/srv/data/x", O_RDONLY));
    expect("Backdoored library loaded into SSHD (CVE-2024-3094)", {.name = "sshd"},
           open_of("/lib/liblzma.so.5", O_RDONLY, 3, "/lib/liblzma.so.5.6.1"), {.name = "sshd"},
           open_of("/lib/liblzma.so.5", O_RDONLY, 3, "/lib/liblzma.so.5.4.0"));
    expect("Read Shell Configuration File", cat, open_of("/home/alice/.bashrc", O_RDONLY),
           {.name = "bash"}, open_of("/home/alice/.bashrc", O_RDONLY));
    expect("Privileged Container Device Access", boxed, open_of("/dev/sda1", O_RDONLY), cat,
           open_of("/dev/sda1", O_RDONLY));
    expect("Container Access to Host Sensitive Paths", boxed, open_of("/host/etc/x", O_RDONLY), cat,
           open_of("/host/etc/x", O_RDONLY));
}

TEST_F(Official, FilesWritten) {
    const ProcessSpec vi{.name = "vi", .ancestors = {"bash", "sshd"}};
    const ProcessSpec boxed{.name = "vi", .in_container = true, .ancestors = {"bash"}};
    const auto write = [](std::string_view path, std::uint64_t more = 0) {
        return open_of(path, O_WRONLY | more);
    };
    expect("Clear Log Activities", vi, write("/var/log/syslog", O_TRUNC), vi,
           write("/var/log/syslog"));
    expect("Detect release_agent File Container Escapes",
           {.name = "sh", .capabilities = kCap_sys_admin, .in_container = true},
           write("/sys/fs/cgroup/x/release_agent"),
           {.name = "sh", .capabilities = 0, .in_container = true},
           write("/sys/fs/cgroup/x/release_agent"));
    expect("Modify Shell Configuration File", vi, write("/home/alice/.bashrc"), {.name = "bash"},
           write("/home/alice/.bashrc"));
    expect("Schedule Cron Jobs", vi, write("/etc/cron.d/x"), vi, write("/etc/crab"));
    expect("Adding ssh keys to authorized_keys", vi, write("/root/.ssh/authorized_keys"), vi,
           open_of("/root/.ssh/authorized_keys", O_RDONLY));
    expect("Create files below dev", vi, write("/dev/x", O_CREAT), vi, write("/dev/null", O_CREAT));
    expect("Update Package Repository", vi, write("/etc/apt/sources.list.d/x.list"),
           {.name = "apt"}, write("/etc/apt/sources.list.d/x.list"));
    expect("Write below binary dir", vi, write("/usr/bin/x"), {.name = "dpkg"},
           write("/usr/bin/x"));
    expect("Write below monitored dir", vi, write("/lib64/x"), vi, write("/srv/x"));
    expect("Write below etc", vi, write("/etc/foo"), {.name = "dpkg"}, write("/etc/foo"));
    expect("Write below root", vi, write("/root/x"), vi, write("/home/x"));
    expect("Write below rpm database", vi, write("/var/lib/rpm/x"), {.name = "rpm"},
           write("/var/lib/rpm/x"));
    expect("Modify Container Entrypoint", boxed, write("/proc/self/exe"), vi,
           write("/proc/self/exe"));
    expect("Create Hidden Files or Directories", vi, write("/srv/.x", O_CREAT), vi,
           write("/srv/x", O_CREAT));
    expect("Container Drift Detected (open+create)", boxed,
           open_of("/tmp/x", O_WRONLY | O_CREAT, 3, "", BL_FILE_CREATED, 0755), boxed,
           open_of("/tmp/x", O_WRONLY | O_CREAT, 3, "", BL_FILE_CREATED, 0644));
    expect("Delete or rename shell history", vi, write("/root/.bash_history", O_TRUNC), vi,
           write("/root/.bash_history"));
}

TEST_F(Official, FilesChanged) {
    const ProcessSpec rm{.name = "rm", .ancestors = {"bash"}};
    const ProcessSpec boxed{.name = "chmod", .in_container = true};
    const auto path = [](std::uint16_t kind, std::string_view one) {
        return RecordBuilder(kind).text(BL_STR_PATH, one);
    };
    const auto paths = [](std::uint16_t kind, std::string_view one, std::string_view two) {
        return RecordBuilder(kind).text(BL_STR_PATH, one).text(BL_STR_PATH2, two);
    };
    expect("Create Symlink Over Sensitive Files", rm,
           paths(BL_EVENT_symlink, "/etc/shadow", "/tmp/x"), rm,
           paths(BL_EVENT_symlink, "/etc/hosts", "/tmp/x"));
    expect("Create Hardlink Over Sensitive Files", rm,
           paths(BL_EVENT_linkat, "/etc/shadow", "/tmp/x"), rm,
           paths(BL_EVENT_linkat, "/etc/hosts", "/tmp/x"));
    expect("Delete or rename shell history", rm, path(BL_EVENT_unlinkat, "/root/.bash_history"), rm,
           path(BL_EVENT_unlinkat, "/root/.profile"));
    expect("Modify binary dirs", rm, paths(BL_EVENT_rename, "/usr/bin/x", "/tmp/x"), rm,
           paths(BL_EVENT_rename, "/srv/x", "/tmp/x"));
    expect("Modify binary dirs", rm, path(BL_EVENT_unlink, "/bin/x"), {.name = "dpkg"},
           path(BL_EVENT_unlink, "/bin/x"));
    expect("Mkdir binary dirs", rm, path(BL_EVENT_mkdir, "/usr/bin/x"), rm,
           path(BL_EVENT_mkdir, "/srv/x"));
    expect("Create Hidden Files or Directories", rm, path(BL_EVENT_mkdirat, "/srv/.x"), rm,
           path(BL_EVENT_mkdirat, "/srv/x"));
    expect("Set Setuid or Setgid bit", rm, path(BL_EVENT_fchmodat, "/tmp/x").num(2, 04755), rm,
           path(BL_EVENT_fchmodat, "/tmp/x").num(2, 0755));
    expect("Container Drift Detected (chmod)", boxed, path(BL_EVENT_chmod, "/tmp/x").num(1, 0755),
           boxed, path(BL_EVENT_chmod, "/tmp/x").num(1, 0644));
    expect("Update Package Repository", rm,
           paths(BL_EVENT_rename, "/tmp/x", "/etc/yum.repos.d/x.repo"), rm,
           paths(BL_EVENT_rename, "/tmp/x", "/srv/x.repo"));
}

TEST_F(Official, Spawned) {
    const ProcessSpec harmless{.name = "ls", .ancestors = {"bash", "sshd"}};
    expect_spawn("Run shell untrusted",
                 {.name = "sh", .args = {"-c", "id"}, .ancestors = {"nginx"}},
                 {.name = "sh", .args = {"-c", "id"}, .ancestors = {"bash"}});
    expect_spawn("System user interactive", {.name = "sh", .uid = 33, .ancestors = {"su", "sshd"}},
                 {.name = "sh", .uid = 1000, .ancestors = {"su", "sshd"}});
    expect_spawn("Terminal shell in container",
                 {.name = "bash", .tty = 34816, .in_container = true},
                 {.name = "bash", .tty = 0, .in_container = true});
    expect_spawn("Netcat Remote Code Execution in Container",
                 {.name = "nc", .args = {"-e", "/bin/sh", "1.2.3.4", "80"}, .in_container = true},
                 {.name = "nc", .args = {"1.2.3.4", "80"}, .in_container = true});
    expect_spawn("Netcat/Socat Remote Code Execution on Host",
                 {.name = "socat", .args = {"TCP:1.2.3.4:80", "EXEC:sh"}}, {.name = "socat"});
    expect_spawn("Search Private Keys or Passwords",
                 {.name = "find", .args = {"/", "-name", "id_rsa"}},
                 {.name = "find", .args = {"/"}});
    expect_spawn("Search Private Keys or Passwords",
                 {.name = "grep", .args = {"-r", "begin rsa private", "/"}}, {.name = "grep"});
    expect_spawn("Remove Bulk Data from Disk", {.name = "shred"}, harmless);
}

TEST_F(Official, SpawnedMore) {
    const ProcessSpec harmless{.name = "ls", .ancestors = {"bash", "sshd"}};
    expect_spawn("Find AWS Credentials", {.name = "grep", .args = {"AWS_SECRET_ACCESS_KEY", "/x"}},
                 {.name = "grep"});
    expect_spawn("Execution from /dev/shm", {.name = "x", .exe = "/dev/shm/x"}, harmless);
    expect_spawn("Execution from /dev/shm", {.name = "x", .exe = "./x", .cwd = "/dev/shm/"},
                 {.name = "x", .exe = "./x", .cwd = "/home/"});
    expect_spawn("Drop and execute new binary in container",
                 {.name = "x", .image_flags = BL_FILE_UPPER, .in_container = true},
                 {.name = "x", .image_flags = BL_FILE_LOWER, .in_container = true});
    expect_spawn("Fileless execution via memfd_create", {.name = "x", .image_flags = BL_FILE_MEMFD},
                 harmless);
    expect_spawn("DB program spawned process", {.name = "ls", .ancestors = {"mysqld"}}, harmless);
    expect_spawn("Schedule Cron Jobs", {.name = "crontab"}, harmless);
    expect_spawn("Program run with disallowed http proxy env",
                 {.name = "curl", .env = {"PATH=/bin", "http_proxy=x"}}, {.name = "curl"});
    expect_spawn("User mgmt binaries", {.name = "useradd", .ancestors = {"bash"}}, harmless);
    expect_spawn("Launch Package Management Process in Container",
                 {.name = "apk", .in_container = true, .ancestors = {"sh"}}, {.name = "apk"});
    expect_spawn("Launch Suspicious Network Tool in Container",
                 {.name = "nmap", .in_container = true}, harmless);
    expect_spawn("Launch Suspicious Network Tool on Host", {.name = "nmap"},
                 {.name = "nmap", .in_container = true});
    expect_spawn("Launch Remote File Copy Tools in Container",
                 {.name = "rsync", .in_container = true}, {.name = "rsync"});
    expect_spawn("Launch Ingress Remote File Copy Tools in Container",
                 {.name = "wget", .in_container = true}, {.name = "wget"});
    expect_spawn("Launch Ingress Remote File Copy Tools in Container",
                 {.name = "curl", .args = {"-o", "x", "y"}, .in_container = true},
                 {.name = "curl", .args = {"y"}, .in_container = true});
    expect_spawn("Potential Local Privilege Escalation via Environment Variables Misuse",
                 {.name = "su", .env = {"GLIBC_TUNABLES=x"}}, harmless);
    expect_spawn("Detect crypto miners using the Stratum protocol",
                 {.name = "x", .args = {"-o", "stratum+tcp://127.0.0.1"}}, harmless);
    expect_spawn("Kubernetes Client Tool Launched in Container",
                 {.name = "kubectl", .in_container = true}, {.name = "kubectl"});
    expect_spawn("Container Run as Root User", {.name = "x", .vpid = 1, .in_container = true},
                 {.name = "x", .uid = 1000, .vpid = 1, .in_container = true});
    expect_spawn("Sudo Potential Privilege Escalation",
                 {.name = "sudoedit", .args = {"-s", "x\\"}, .loginuid = 1000},
                 {.name = "sudoedit", .args = {"x\\"}, .loginuid = 1000});
    expect_spawn("Polkit Local Privilege Escalation Vulnerability (CVE-2021-4034)",
                 {.name = "pkexec", .loginuid = 1000},
                 {.name = "pkexec", .args = {"x"}, .loginuid = 1000});
    expect_spawn("Decoding Payload in Container",
                 {.name = "base64", .args = {"-d"}, .in_container = true},
                 {.name = "base64", .in_container = true});
    expect_spawn("Basic Interactive Reconnaissance", {.name = "whoami", .tty = 34816},
                 {.name = "whoami"});
    expect_spawn("Known Cryptominer Process Executed", {.name = "xmrig"}, harmless);
    expect_spawn("Web Server Spawned Shell", {.name = "bash", .ancestors = {"nginx"}}, harmless);
    expect_spawn("Web Server Spawned Suspicious Child Process",
                 {.name = "wget", .ancestors = {"apache2"}}, harmless);
    expect_spawn("Reverse Shell from Web Server",
                 {.name = "bash", .args = {"-i"}, .ancestors = {"nginx"}}, harmless);
    expect_spawn("Network Tool Executed During NPM Package Install",
                 {.name = "nc", .in_container = true, .ancestors = {"sh", "npm install"}},
                 {.name = "nc", .in_container = true, .ancestors = {"sh"}});
    expect_spawn("Launch Excessively Capable Container",
                 {.name = "x", .capabilities = kCap_sys_admin, .vpid = 1, .in_container = true},
                 {.name = "x", .vpid = 1, .in_container = true});
}

TEST_F(Official, Privileged) {
    machine.container->privileged = true;
    machine.container->mounts = {{.source = "/",
                                  .destination = "/host",
                                  .mode = "",
                                  .writable = true,
                                  .propagation = "rprivate"}};
    expect_spawn("Launch Privileged Container", {.name = "x", .vpid = 1, .in_container = true},
                 {.name = "x", .vpid = 5, .in_container = true});
    expect_spawn("Debugfs Launched in Privileged Container",
                 {.name = "debugfs", .in_container = true}, {.name = "debugfs"});
    expect_spawn("Mount Launched in Privileged Container",
                 {.name = "mount", .args = {"/dev/sda", "/mnt"}, .in_container = true},
                 {.name = "mount", .in_container = true});
    expect_spawn("Launch Sensitive Mount Container", {.name = "x", .vpid = 1, .in_container = true},
                 {.name = "x", .vpid = 3, .in_container = true});
}

TEST_F(Official, Calls) {
    const ProcessSpec gdb{.name = "evil"};
    const ProcessSpec boxed{.name = "evil", .capabilities = kCap_sys_module, .in_container = true};
    const auto call = [](std::uint16_t kind, std::uint64_t first = 0, std::int64_t result = 0) {
        return RecordBuilder(kind).num(0, first).result(result);
    };
    expect("PTRACE attached to process", gdb, call(BL_EVENT_ptrace, 16), gdb,
           call(BL_EVENT_ptrace, 7));
    expect("PTRACE anti-debug attempt", gdb, call(BL_EVENT_ptrace, 0), gdb,
           call(BL_EVENT_ptrace, 7));
    expect("Linux Kernel Module Injection Detected", boxed, call(BL_EVENT_finit_module), gdb,
           call(BL_EVENT_finit_module));
    expect("Packet socket created in container", boxed, call(BL_EVENT_socket, 17, 3), boxed,
           call(BL_EVENT_socket, 2, 3));
    expect("Change thread namespace", gdb, call(BL_EVENT_setns, 3), {.name = "nsenter"},
           call(BL_EVENT_setns, 3));
    expect("Change namespace privileges via unshare", {.name = "unshare", .in_container = true},
           call(BL_EVENT_unshare, 0x10000000),
           {.name = "unshare", .capabilities = kCap_sys_admin, .in_container = true},
           call(BL_EVENT_unshare, 0x10000000));
    expect("Non sudo setuid", {.name = "evil", .uid = 1000}, call(BL_EVENT_setuid, 33),
           {.name = "sudo", .uid = 1000}, call(BL_EVENT_setuid, 33));
    expect("BPF Program Not Profiled", gdb, call(BL_EVENT_bpf, 5, 3), gdb,
           call(BL_EVENT_bpf, 1, 0));
    expect("Unprivileged Delegation of Page Faults Handling to a Userspace Process",
           {.name = "evil", .uid = 1000}, call(BL_EVENT_userfaultfd, 0, 3), gdb,
           call(BL_EVENT_userfaultfd, 0, 3));
    const bl_event_sock peer = socket_of("10.0.0.5", 40000, "203.0.113.7", 80);
    expect("Redirect STDOUT/STDIN to Network Connection in Container", boxed,
           call(BL_EVENT_dup2, 3, 1).num(1, 1).facts(peer), boxed,
           call(BL_EVENT_dup2, 3, 7).num(1, 7).facts(peer));
}

TEST_F(Official, Network) {
    const ProcessSpec boxed{.name = "curl", .in_container = true};
    const ProcessSpec python{.name = "python3"};
    const auto accept = [](std::string_view from) {
        return RecordBuilder(BL_EVENT_accept4)
            .result(5)
            .facts(socket_of("10.0.0.5", 8080, from, 50000, 6, BL_SOCK_ACCEPTED));
    };
    expect("Contact K8S API Server From Container", boxed, connect_to("10.96.0.1", 443), boxed,
           connect_to("10.96.0.2", 443));
    expect("Contact EC2 Instance Metadata Service From Container", boxed,
           connect_to("169.254.169.254", 80), boxed, connect_to("169.254.169.253", 80));
    expect("Contact cloud metadata service from container", boxed,
           connect_to("169.254.169.254", 80), {.name = "curl"}, connect_to("169.254.169.254", 80));
    expect("Disallowed SSH Connection Non Standard Port", {.name = "ssh", .exe = "/usr/bin/ssh"},
           connect_to("203.0.113.7", 443), {.name = "ssh", .exe = "/usr/bin/ssh"},
           connect_to("203.0.113.7", 22));
    expect("System procs network activity", {.name = "bash"}, connect_to("203.0.113.7", 80), python,
           connect_to("203.0.113.7", 80));
    expect("Unexpected UDP Traffic", {.name = "evil"}, connect_to("203.0.113.7", 4444, 0, 17),
           {.name = "evil"}, connect_to("203.0.113.7", 53, 0, 17));
    expect("Interpreted procs outbound network activity", python, connect_to("203.0.113.7", 80),
           {.name = "curl"}, connect_to("203.0.113.7", 80));
    expect("Interpreted procs inbound network activity", python, accept("203.0.113.7"),
           {.name = "nginx"}, accept("203.0.113.7"));
    expect("Unexpected inbound connection source", python, accept("203.0.113.7"), python,
           accept("127.0.0.1"));
    expect("Unexpected K8s NodePort Connection", boxed, connect_to("203.0.113.7", 30080), boxed,
           connect_to("203.0.113.7", 80));
    expect("Detect outbound connections to common miner pool ports", {.name = "evil"},
           connect_to("203.0.113.9", 3333), {.name = "evil"}, connect_to("203.0.113.8", 3333));
    const auto send = [](std::uint16_t flags) {
        return RecordBuilder(BL_EVENT_sendto)
            .num(0, 5)
            .result(10)
            .flags(flags)
            .facts(socket_of("10.0.0.5", 40000, "203.0.113.7", 4444, 17));
    };
    expect("Interpreted procs outbound network activity", python, send(BL_EVENT_NAME_CHANGED),
           python, send(0));
}

} // namespace
} // namespace beeline::security
