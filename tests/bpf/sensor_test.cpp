// libs: security_sensor
// The sensors on this kernel: children do each call for real, and every field must come out as it was.
#include "sensor_fixture.h"

#include <arpa/inet.h>
#include <csignal>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

namespace beeline::security {
namespace {

TEST_F(SensorTest, ExecIsWholeInItsRecord) {
    want({});
    std::ofstream(path("script")) << "#!/bin/sh\nexit 3\n";
    chmod(path("script").c_str(), 0755);
    const std::string script = path("script");
    const int status = run([&] {
        if (chdir("/tmp") != 0) _exit(1);
        execl(script.c_str(), script.c_str(), "a b", "", nullptr);
    });
    EXPECT_EQ(WEXITSTATUS(status), 3);
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.text[BL_STR_PATH], script);
    EXPECT_EQ(exec.text[BL_STR_RESOLVED], std::filesystem::canonical("/bin/sh"));
    EXPECT_EQ(exec.text[BL_STR_PATH2],
              std::string("/bin/sh\0", 8) + script + std::string("\0a b\0\0", 6));
    EXPECT_EQ(exec.text[BL_STR_BASE], "/tmp");
    EXPECT_FALSE(exec.has[BL_STR_BASE2]);
    EXPECT_EQ(exec.head.pid, static_cast<std::uint32_t>(child_));
    const auto task = exec.as<bl_event_task>();
    EXPECT_EQ(task.pid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(task.ppid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(task.vpid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(task.sid, static_cast<std::uint32_t>(getsid(0)));
    EXPECT_EQ(task.pgid, static_cast<std::uint32_t>(getpgid(0)));
    EXPECT_EQ(task.uid, 0U);
    EXPECT_STREQ(task.comm, "script");
    EXPECT_EQ(task.start_ns, exec.head.start_ns);
    struct stat sh{};
    ASSERT_EQ(stat("/bin/sh", &sh), 0);
    EXPECT_EQ(task.exe.ino, sh.st_ino);
    EXPECT_EQ(task.exe.mode, sh.st_mode);
    const Seen end = one(BL_EVENT_procexit);
    EXPECT_EQ(end.head.result, 3 << 8);
    EXPECT_EQ(end.head.start_ns, exec.head.start_ns);
}

TEST_F(SensorTest, OpenHasTheFileThatWasReached) {
    want({{BL_EVENT_openat, 0}});
    std::ofstream(path("real")) << "x";
    ASSERT_EQ(symlink("real", path("link").c_str()), 0);
    const std::string link = path("link");
    run([&] { close(openat(AT_FDCWD, link.c_str(), O_RDONLY)); });
    const Seen open = one(BL_EVENT_openat);
    EXPECT_EQ(open.text[BL_STR_PATH], link);
    EXPECT_EQ(open.text[BL_STR_RESOLVED], path("real"));
    EXPECT_FALSE(open.has[BL_STR_BASE]);
    EXPECT_GE(open.head.result, 0);
    const auto file = open.as<bl_event_file>();
    struct stat real{};
    ASSERT_EQ(stat(path("real").c_str(), &real), 0);
    EXPECT_EQ(file.ino, real.st_ino);
    EXPECT_EQ(file.mode, real.st_mode);
    EXPECT_EQ(file.flags, 0);
}

long call(long number, auto... arguments) { return syscall(number, arguments...); }

struct PathRow {
    int kind;
    std::function<void()> act;
    std::string path, base, path2, base2;
    long result = 0;
};

TEST_F(SensorTest, CallsWithPaths) {
    touch("a");
    touch("c");
    touch("k");
    const std::string dir = folder_;
    const int fd = open(dir.c_str(), O_PATH | O_DIRECTORY);
    const auto p = [&](const char* name) { return path(name); };
    const auto text = [&](const std::string& s) { return s.c_str(); };
    const std::vector<PathRow> rows = {
        {BL_EVENT_rename, [&] { call(SYS_rename, text(p("a")), text(p("b"))); }, p("a"), "", p("b"),
         ""},
        {BL_EVENT_renameat, [&] { call(SYS_renameat, fd, "b", AT_FDCWD, text(p("a"))); }, "b", dir,
         p("a"), ""},
        {BL_EVENT_renameat2, [&] { call(SYS_renameat2, fd, "a", fd, "b", 0); }, "a", dir, "b", dir},
        {BL_EVENT_link, [&] { call(SYS_link, text(p("b")), text(p("l"))); }, p("b"), "", p("l"),
         ""},
        {BL_EVENT_linkat, [&] { call(SYS_linkat, fd, "b", fd, "l2", 0); }, "b", dir, "l2", dir},
        {BL_EVENT_symlink, [&] { call(SYS_symlink, "b", text(p("s"))); }, "b", "", p("s"), ""},
        {BL_EVENT_symlinkat, [&] { call(SYS_symlinkat, "b", fd, "s2"); }, "b", "", "s2", dir},
        {BL_EVENT_mkdir, [&] { call(SYS_mkdir, text(p("d")), 0755); }, p("d"), "", "", ""},
        {BL_EVENT_mkdirat, [&] { call(SYS_mkdirat, fd, "d2", 0755); }, "d2", dir, "", ""},
        {BL_EVENT_mknod, [&] { call(SYS_mknod, text(p("n")), S_IFIFO | 0600, 0); }, p("n"), "", "",
         ""},
        {BL_EVENT_mknodat, [&] { call(SYS_mknodat, fd, "n2", S_IFIFO | 0600, 0); }, "n2", dir, "",
         ""},
        {BL_EVENT_chmod, [&] { call(SYS_chmod, text(p("b")), 0700); }, p("b"), "", "", ""},
        {BL_EVENT_fchmodat, [&] { call(SYS_fchmodat, fd, "b", 0700); }, "b", dir, "", ""},
        {BL_EVENT_fchmodat2, [&] { call(452, fd, "b", 0700, 0); }, "b", dir, "", ""},
        {BL_EVENT_chown, [&] { call(SYS_chown, text(p("b")), 1, 1); }, p("b"), "", "", ""},
        {BL_EVENT_lchown, [&] { call(SYS_lchown, text(p("b")), 1, 1); }, p("b"), "", "", ""},
        {BL_EVENT_fchownat, [&] { call(SYS_fchownat, fd, "b", 1, 1, 0); }, "b", dir, "", ""},
        {BL_EVENT_truncate, [&] { call(SYS_truncate, text(p("c")), 1L); }, p("c"), "", "", ""},
        {BL_EVENT_unlink, [&] { call(SYS_unlink, text(p("l"))); }, p("l"), "", "", ""},
        {BL_EVENT_unlinkat, [&] { call(SYS_unlinkat, fd, "l2", 0); }, "l2", dir, "", ""},
        {BL_EVENT_rmdir, [&] { call(SYS_rmdir, text(p("d"))); }, p("d"), "", "", ""},
        {BL_EVENT_mount, [&] { call(SYS_mount, "none", text(p("none")), "tmpfs", 0L, 0L); }, "none",
         "/", p("none"), "", -ENOENT},
        {BL_EVENT_umount2, [&] { call(SYS_umount2, text(p("none")), 0); }, p("none"), "", "", "",
         -ENOENT},
        {BL_EVENT_pivot_root, [&] { call(SYS_pivot_root, text(p("none")), text(p("x"))); },
         p("none"), "", p("x"), "", -ENOENT},
        {BL_EVENT_chdir, [&] { call(SYS_chdir, "tmp"); }, "tmp", "/tmp", "", ""},
        {BL_EVENT_chroot, [&] { call(SYS_chroot, text(p("none"))); }, p("none"), "", "", "",
         -ENOENT},
        {BL_EVENT_open_tree, [&] { call(428, fd, "none", 0); }, "none", dir, "", "", -ENOENT},
        {BL_EVENT_move_mount, [&] { call(429, fd, "none", fd, "x", 0); }, "none", dir, "x", dir,
         -ENOENT},
        {BL_EVENT_memfd_create, [&] { close(static_cast<int>(call(SYS_memfd_create, "mine", 0))); },
         "mine", "", "", "", fd + 1},
    };
    for (const PathRow& row : rows)
        capture_.kinds[static_cast<std::size_t>(row.kind)].want = BL_WANT_ON;
    want({});
    run([&] {
        if (chdir("/") != 0) _exit(1);
        for (const PathRow& row : rows)
            row.act();
    });
    for (const PathRow& row : rows) {
        SCOPED_TRACE(row.kind);
        const auto all = of(row.kind);
        ASSERT_FALSE(all.empty());
        const Seen& seen = all.back(); // chdir: the second
        EXPECT_EQ(seen.head.result, row.result);
        EXPECT_EQ(seen.text[BL_STR_PATH], row.path);
        EXPECT_EQ(seen.text[BL_STR_BASE], row.base);
        EXPECT_EQ(seen.text[BL_STR_PATH2], row.path2);
        EXPECT_EQ(seen.text[BL_STR_BASE2], row.base2);
        EXPECT_EQ(seen.head.pid, static_cast<std::uint32_t>(child_));
        EXPECT_EQ(seen.head.tid, static_cast<std::uint32_t>(child_));
        EXPECT_EQ(seen.head.uid, 0U);
        EXPECT_EQ(seen.head.flags, 0U);
        EXPECT_NE(seen.head.cgroup, 0U);
    }
    EXPECT_EQ(of(BL_EVENT_chdir).back().text[BL_STR_RESOLVED], "/tmp");
    close(fd);
}

TEST_F(SensorTest, OpensOfEveryKind) {
    want({{BL_EVENT_open, 0}, {BL_EVENT_openat, 0}, {BL_EVENT_openat2, 0}, {BL_EVENT_creat, 0}});
    touch("a");
    const std::string a = path("a"), made = path("made");
    const int fd = open(folder_.c_str(), O_PATH | O_DIRECTORY);
    run([&] {
        close(static_cast<int>(call(SYS_open, a.c_str(), O_RDWR)));
        close(static_cast<int>(call(SYS_openat, fd, "a", O_RDONLY)));
        const std::uint64_t how[3] = {O_WRONLY, 0, 0};
        close(static_cast<int>(call(437, fd, "./a", how, sizeof how)));
        close(static_cast<int>(call(SYS_creat, made.c_str(), 0700)));
        call(SYS_open, "/nowhere/x", O_WRONLY);
    });
    const auto opens = of(BL_EVENT_open);
    ASSERT_EQ(opens.size(), 2U);
    EXPECT_EQ(opens[0].text[BL_STR_RESOLVED], a);
    EXPECT_EQ(opens[0].head.num[1], static_cast<std::uint64_t>(O_RDWR));
    EXPECT_EQ(opens[1].head.result, -ENOENT);
    EXPECT_EQ(opens[1].text[BL_STR_PATH], "/nowhere/x");
    EXPECT_FALSE(opens[1].has[BL_STR_RESOLVED]);
    EXPECT_TRUE(opens[1].facts.empty());
    const Seen at = one(BL_EVENT_openat);
    EXPECT_EQ(at.text[BL_STR_PATH], "a");
    EXPECT_EQ(at.text[BL_STR_BASE], folder_);
    EXPECT_EQ(at.text[BL_STR_RESOLVED], a);
    const Seen at2 = one(BL_EVENT_openat2);
    EXPECT_EQ(at2.text[BL_STR_PATH], "./a");
    EXPECT_EQ(at2.text[BL_STR_RESOLVED], a);
    EXPECT_EQ(at2.head.num[4], static_cast<std::uint64_t>(O_WRONLY));
    const Seen creat = one(BL_EVENT_creat);
    const auto file = creat.as<bl_event_file>();
    EXPECT_EQ(file.flags, BL_FILE_CREATED);
    EXPECT_EQ(file.mode & 0777, 0700);
    struct stat status{};
    ASSERT_EQ(stat(made.c_str(), &status), 0);
    EXPECT_EQ(file.ino, status.st_ino);
    EXPECT_EQ(file.mtime_ns, static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1000000000U +
                                 static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
    close(fd);
}

TEST_F(SensorTest, CallsOnDescriptors) {
    touch("a");
    const std::string a = path("a");
    const int fd = open(a.c_str(), O_RDWR);
    want({{BL_EVENT_read, BL_WANT_DATA},
          {BL_EVENT_write, BL_WANT_DATA},
          {BL_EVENT_pread64, 0},
          {BL_EVENT_ftruncate, 0},
          {BL_EVENT_fchmod, 0},
          {BL_EVENT_fchown, 0},
          {BL_EVENT_fallocate, 0},
          {BL_EVENT_dup, 0},
          {BL_EVENT_dup2, 0},
          {BL_EVENT_dup3, 0},
          {BL_EVENT_fcntl, 0}});
    run([&] {
        char buffer[200];
        std::memset(buffer, 'z', sizeof buffer);
        if (read(fd, buffer, 3) != 3) _exit(1);
        if (write(fd, buffer, sizeof buffer) != sizeof buffer) _exit(2);
        if (pread(fd, buffer, 2, 0) != 2) _exit(3);
        if (ftruncate(fd, 5) != 0 || fchmod(fd, 0600) != 0 || fchown(fd, 0, 0) != 0) _exit(4);
        if (fallocate(fd, 0, 0, 10) != 0) _exit(5);
        dup(fd);
        dup2(fd, 50);
        dup3(fd, 51, 0);
        fcntl(fd, F_GETFL);
        fcntl(fd, F_DUPFD, 160); // more than are open
    });
    const auto reads = of(BL_EVENT_read);
    ASSERT_FALSE(reads.empty());
    EXPECT_EQ(reads.back().text[BL_STR_RESOLVED], a);
    EXPECT_EQ(reads.back().text[BL_STR_PATH2], "con");
    const auto writes = of(BL_EVENT_write); // the first entered the cgroup
    ASSERT_GE(writes.size(), 1U);
    EXPECT_EQ(writes.back().head.result, 200);
    EXPECT_EQ(writes.back().text[BL_STR_PATH2].size(), 80U);
    for (const int kind :
         {BL_EVENT_pread64, BL_EVENT_ftruncate, BL_EVENT_fchmod, BL_EVENT_fchown,
          BL_EVENT_fallocate, BL_EVENT_dup, BL_EVENT_dup2, BL_EVENT_dup3, BL_EVENT_fcntl}) {
        SCOPED_TRACE(kind);
        const Seen seen = one(kind);
        EXPECT_EQ(seen.text[BL_STR_RESOLVED], a);
        EXPECT_EQ(seen.head.num[0], static_cast<std::uint64_t>(fd));
        EXPECT_EQ(seen.as<bl_event_file>().mode & S_IFMT, static_cast<unsigned>(S_IFREG));
    }
    EXPECT_EQ(one(BL_EVENT_fcntl).head.result, 160);
    close(fd);
}

TEST_F(SensorTest, CallsWithNumbers) {
    struct Row {
        int kind;
        std::function<long()> act;
        std::vector<std::uint64_t> num;
    };
    const std::vector<Row> rows = {
        {BL_EVENT_setuid, [] { return call(SYS_setuid, 0); }, {0}},
        {BL_EVENT_setgid, [] { return call(SYS_setgid, 0); }, {0}},
        {BL_EVENT_setreuid, [] { return call(SYS_setreuid, 0, 0); }, {0, 0}},
        {BL_EVENT_setresuid, [] { return call(SYS_setresuid, 0, 0, 0); }, {0, 0, 0}},
        {BL_EVENT_setsid, [] { return call(SYS_setsid); }, {}},
        {BL_EVENT_unshare, [] { return call(SYS_unshare, CLONE_FS); }, {CLONE_FS}},
        {BL_EVENT_prctl,
         [] { return call(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0); },
         {PR_GET_DUMPABLE}},
        {BL_EVENT_ptrace,
         [] { return call(SYS_ptrace, PTRACE_ATTACH, -5, 0, 0); },
         {PTRACE_ATTACH}},
        {BL_EVENT_kill, [] { return call(SYS_kill, getpid(), 0); }, {}},
        {BL_EVENT_socketpair,
         [] {
             int s[2];
             return call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, s);
         },
         {AF_UNIX, SOCK_STREAM}},
        {BL_EVENT_pipe2,
         [] {
             int s[2];
             return call(SYS_pipe2, s, 0);
         },
         {}},
        {BL_EVENT_mprotect,
         [] { return call(SYS_mprotect, 0x1000L, 4096L, PROT_EXEC); },
         {0x1000, 4096, PROT_EXEC}},
        {BL_EVENT_bpf, [] { return call(SYS_bpf, 999, 0L, 0); }, {999}},
        {BL_EVENT_userfaultfd, [] { return call(SYS_userfaultfd, -1); }, {}},
        {BL_EVENT_setns, [] { return call(SYS_setns, -1, 0); }, {}},
        {BL_EVENT_io_uring_setup, [] { return call(425, 0, 0L); }, {0, 0}},
        {BL_EVENT_keyctl, [] { return call(SYS_keyctl, -1, 0, 0, 0, 0); }, {}},
    };
    for (const Row& row : rows)
        capture_.kinds[static_cast<std::size_t>(row.kind)].want = BL_WANT_ON;
    want({});
    int results[2];
    ASSERT_EQ(pipe(results), 0);
    run([&] {
        for (const Row& row : rows) {
            long result = row.act();
            if (result < 0) result = -errno;
            if (write(results[1], &result, sizeof result) != sizeof result) _exit(1);
        }
        mprotect(nullptr, 0, PROT_READ);
    });
    for (const Row& row : rows) {
        SCOPED_TRACE(row.kind);
        const Seen seen = one(row.kind);
        long result = 0;
        ASSERT_EQ(read(results[0], &result, sizeof result), static_cast<ssize_t>(sizeof result));
        EXPECT_EQ(seen.head.result, result);
        for (std::size_t i = 0; i < row.num.size(); ++i)
            EXPECT_EQ(seen.head.num[i], row.num[i]) << i;
    }
    close(results[0]);
    close(results[1]);
}

TEST_F(SensorTest, ForkAndEnd) {
    want({});
    int status = run([] {
        const pid_t child = fork();
        if (child == 0) _exit(7);
        waitpid(child, nullptr, 0);
        prctl(PR_SET_NAME, "renamed");
        kill(getpid(), SIGTERM);
    });
    EXPECT_EQ(WTERMSIG(status), SIGTERM);
    const Seen clone = one(BL_EVENT_clone);
    EXPECT_EQ(clone.head.pid, static_cast<std::uint32_t>(child_));
    const auto task = clone.as<bl_event_task>();
    EXPECT_EQ(task.ppid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(clone.head.result, task.pid);
    EXPECT_EQ(task.parent_start_ns, clone.head.start_ns);
    // As glibc's fork() asks for it; the signal at the end is no flag.
    EXPECT_EQ(clone.head.num[0],
              static_cast<std::uint64_t>(CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID));
    const auto ends = of(BL_EVENT_procexit);
    ASSERT_EQ(ends.size(), 2U);
    EXPECT_EQ(ends[0].head.pid, task.pid);
    EXPECT_EQ(ends[0].head.start_ns, task.start_ns);
    EXPECT_EQ(ends[0].head.result, 7 << 8);
    EXPECT_EQ(ends[1].head.result, SIGTERM);
    const Seen comm = one(BL_EVENT_comm);
    EXPECT_EQ(comm.text[BL_STR_PATH], "renamed");
    EXPECT_EQ(comm.head.num[0], static_cast<std::uint64_t>(child_));
}

TEST_F(SensorTest, ExecTellsCapabilitiesNamespacesAndEnvironment) {
    want({{BL_EVENT_execve, BL_WANT_ENV}});
    run([] {
        char* const arguments[] = {const_cast<char*>("true"), nullptr};
        char* const environment[] = {const_cast<char*>("A=b"), const_cast<char*>("C="), nullptr};
        execve("/bin/true", arguments, environment);
    });
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.text[BL_STR_PATH2], std::string("true\0", 5));
    EXPECT_EQ(exec.text[BL_STR_BASE2], std::string("A=b\0C=\0", 7));
    const auto task = exec.as<bl_event_task>();
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    ASSERT_EQ(call(SYS_capget, &header, data), 0);
    EXPECT_EQ(task.cap_effective, data[0].effective | std::uint64_t{data[1].effective} << 32);
    EXPECT_EQ(task.cap_permitted, data[0].permitted | std::uint64_t{data[1].permitted} << 32);
    const auto inode = [](const char* name) {
        struct stat status{};
        stat((std::string("/proc/self/ns/") + name).c_str(), &status);
        return static_cast<std::uint32_t>(status.st_ino);
    };
    EXPECT_EQ(task.ns_mnt, inode("mnt"));
    EXPECT_EQ(task.ns_pid, inode("pid"));
    EXPECT_EQ(task.ns_net, inode("net"));
    EXPECT_EQ(task.ns_user, inode("user"));
    EXPECT_EQ(task.ns_uts, inode("uts"));
    EXPECT_EQ(task.ns_ipc, inode("ipc"));
    EXPECT_EQ(task.ns_cgroup, inode("cgroup"));
    struct stat cgroup{};
    ASSERT_EQ(stat(cgroup_.c_str(), &cgroup), 0);
    EXPECT_EQ(task.cgroup, cgroup.st_ino);
    EXPECT_EQ(exec.head.cgroup, cgroup.st_ino);
    std::uint32_t loginuid = 0;
    std::ifstream("/proc/self/loginuid") >> loginuid;
    EXPECT_EQ(task.loginuid, loginuid);
    EXPECT_EQ(task.exe.flags & BL_FILE_WRITABLE, BL_FILE_WRITABLE);
}

TEST_F(SensorTest, FailedExec) {
    want({{BL_EVENT_execve, BL_WANT_FAILURE}});
    run([] { execl("/nowhere/program", "x", nullptr); });
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.head.result, -ENOENT);
    EXPECT_EQ(exec.text[BL_STR_PATH], "/nowhere/program");
}

bl_addr v4(const char* text) {
    bl_addr addr{};
    addr.word[2] = htonl(0xffff);
    inet_pton(AF_INET, text, &addr.word[3]);
    return addr;
}

std::string text_of(const bl_addr& addr) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, addr.byte, text, sizeof text);
    return text;
}

TEST_F(SensorTest, TcpFromSocketToShutdown) {
    want({{BL_EVENT_socket, 0},
          {BL_EVENT_bind, 0},
          {BL_EVENT_listen, 0},
          {BL_EVENT_connect, 0},
          {BL_EVENT_accept4, 0},
          {BL_EVENT_shutdown, 0},
          {BL_EVENT_sendto, BL_WANT_NOT_TCP}});
    std::uint16_t* ports = static_cast<std::uint16_t*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    run([&] {
        if (unshare(CLONE_NEWNET) != 0) _exit(1);
        const int server = socket(AF_INET, SOCK_STREAM, 0);
        ifreq request{};
        std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
        request.ifr_flags = IFF_UP;
        ioctl(server, SIOCSIFFLAGS, &request);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(4321);
        auto* any = reinterpret_cast<sockaddr*>(&address);
        bind(server, any, sizeof address);
        listen(server, 4);
        const int client = socket(AF_INET, SOCK_STREAM, 0);
        connect(client, any, sizeof address);
        socklen_t size = sizeof address;
        getsockname(client, any, &size);
        ports[0] = address.sin_port;
        const int end = accept4(server, nullptr, nullptr, 0);
        sendto(client, "x", 1, 0, nullptr, 0);
        shutdown(end, SHUT_RDWR);
        address.sin_port = htons(4322);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connect(socket(AF_INET, SOCK_STREAM, 0), any, sizeof address);
    });
    EXPECT_EQ(of(BL_EVENT_socket).size(), 3U);
    EXPECT_EQ(of(BL_EVENT_socket)[0].as<bl_event_sock>().family, AF_INET);
    EXPECT_EQ(of(BL_EVENT_socket)[0].as<bl_event_sock>().type, SOCK_STREAM);
    EXPECT_EQ(of(BL_EVENT_socket)[0].as<bl_event_sock>().protocol, IPPROTO_TCP);
    const auto bound = one(BL_EVENT_bind).as<bl_event_sock>();
    EXPECT_EQ(text_of(bound.local), text_of(v4("127.0.0.1")));
    EXPECT_EQ(bound.local_port, htons(4321));
    EXPECT_EQ(one(BL_EVENT_listen).as<bl_event_sock>().flags, BL_SOCK_LISTENING);
    const auto connects = of(BL_EVENT_connect);
    ASSERT_EQ(connects.size(), 2U);
    const auto connected = connects[0].as<bl_event_sock>();
    EXPECT_EQ(connects[0].head.result, 0);
    EXPECT_EQ(connected.remote_port, htons(4321));
    EXPECT_EQ(connected.local_port, ports[0]);
    EXPECT_EQ(text_of(connected.remote), text_of(v4("127.0.0.1")));
    EXPECT_EQ(text_of(connected.local), text_of(v4("127.0.0.1")));
    EXPECT_EQ(connected.flags, BL_SOCK_CONNECTED);
    EXPECT_EQ(connects[1].head.result, -ECONNREFUSED);
    EXPECT_EQ(connects[1].as<bl_event_sock>().remote_port, htons(4322));
    EXPECT_EQ(text_of(connects[1].as<bl_event_sock>().remote), text_of(v4("127.0.0.1")));
    const auto accepted = one(BL_EVENT_accept4).as<bl_event_sock>();
    EXPECT_EQ(accepted.remote_port, ports[0]);
    EXPECT_EQ(accepted.local_port, htons(4321));
    EXPECT_EQ(accepted.flags, BL_SOCK_ACCEPTED | BL_SOCK_CONNECTED);
    EXPECT_EQ(of(BL_EVENT_shutdown).size(), 1U);
    EXPECT_TRUE(of(BL_EVENT_sendto).empty());
    munmap(ports, 4096);
}

TEST_F(SensorTest, DatagramsAreToldWhenThePeerChanges) {
    want({{BL_EVENT_sendto, BL_WANT_NOT_TCP | BL_WANT_INET | BL_WANT_DATA},
          {BL_EVENT_sendmsg, BL_WANT_NOT_TCP | BL_WANT_INET}});
    run([&] {
        if (unshare(CLONE_NEWNET) != 0) _exit(1);
        const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
        ifreq request{};
        std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
        request.ifr_flags = IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
        sockaddr_in6 address{};
        address.sin6_family = AF_INET6;
        address.sin6_addr = in6addr_loopback;
        for (const int port : {1000, 1000, 1001, 1000}) {
            address.sin6_port = htons(static_cast<std::uint16_t>(port));
            sendto(fd, "hello", 5, 0, reinterpret_cast<sockaddr*>(&address), sizeof address);
        }
        iovec vector{const_cast<char*>("hi"), 2};
        msghdr message{};
        message.msg_name = &address;
        message.msg_namelen = sizeof address;
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        address.sin6_port = htons(1002);
        sendmsg(fd, &message, 0);
    });
    const auto sent = of(BL_EVENT_sendto);
    ASSERT_EQ(sent.size(), 3U);
    EXPECT_EQ(sent[0].as<bl_event_sock>().remote_port, htons(1000));
    EXPECT_EQ(sent[1].as<bl_event_sock>().remote_port, htons(1001));
    EXPECT_EQ(sent[2].as<bl_event_sock>().remote_port, htons(1000));
    EXPECT_EQ(text_of(sent[0].as<bl_event_sock>().remote), "::1");
    EXPECT_EQ(sent[0].as<bl_event_sock>().family, AF_INET6);
    EXPECT_EQ(sent[0].text[BL_STR_PATH2], "hello");
    EXPECT_EQ(sent[0].head.flags, BL_EVENT_NAME_CHANGED);
    EXPECT_EQ(one(BL_EVENT_sendmsg).as<bl_event_sock>().remote_port, htons(1002));
}

TEST_F(SensorTest, EachOfSeveralMessages) {
    want({{BL_EVENT_sendmmsg, BL_WANT_DATA}, {BL_EVENT_recvmmsg, 0}});
    run([&] {
        if (unshare(CLONE_NEWNET) != 0) _exit(1);
        const int fd = socket(AF_INET, SOCK_DGRAM, 0);
        ifreq request{};
        std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
        request.ifr_flags = IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
        sockaddr_in own{};
        own.sin_family = AF_INET;
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        own.sin_port = htons(2000);
        const int other = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(other, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) _exit(2);
        sockaddr_in to[20];
        iovec data[20];
        mmsghdr messages[20] = {};
        std::string texts[20];
        for (int i = 0; i < 20; ++i) {
            to[i] = own;
            to[i].sin_port = htons(static_cast<std::uint16_t>(2000 + i));
            texts[i] = "message " + std::to_string(i);
            data[i] = {texts[i].data(), texts[i].size()};
            messages[i].msg_hdr.msg_name = &to[i];
            messages[i].msg_hdr.msg_namelen = sizeof to[i];
            messages[i].msg_hdr.msg_iov = &data[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        if (sendmmsg(fd, messages, 3, 0) != 3) _exit(3);
        if (sendmmsg(fd, messages, 20, 0) != 20) _exit(4);
        // Two came to the first port.
        if (recvmmsg(other, messages, 2, 0, nullptr) != 2) _exit(5);
    });
    const auto sent = of(BL_EVENT_sendmmsg);
    ASSERT_EQ(sent.size(), 3U + 16U); // no more than 16 of one call
    for (std::size_t i = 0; i < sent.size(); ++i) {
        const auto index = i < 3 ? i : i - 3;
        EXPECT_EQ(sent[i].as<bl_event_sock>().remote_port,
                  htons(static_cast<std::uint16_t>(2000 + index)));
        EXPECT_EQ(sent[i].text[BL_STR_PATH2], "message " + std::to_string(index));
        EXPECT_EQ(sent[i].head.result, i < 3 ? 3 : 20);
    }
    const auto received = of(BL_EVENT_recvmmsg);
    ASSERT_EQ(received.size(), 2U);
    for (const Seen& one : received)
        EXPECT_EQ(one.as<bl_event_sock>().remote.word[3], htonl(INADDR_LOOPBACK));
}

TEST_F(SensorTest, CredentialsAfterAChange) {
    want({{BL_EVENT_capset, 0}, {BL_EVENT_setuid, 0}});
    run([] {
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        __user_cap_data_struct data[2] = {};
        if (syscall(SYS_capget, &header, data) != 0) _exit(1);
        const __user_cap_data_struct before[2] = {data[0], data[1]};
        data[0].effective = 1U << 7; // setuid
        data[1].effective = 0;
        if (syscall(SYS_capset, &header, data) != 0) _exit(2);
        header.version = 0; // fails
        syscall(SYS_capset, &header, before);
        if (syscall(SYS_setuid, 12345) != 0) _exit(3);
    });
    const auto set = of(BL_EVENT_capset);
    ASSERT_EQ(set.size(), 2U);
    EXPECT_EQ(set[0].as<bl_event_task>().cap_effective, 1U << 7);
    EXPECT_NE(set[0].as<bl_event_task>().cap_permitted, 1U << 7);
    EXPECT_LT(set[1].head.result, 0);
    EXPECT_TRUE(set[1].facts.empty());
    const auto task = one(BL_EVENT_setuid).as<bl_event_task>();
    EXPECT_EQ(task.uid, 12345U);
    EXPECT_EQ(task.cap_effective, 0U);
}

TEST_F(SensorTest, UnixSocketsHaveTheirPath) {
    want({{BL_EVENT_connect, 0}, {BL_EVENT_bind, 0}});
    const std::string name = path("sock");
    run([&] {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, name.c_str(), name.size());
        auto* any = reinterpret_cast<sockaddr*>(&address);
        const int server = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(server, any, sizeof address);
        listen(server, 1);
        connect(socket(AF_UNIX, SOCK_STREAM, 0), any, sizeof address);
    });
    EXPECT_EQ(one(BL_EVENT_bind).text[BL_STR_PATH], name);
    const Seen connect = one(BL_EVENT_connect);
    EXPECT_EQ(connect.text[BL_STR_PATH], name);
    EXPECT_EQ(connect.as<bl_event_sock>().family, AF_UNIX);
}

TEST_F(SensorTest, AsAContainerSeesIt) {
    want({{BL_EVENT_openat, 0}});
    for (const char* name : {"lower", "upper", "work", "root"})
        std::filesystem::create_directory(path(name));
    std::filesystem::copy_file("/bin/true", path("lower/base"));
    const int status = run([&] {
        if (unshare(CLONE_NEWNS) != 0) _exit(1);
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
        const std::string layers =
            "lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work");
        if (mount("overlay", path("root").c_str(), "overlay", 0, layers.c_str()) != 0) _exit(77);
        std::filesystem::copy_file(path("root/base"), path("root/dropped"));
        for (const char* program : {"root/base", "root/dropped"}) {
            if (const pid_t child = fork(); child != 0) {
                waitpid(child, nullptr, 0);
                continue;
            }
            execl(path(program).c_str(), program, nullptr);
        }
        if (unshare(CLONE_NEWPID) != 0) _exit(2);
        if (const pid_t child = fork(); child != 0) {
            waitpid(child, nullptr, 0);
            return;
        }
        if (chroot(path("root").c_str()) != 0 || chdir("/") != 0) _exit(3);
        call(SYS_openat, AT_FDCWD, "base", O_RDONLY);
    });
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no overlay here";
    std::vector<Seen> opens;
    for (const Seen& seen : of(BL_EVENT_openat))
        if (seen.text[BL_STR_PATH] == "base") opens.push_back(seen);
    ASSERT_FALSE(opens.empty());
    EXPECT_EQ(opens[0].text[BL_STR_RESOLVED], "/base") << "from the root of the process";
    EXPECT_EQ(opens[0].text[BL_STR_BASE], "/");
    EXPECT_EQ(opens[0].as<bl_event_file>().flags, BL_FILE_LOWER);
    const auto execs = of(BL_EVENT_execve);
    ASSERT_EQ(execs.size(), 2U);
    EXPECT_EQ(execs[0].text[BL_STR_RESOLVED], path("root/base"));
    EXPECT_EQ(execs[0].as<bl_event_task>().exe.flags, BL_FILE_LOWER | BL_FILE_WRITABLE);
    EXPECT_EQ(execs[1].as<bl_event_task>().exe.flags, BL_FILE_UPPER | BL_FILE_WRITABLE);
    const auto clones = of(BL_EVENT_clone);
    ASSERT_EQ(clones.size(), 3U);
    const auto first = clones[2].as<bl_event_task>();
    EXPECT_EQ(first.vpid, 1U);
    EXPECT_NE(first.pid, 1U);
    EXPECT_EQ(first.vsid, 0U) << "a session from outside has no number inside";
    EXPECT_EQ(first.pidns_start_ns, first.start_ns) << "it is the first of its namespace";
    struct stat space{};
    ASSERT_EQ(stat("/proc/self/ns/pid", &space), 0);
    EXPECT_NE(first.ns_pid, space.st_ino);
}

TEST_F(SensorTest, TerminalOfAProcess) {
    want({});
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(master, 0);
    ASSERT_EQ(grantpt(master), 0);
    ASSERT_EQ(unlockpt(master), 0);
    std::array<char, 64> name{};
    ASSERT_EQ(ptsname_r(master, name.data(), name.size()), 0);
    struct stat terminal{};
    ASSERT_EQ(stat(name.data(), &terminal), 0);
    run([&] {
        setsid();
        const int fd = open(name.data(), O_RDWR | O_CLOEXEC);
        if (ioctl(fd, TIOCSCTTY, 0) != 0) _exit(1);
        execl("/bin/true", "true", nullptr);
    });
    const auto task = one(BL_EVENT_execve).as<bl_event_task>();
    const unsigned major = gnu_dev_major(terminal.st_rdev), minor = gnu_dev_minor(terminal.st_rdev);
    EXPECT_EQ(task.tty, (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12);
    EXPECT_EQ(task.sid, static_cast<std::uint32_t>(child_));
    close(master);
}

} // namespace
} // namespace beeline::security
