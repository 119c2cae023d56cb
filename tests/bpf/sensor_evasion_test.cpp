// libs: security_sensor
// What the kernel side leaves out, and what nobody may slip past it.
#include "sensor_fixture.h"

#include <arpa/inet.h>
#include <csignal>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

namespace beeline::security {
namespace {

long call(long number, auto... arguments) { return syscall(number, arguments...); }

int open_read(const std::string& name) {
    return static_cast<int>(call(SYS_openat, AT_FDCWD, name.c_str(), O_RDONLY | O_CLOEXEC));
}

// This program, started under another name: calls setgid five times, the last four as "disguise".
const bool kActor = [] {
    if (getenv("BEELINE_ACTOR") == nullptr) return false;
    call(SYS_setgid, 0);
    prctl(PR_SET_NAME, "disguise");
    call(SYS_setgid, 0);
    std::thread([] { call(SYS_setgid, 0); }).join();
    const pid_t child = fork();
    call(SYS_setgid, 0);
    if (child != 0) waitpid(child, nullptr, 0);
    _exit(0);
}();

class Filter : public SensorTest {};
class Names : public SensorTest {
protected:
    void want_names(std::set<std::string> names) {
        capture_.kinds[BL_EVENT_setgid].comms = std::move(names);
        want({{BL_EVENT_setgid, BL_WANT_COMM}});
        seen_.clear();
    }
    void act_as(const std::string& name) {
        ASSERT_FALSE(kActor);
        std::filesystem::copy_file(std::filesystem::canonical("/proc/self/exe"),
                                   path(name.c_str()));
        run([&] {
            setenv("BEELINE_ACTOR", "1", 1);
            execl(path(name.c_str()).c_str(), name.c_str(), nullptr);
        });
        ASSERT_EQ(of(BL_EVENT_execve).size(), 1U);
    }
    [[nodiscard]] std::size_t calls() const { return of(BL_EVENT_setgid).size(); }
};
class Evasion : public SensorTest {
protected:
    // Opens for reading of a file with "secret" in its path.
    void want_secret() {
        touch("secret");
        want_path("/secret", false, true, BL_CLASS_READ);
        want({{BL_EVENT_openat, BL_WANT_PATH},
              {BL_EVENT_openat2, BL_WANT_PATH},
              {BL_EVENT_open, BL_WANT_PATH}});
    }
    void expect_secret(const Seen& seen) const {
        EXPECT_EQ(seen.text[BL_STR_RESOLVED], path("secret"));
        struct stat status{};
        ASSERT_EQ(stat(path("secret").c_str(), &status), 0);
        EXPECT_EQ(seen.as<bl_event_file>().ino, status.st_ino);
    }
};

TEST_F(Filter, PathsByTextAndClass) {
    want_path("/wanted", false, true, BL_CLASS_READ);
    want_path(folder_.string() + "/dir/", true, false, BL_CLASS_WRITE);
    want_path("/missing", false, true, BL_CLASS_READ << BL_CLASS_FAILED_SHIFT);
    want({{BL_EVENT_openat, BL_WANT_PATH}});
    std::filesystem::create_directory(path("dir"));
    for (const char* name : {"wanted", "wanted2", "dir/x", "other"})
        touch(name);
    run([&] {
        const auto try_open = [&](const char* name, int flags) {
            call(SYS_openat, AT_FDCWD, path(name).c_str(), flags, 0600);
        };
        try_open("wanted", O_RDONLY);
        try_open("wanted", O_WRONLY); // class
        try_open("wanted2", O_RDONLY);
        try_open("other", O_RDWR);
        try_open("dir/x", O_RDONLY); // class
        try_open("dir/x", O_RDWR);
        try_open("dir/new", O_WRONLY | O_CREAT);
        try_open("missing", O_RDONLY);
        try_open("missing", O_WRONLY);
        try_open("missing2", O_RDONLY);
        try_open("dir/nothing/x", O_WRONLY);
    });
    std::vector<std::string> names;
    for (const Seen& seen : of(BL_EVENT_openat))
        names.push_back(std::filesystem::path(seen.text[BL_STR_PATH]).filename());
    EXPECT_EQ(names, (std::vector<std::string>{"wanted", "x", "new", "missing"}));
}

TEST_F(Filter, PathsAreWantedForContainersOnly) {
    want_path("/wanted", false, true, BL_CLASS_READ << BL_CLASS_CONTAINER_SHIFT);
    want({{BL_EVENT_openat, BL_WANT_PATH}});
    touch("wanted");
    struct stat cgroup{};
    ASSERT_EQ(stat(cgroup_.c_str(), &cgroup), 0);
    const auto seen_with = [&](std::uint32_t place) {
        EXPECT_TRUE(sensor_->set_scope(cgroup.st_ino, place));
        seen_.clear();
        run([&] { open_read(path("wanted")); });
        return of(BL_EVENT_openat).size();
    };
    EXPECT_EQ(seen_with(BL_SCOPE_HOST), 0U);
    EXPECT_EQ(seen_with(BL_SCOPE_CONTAINER), 1U);
    EXPECT_EQ(seen_with(0), 1U) << "a place that is not known holds nothing back";
}

TEST_F(Filter, PlaceOfAKind) {
    struct stat cgroup{};
    ASSERT_EQ(stat(cgroup_.c_str(), &cgroup), 0);
    const auto seen_with = [&](std::uint32_t flag, std::uint32_t place) {
        want({{BL_EVENT_setsid, flag}});
        EXPECT_TRUE(sensor_->set_scope(cgroup.st_ino, place));
        seen_.clear();
        run([] { setsid(); });
        return of(BL_EVENT_setsid).size();
    };
    EXPECT_EQ(seen_with(BL_WANT_CONTAINER, BL_SCOPE_HOST), 0U);
    EXPECT_EQ(seen_with(BL_WANT_CONTAINER, BL_SCOPE_CONTAINER), 1U);
    EXPECT_EQ(seen_with(BL_WANT_HOST, BL_SCOPE_HOST), 1U);
    EXPECT_EQ(seen_with(BL_WANT_HOST, BL_SCOPE_CONTAINER), 0U);
    EXPECT_EQ(seen_with(BL_WANT_HOST, 0), 1U);
}

TEST_F(Filter, Results) {
    want({{BL_EVENT_setuid, BL_WANT_SUCCESS},
          {BL_EVENT_setns, BL_WANT_FAILURE},
          {BL_EVENT_unshare, BL_WANT_FAILURE},
          {BL_EVENT_kill, BL_WANT_SUCCESS}});
    run([] {
        setuid(0);
        call(SYS_setns, -1, 0);
        call(SYS_unshare, CLONE_FS);
        call(SYS_kill, -1000000, 0);
    });
    EXPECT_EQ(of(BL_EVENT_setuid).size(), 1U);
    EXPECT_EQ(of(BL_EVENT_setns).size(), 1U);
    EXPECT_TRUE(of(BL_EVENT_unshare).empty());
    EXPECT_TRUE(of(BL_EVENT_kill).empty());
}

TEST_F(Names, AProcessKeepsThatOfItsExec) {
    want_names({"wanted", "also"});
    act_as("wanted");
    EXPECT_EQ(calls(), 5U) << "also of its threads and children, whatever it calls itself";
}

TEST_F(Names, NobodyTakesAnothers) {
    want_names({"disguise"});
    act_as("harmless");
    EXPECT_EQ(calls(), 0U);
}

TEST_F(Names, LongOnesAreCut) {
    want_names({"a-name-of-more-than-15"});
    act_as("a-name-of-more-than-15");
    EXPECT_EQ(calls(), 5U);
}

TEST_F(Names, OfProcessesThatWereThereBefore) {
    std::ifstream file("/proc/self/stat");
    std::string word;
    for (int i = 0; i < 22; ++i)
        file >> word;
    const std::uint64_t start_ns = std::stoull(word) * BL_TICK_NS;
    const auto self = static_cast<std::uint32_t>(getpid());
    // Of a child, which has the name of this process.
    const auto seen_when = [&](std::uint64_t start, const char* name) {
        sensor_->stop();
        want_names({"wanted"});
        if (name != nullptr) {
            EXPECT_TRUE(sensor_->tell_name(self, start, name));
        }
        run([] { call(SYS_setgid, 0); });
        return calls();
    };
    EXPECT_EQ(seen_when(0, nullptr), 1U) << "what is not known is not held back";
    EXPECT_EQ(seen_when(start_ns, "unwanted"), 0U);
    EXPECT_EQ(seen_when(0, nullptr), 1U) << "what was known before the sensors stopped is not";
    EXPECT_EQ(seen_when(start_ns - 5 * BL_TICK_NS, "unwanted"), 1U) << "another had this pid";
    EXPECT_EQ(seen_when(start_ns, "wanted"), 1U);
    sensor_->stop();
}

TEST_F(Filter, OtherCgroupsAreNotSeen) {
    want({{BL_EVENT_setsid, 0}});
    const pid_t child = fork();
    if (child == 0) {
        setsid();
        execl("/bin/true", "true", nullptr);
    }
    waitpid(child, nullptr, 0);
    ring_->consume([&](std::span<const std::byte> record) { seen_.push_back(copy(record)); });
    EXPECT_TRUE(seen_.empty());
    // A cgroup below is within.
    ASSERT_EQ(mkdir((cgroup_ + "/sub").c_str(), 0755), 0);
    run([] { setsid(); }, "/sub");
    EXPECT_EQ(of(BL_EVENT_setsid).size(), 1U);
    EXPECT_EQ(rmdir((cgroup_ + "/sub").c_str()), 0);
}

TEST_F(Filter, AChangeOfRulesLosesNothing) {
    std::thread changes;
    std::atomic<bool> done{false};
    want({{BL_EVENT_setgid, 0}});
    changes = std::thread([&] {
        for (int i = 0; !done; ++i) {
            Capture other = capture_;
            other.kinds[BL_EVENT_setuid].want = i % 2 == 0 ? BL_WANT_ON : 0;
            other.paths.push_back({"/x" + std::to_string(i), true, false, BL_CLASS_READ});
            EXPECT_TRUE(sensor_->set(other));
        }
    });
    run([&] {
        for (int i = 0; i < 30000; ++i)
            setgid(static_cast<gid_t>(0));
    });
    done = true;
    changes.join();
    EXPECT_EQ(of(BL_EVENT_setgid).size(), 30000U);
}

TEST_F(Evasion, SymbolicLinks) {
    want_secret();
    ASSERT_EQ(symlink("secret", path("link").c_str()), 0);
    ASSERT_EQ(symlink(folder_.c_str(), path("loop").c_str()), 0);
    run([&] {
        open_read(path("link"));
        open_read(path("loop/loop/link"));
        open_read("/proc/self/root" + path("secret"));
        if (chdir("/usr") != 0) _exit(1);
        open_read("/proc/self/cwd/.." + path("secret"));
    });
    const auto opens = of(BL_EVENT_openat);
    ASSERT_EQ(opens.size(), 4U);
    for (const Seen& seen : opens)
        expect_secret(seen);
}

TEST_F(Evasion, RelativeWays) {
    want_secret();
    std::filesystem::create_directory(path("dir"));
    run([&] {
        const int fd = open(path("dir").c_str(), O_PATH);
        call(SYS_openat, fd, "../secret", O_RDONLY);
        const open_how how{O_RDONLY, 0, 0};
        call(SYS_openat2, fd, ".././dir//../secret", &how, sizeof how);
        if (chdir(path("dir").c_str()) != 0) _exit(1);
        open_read("../secret");
        const int found = open(path("secret").c_str(), O_PATH);
        open_read("/proc/self/fd/" + std::to_string(found));
    });
    const auto opens = of(BL_EVENT_openat);
    ASSERT_EQ(opens.size(), 4U); // with the O_PATH one, which can be opened again
    for (const Seen& seen : opens)
        expect_secret(seen);
    expect_secret(one(BL_EVENT_openat2));
}

TEST_F(Evasion, TheNameThatIsALinkIsSeenToo) {
    touch("real");
    ASSERT_EQ(symlink("real", path("alias").c_str()), 0);
    want_path(folder_.string() + "/alias", true, true, BL_CLASS_READ);
    want({{BL_EVENT_openat, BL_WANT_PATH}});
    run([&] {
        open_read(path("alias"));
        if (chdir(folder_.c_str()) != 0) _exit(1);
        open_read("alias");
    });
    const auto opens = of(BL_EVENT_openat);
    ASSERT_EQ(opens.size(), 2U);
    EXPECT_EQ(opens[0].text[BL_STR_RESOLVED], path("real"));
    EXPECT_EQ(opens[1].text[BL_STR_BASE], folder_);
}

TEST_F(Evasion, CrookedNamesOfWhatIsOnlyText) {
    // None of these is there: all fail.
    want_path(folder_.string() + "/dir/file", true, true, BL_CLASS_OTHER << BL_CLASS_FAILED_SHIFT);
    want({{BL_EVENT_unlink, BL_WANT_PATH}, {BL_EVENT_unlinkat, BL_WANT_PATH}});
    std::filesystem::create_directory(path("dir"));
    run([&] {
        unlink(path("dir/other").c_str());
        unlink(path("dir/.hidden").c_str());
        unlink(path("dir/file").c_str());
        unlink(path("dir//file").c_str());
        unlink(path("./dir/file").c_str());
        unlink(path("dir/../dir/file").c_str());
        if (chdir(path("dir").c_str()) != 0) _exit(1);
        unlink("file");
        unlink("other");
        unlink("./file");
    });
    EXPECT_EQ(of(BL_EVENT_unlink).size(), 6U);
}

TEST_F(Evasion, HardLinks) {
    want_path("/secret", false, true, BL_CLASS_OTHER);
    touch("secret");
    want({{BL_EVENT_link, BL_WANT_PATH}, {BL_EVENT_linkat, BL_WANT_PATH}});
    run([&] {
        link(path("secret").c_str(), path("harmless").c_str());
        call(SYS_linkat, AT_FDCWD, path("secret").c_str(), AT_FDCWD, path("harmless2").c_str(), 0);
        link(path("harmless").c_str(), path("harmless3").c_str());
    });
    EXPECT_EQ(one(BL_EVENT_link).text[BL_STR_PATH2], path("harmless"));
    EXPECT_EQ(one(BL_EVENT_linkat).text[BL_STR_PATH], path("secret"));
}

// A thread writes other names over the one that is passed to open; whatever the kernel opened must be reported.
TEST_F(Evasion, NamesChangedDuringOpen) {
    want_secret();
    touch("public");
    auto* opened = static_cast<std::atomic<int>*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    run([&] {
        struct stat secret{};
        stat(path("secret").c_str(), &secret);
        const std::string a = path("secret"), b = path("public");
        static char name[256];
        std::memcpy(name, a.c_str(), a.size() + 1);
        std::atomic<bool> stop{false};
        std::thread writer([&] {
            for (bool turn = false; !stop; turn = !turn)
                std::memcpy(name, (turn ? a : b).c_str(), a.size() + 1);
        });
        for (int i = 0; i < 3000; ++i) {
            const int fd = static_cast<int>(call(SYS_openat, AT_FDCWD, name, O_RDONLY));
            struct stat status{};
            if (fd >= 0 && fstat(fd, &status) == 0 && status.st_ino == secret.st_ino) ++*opened;
            close(fd);
        }
        stop = true;
        writer.join();
    });
    int reported = 0;
    for (const Seen& seen : of(BL_EVENT_openat))
        reported += seen.text[BL_STR_RESOLVED] == path("secret") ? 1 : 0;
    EXPECT_GT(*opened, 0);
    EXPECT_EQ(reported, *opened);
    munmap(opened, 4096);
}

// The same for a call that leaves no object: the text before the call counts. A lease holds the call up meanwhile.
TEST_F(Evasion, NamesChangedDuringTruncate) {
    touch("victim");
    want_path("/victim", false, true, BL_CLASS_OTHER);
    want({{BL_EVENT_truncate, BL_WANT_PATH}});
    run([&] {
        signal(SIGIO, SIG_IGN);
        const int fd = open(path("victim").c_str(), O_RDONLY | O_CLOEXEC);
        if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) _exit(1);
        std::string name = path("victim");
        std::thread caller([&] { call(SYS_truncate, name.c_str(), 1L); });
        usleep(200000);
        name.replace(name.size() - 6, 6, "decoys");
        fcntl(fd, F_SETLEASE, F_UNLCK);
        caller.join();
    });
    const Seen seen = one(BL_EVENT_truncate);
    EXPECT_EQ(seen.text[BL_STR_PATH], path("victim"));
    EXPECT_EQ(seen.head.flags, BL_EVENT_TAMPERED);
    EXPECT_EQ(seen.head.result, 0);
}

#ifdef __x86_64__
TEST_F(Evasion, CallsOfThe32BitTable) {
    want_secret();
    want({{BL_EVENT_setsid, 0}, {BL_EVENT_socket, 0}, {BL_EVENT_connect, 0}});
    run([&] {
        auto* low = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
        const auto old = [](long number, long a, long b, long c) {
            long result = 0;
            __asm__ volatile("int $0x80"
                             : "=a"(result)
                             : "a"(number), "b"(a), "c"(b), "d"(c)
                             : "memory", "r8", "r9", "r10", "r11");
            return static_cast<int>(result);
        };
        std::memcpy(low, path("secret").c_str(), path("secret").size() + 1);
        old(5, reinterpret_cast<long>(low), O_RDONLY, 0);          // open
        old(295, AT_FDCWD, reinterpret_cast<long>(low), O_RDONLY); // openat
        old(66, 0, 0, 0);                                          // setsid
        const std::uint32_t inner[3] = {AF_INET, SOCK_DGRAM, 0};
        std::memcpy(low, inner, sizeof inner);
        const int fd = old(102, 1, reinterpret_cast<long>(low), 0); // socketcall: socket
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(9);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        std::memcpy(low + 64, &address, sizeof address);
        const std::uint32_t second[3] = {
            static_cast<std::uint32_t>(fd),
            static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(low + 64)), sizeof address};
        std::memcpy(low, second, sizeof second);
        old(102, 3, reinterpret_cast<long>(low), 0); // socketcall: connect
    });
    expect_secret(one(BL_EVENT_open));
    expect_secret(one(BL_EVENT_openat));
    EXPECT_EQ(one(BL_EVENT_open).head.flags, BL_EVENT_COMPAT);
    EXPECT_EQ(one(BL_EVENT_setsid).head.flags, BL_EVENT_COMPAT);
    EXPECT_EQ(one(BL_EVENT_socket).head.num[0], static_cast<std::uint64_t>(AF_INET));
    EXPECT_EQ(one(BL_EVENT_connect).as<bl_event_sock>().remote_port, htons(9));
}
#endif

// The least of a ring: one request at a time, by the system calls themselves.
class Uring {
public:
    explicit Uring(unsigned flags = 0) {
        io_uring_params params{};
        params.flags = flags;
        params.sq_thread_idle = 1000;
        fd_ = static_cast<int>(call(SYS_io_uring_setup, 4, &params));
        if (fd_ < 0) return;
        const std::size_t size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
        ring_ = static_cast<char*>(
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, IORING_OFF_SQ_RING));
        entries_ = static_cast<io_uring_sqe*>(mmap(nullptr, 4 * sizeof(io_uring_sqe),
                                                   PROT_READ | PROT_WRITE, MAP_SHARED, fd_,
                                                   IORING_OFF_SQES));
        const std::size_t completions =
            params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
        done_ = static_cast<char*>(mmap(nullptr, completions, PROT_READ | PROT_WRITE, MAP_SHARED,
                                        fd_, IORING_OFF_CQ_RING));
        params_ = params;
    }
    [[nodiscard]] bool good() const { return fd_ >= 0; }

    int run(const io_uring_sqe& entry) {
        auto* tail = reinterpret_cast<unsigned*>(ring_ + params_.sq_off.tail);
        const unsigned mask = *reinterpret_cast<unsigned*>(ring_ + params_.sq_off.ring_mask);
        auto* array = reinterpret_cast<unsigned*>(ring_ + params_.sq_off.array);
        entries_[*tail & mask] = entry;
        array[*tail & mask] = *tail & mask;
        __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
        unsigned flags = IORING_ENTER_GETEVENTS;
        if ((params_.flags & IORING_SETUP_SQPOLL) != 0) flags |= IORING_ENTER_SQ_WAKEUP;
        call(SYS_io_uring_enter, fd_, 1, 1, flags, 0L, 0L);
        auto* head = reinterpret_cast<unsigned*>(done_ + params_.cq_off.head);
        const auto* cqes = reinterpret_cast<io_uring_cqe*>(done_ + params_.cq_off.cqes);
        const unsigned cq_mask = *reinterpret_cast<unsigned*>(done_ + params_.cq_off.ring_mask);
        const int result = cqes[*head & cq_mask].res;
        __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
        return result;
    }

private:
    int fd_ = -1;
    io_uring_params params_{};
    char* ring_ = nullptr;
    char* done_ = nullptr;
    io_uring_sqe* entries_ = nullptr;
};

io_uring_sqe request(unsigned char operation, int fd, const void* address,
                     std::uint64_t offset = 0) {
    io_uring_sqe entry{};
    entry.opcode = operation;
    entry.fd = fd;
    entry.addr = reinterpret_cast<std::uintptr_t>(address);
    entry.off = offset;
    return entry;
}

TEST_F(Evasion, IoUring) {
    want_secret();
    want({{BL_EVENT_connect, 0},
          {BL_EVENT_renameat2, 0},
          {BL_EVENT_unlinkat, 0},
          {BL_EVENT_mkdirat, 0},
          {BL_EVENT_linkat, 0},
          {BL_EVENT_symlinkat, 0},
          {BL_EVENT_socket, 0},
          {BL_EVENT_recvmsg, 0},
          {BL_EVENT_recvfrom, 0},
          {BL_EVENT_bind, 0}});
    const int fd = open(folder_.c_str(), O_PATH | O_DIRECTORY);
    const std::string secret = path("secret");
    const int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in echo{};
    echo.sin_family = AF_INET;
    echo.sin_port = htons(7);
    echo.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(datagrams, reinterpret_cast<sockaddr*>(&echo), sizeof echo), 0);
    const int status = run([&] {
        Uring ring;
        if (!ring.good()) _exit(77);
        if (ring.run(request(IORING_OP_OPENAT, fd, "secret")) < 0) _exit(1);
        const open_how how{O_RDONLY, 0, 0};
        io_uring_sqe entry = request(IORING_OP_OPENAT2, AT_FDCWD, secret.c_str());
        entry.len = sizeof how;
        entry.off = reinterpret_cast<std::uintptr_t>(&how);
        if (ring.run(entry) < 0) _exit(2);
        entry = request(IORING_OP_MKDIRAT, fd, "dir");
        entry.len = 0755;
        if (ring.run(entry) < 0) _exit(3);
        entry = request(IORING_OP_RENAMEAT, fd, "dir", reinterpret_cast<std::uintptr_t>("dir2"));
        entry.len = static_cast<unsigned>(fd);
        if (ring.run(entry) < 0) _exit(4);
        entry = request(IORING_OP_UNLINKAT, fd, "dir2");
        entry.unlink_flags = AT_REMOVEDIR;
        if (ring.run(entry) < 0) _exit(5);
        entry = request(IORING_OP_LINKAT, fd, "secret", reinterpret_cast<std::uintptr_t>("hard"));
        entry.len = static_cast<unsigned>(fd);
        if (ring.run(entry) < 0) _exit(6);
        if (ring.run(request(IORING_OP_SYMLINKAT, fd, "target",
                             reinterpret_cast<std::uintptr_t>("soft"))) < 0)
            _exit(7);
        entry = request(IORING_OP_SOCKET, AF_INET, nullptr, SOCK_STREAM);
        const int made = ring.run(entry);
        if (made < 0) _exit(8);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(1);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ring.run(request(IORING_OP_CONNECT, made, &address, sizeof address));
        address.sin_port = htons(0);
        const int other = ring.run(entry);
        ring.run(request(56 /* BIND */, other, &address, sizeof address));
        char buffer[16];
        iovec vector{buffer, sizeof buffer};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        entry = request(IORING_OP_RECVMSG, datagrams, &message);
        entry.len = 1;
        entry.msg_flags = MSG_DONTWAIT;
        ring.run(entry);
        entry = request(IORING_OP_RECV, datagrams, buffer);
        entry.len = sizeof buffer;
        entry.msg_flags = MSG_DONTWAIT;
        ring.run(entry);
    });
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no io_uring here";
    EXPECT_EQ(WEXITSTATUS(status), 0);
    const Seen open = one(BL_EVENT_openat);
    EXPECT_EQ(open.head.flags, BL_EVENT_URING);
    EXPECT_EQ(open.text[BL_STR_PATH], "secret");
    EXPECT_EQ(open.text[BL_STR_BASE], folder_);
    EXPECT_EQ(open.head.pid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(one(BL_EVENT_openat2).text[BL_STR_PATH], secret);
    EXPECT_EQ(one(BL_EVENT_mkdirat).text[BL_STR_PATH], "dir");
    EXPECT_EQ(one(BL_EVENT_renameat2).text[BL_STR_PATH], "dir");
    EXPECT_EQ(one(BL_EVENT_renameat2).text[BL_STR_PATH2], "dir2");
    EXPECT_EQ(one(BL_EVENT_unlinkat).text[BL_STR_PATH], "dir2");
    EXPECT_EQ(one(BL_EVENT_linkat).text[BL_STR_PATH2], "hard");
    EXPECT_EQ(one(BL_EVENT_symlinkat).text[BL_STR_PATH], "target");
    EXPECT_EQ(one(BL_EVENT_symlinkat).text[BL_STR_PATH2], "soft");
    EXPECT_EQ(of(BL_EVENT_socket).size(), 2U);
    const auto connected = one(BL_EVENT_connect).as<bl_event_sock>();
    EXPECT_EQ(connected.remote_port, htons(1));
    EXPECT_EQ(connected.family, AF_INET);
    EXPECT_EQ(one(BL_EVENT_bind).as<bl_event_sock>().local.word[3], htonl(INADDR_LOOPBACK));
    for (const int kind : {BL_EVENT_recvmsg, BL_EVENT_recvfrom}) {
        EXPECT_EQ(one(kind).head.flags & BL_EVENT_URING, BL_EVENT_URING);
        EXPECT_EQ(one(kind).as<bl_event_sock>().remote_port, htons(7));
    }
    close(datagrams);
    close(fd);
}

TEST_F(Evasion, IoUringByItsPollingThread) {
    want_secret();
    const int status = run([&] {
        Uring ring(IORING_SETUP_SQPOLL);
        if (!ring.good()) _exit(77);
        if (ring.run(request(IORING_OP_OPENAT, AT_FDCWD, path("secret").c_str())) < 0) _exit(1);
    });
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no SQPOLL here";
    EXPECT_EQ(WEXITSTATUS(status), 0);
    const Seen open = one(BL_EVENT_openat);
    EXPECT_EQ(open.head.pid, static_cast<std::uint32_t>(child_))
        << "the process, not the kernel's thread";
    EXPECT_NE(open.head.tid, open.head.pid);
}

TEST_F(Evasion, ProgramsWithoutAFile) {
    want({});
    run([] {
        const int program = open("/bin/true", O_RDONLY | O_CLOEXEC);
        const int memory = memfd_create("nothing to see", MFD_CLOEXEC);
        char buffer[65536];
        for (ssize_t n = 0; (n = read(program, buffer, sizeof buffer)) > 0;)
            if (write(memory, buffer, static_cast<std::size_t>(n)) != n) _exit(1);
        char* const arguments[] = {const_cast<char*>("innocent"), nullptr};
        char* const environment[] = {nullptr};
        call(SYS_execveat, memory, "", arguments, environment, AT_EMPTY_PATH);
        _exit(2);
    });
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.text[BL_STR_RESOLVED], "memfd:nothing to see");
    EXPECT_EQ(exec.text[BL_STR_PATH2], std::string("innocent\0", 9));
    EXPECT_EQ(exec.as<bl_event_task>().exe.flags & BL_FILE_MEMFD, BL_FILE_MEMFD);
    EXPECT_EQ(one(BL_EVENT_procexit).head.result, 0);
}

TEST_F(Evasion, DeletedProgram) {
    want({});
    std::filesystem::copy_file("/bin/true", path("gone"));
    run([&] {
        const int fd = open(path("gone").c_str(), O_RDONLY | O_CLOEXEC);
        unlink(path("gone").c_str());
        char* const arguments[] = {const_cast<char*>("gone"), nullptr};
        char* const environment[] = {nullptr};
        call(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
    });
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.text[BL_STR_RESOLVED], path("gone"));
    EXPECT_EQ(exec.as<bl_event_task>().exe.flags & BL_FILE_DELETED, BL_FILE_DELETED);
}

TEST_F(Evasion, ExecByAnotherThread) {
    want({});
    run([] { std::thread([] { execl("/bin/true", "true", nullptr); }).join(); });
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.head.pid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(exec.head.tid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(one(BL_EVENT_procexit).head.start_ns, exec.head.start_ns);
}

TEST_F(Evasion, DeepPaths) {
    want_path("/secret", false, true, BL_CLASS_READ);
    want({{BL_EVENT_openat, BL_WANT_PATH}});
    const std::string name(200, 'd');
    run([&] {
        if (chdir(folder_.c_str()) != 0) _exit(1);
        for (int depth = 0; depth < 30; ++depth) {
            if (mkdir(name.c_str(), 0755) != 0 || chdir(name.c_str()) != 0) _exit(2);
            if (depth == 15) close(open("secret", O_CREAT | O_WRONLY, 0600));
            if (depth == 15) open_read("secret");
        }
        close(open("plain", O_CREAT | O_WRONLY, 0600));
        open_read("plain");
    });
    std::vector<Seen> opens;
    for (const Seen& seen : of(BL_EVENT_openat)) {
        if ((seen.head.num[2] & O_ACCMODE) == O_RDONLY) opens.push_back(seen);
    }
    ASSERT_EQ(opens.size(), 2U);
    std::string expected = folder_;
    for (int depth = 0; depth < 16; ++depth)
        expected += "/" + name;
    EXPECT_EQ(opens[0].text[BL_STR_RESOLVED], expected + "/secret");
    EXPECT_EQ(opens[0].head.flags, 0U);
    // Longer than any path: the end is there, it says so, and is not held back.
    EXPECT_EQ(opens[1].head.flags, BL_EVENT_TRUNCATED);
    EXPECT_TRUE(opens[1].text[BL_STR_RESOLVED].ends_with("/" + name + "/plain"));
    EXPECT_LE(opens[1].text[BL_STR_RESOLVED].size(), 4096U);
    EXPECT_GT(opens[1].text[BL_STR_RESOLVED].size(), 3800U);
}

TEST_F(Evasion, ManyArguments) {
    want({});
    run([] {
        const std::string big(3000, 'x');
        execl("/bin/true", "true", big.c_str(), big.c_str(), nullptr);
    });
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.head.flags, BL_EVENT_TRUNCATED);
    EXPECT_EQ(exec.text[BL_STR_PATH2].size(), 4096U);
}

TEST_F(Evasion, ThousandThreads) {
    want_secret();
    run([&] {
        for (int round = 0; round < 10; ++round) {
            std::vector<std::thread> threads;
            for (int i = 0; i < 100; ++i)
                threads.emplace_back([&] { close(open_read(path("secret"))); });
            for (std::thread& thread : threads)
                thread.join();
        }
    });
    EXPECT_EQ(of(BL_EVENT_openat).size(), 1000U);
    EXPECT_TRUE(of(BL_EVENT_clone).empty()) << "threads are no processes";
    EXPECT_EQ(of(BL_EVENT_procexit).size(), 1U);
    std::uint64_t last = 0;
    for (const Seen& seen : seen_) {
        EXPECT_EQ(seen.head.pid, static_cast<std::uint32_t>(child_));
        last = std::max<std::uint64_t>(last, seen.head.time_ns);
    }
    EXPECT_EQ(seen_.back().head.kind, BL_EVENT_procexit) << "in order of time";
    EXPECT_EQ(seen_.back().head.time_ns, last);
}

// Whoever makes noise until a ring is full hides neither the loss nor the processes.
TEST_F(Evasion, Flood) {
    constexpr std::uint64_t kCalls = 200000;
    want({{BL_EVENT_setgid, 0}});
    const auto stat = [&](std::string_view name) {
        const auto stats = sensor_->stats();
        for (const auto& entry : *stats)
            if (entry.name == name) return entry.value;
        return std::uint64_t{0};
    };
    const std::uint64_t lost = stat("lost_other");
    run([] {
        for (std::uint64_t i = 0; i < kCalls; ++i)
            call(SYS_setgid, 0);
        execl("/bin/true", "true", nullptr);
    });
    EXPECT_EQ(of(BL_EVENT_execve).size(), 1U);
    EXPECT_EQ(of(BL_EVENT_procexit).size(), 1U);
    EXPECT_GT(stat("lost_other"), lost);
    EXPECT_EQ(of(BL_EVENT_setgid).size() + stat("lost_other") - lost, kCalls);
}

} // namespace
} // namespace beeline::security
