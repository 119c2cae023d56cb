// What the kernel is told to leave out must never be something that a rule matches: random events and rule subsets against a
// model of the filters of bpf/sensor.
#include <gtest/gtest.h>

#include <fcntl.h>

#include <random>

#include "security/engine/fields.h"
#include "security/engine/test_scene.h"

namespace beeline::security {
namespace {

using namespace testing;

const std::vector<rules::Rule>& official() {
    static const auto kLoaded = [] {
        const std::string folder = BEELINE_TEST_DATA "/rules/falco/";
        auto files =
            rules::read_files({folder + "falco_rules.yaml", folder + "falco-incubating_rules.yaml",
                               folder + "falco-sandbox_rules.yaml"});
        files->push_back({.name = "more.yaml",
                          .text = R"(
- rule: negated place
  desc: d
  condition: evt.type in (open, openat, unlink) and not container.id = host and not evt.failed = true
  output: o
  priority: NOTICE
- rule: host only
  desc: d
  condition: evt.type in (openat, rename, connect, dup2) and container.id = host and (fd.name startswith /etc or evt.arg.newpath endswith shadow or fd.sport = 80)
  output: o
  priority: NOTICE
- rule: failures
  desc: d
  condition: evt.type in (openat, mkdir, unlinkat, connect) and (evt.res = EACCES or evt.rawres < 0) and (fd.filename in (shadow, x) or evt.arg.path pmatch (/usr) or evt.arg.name glob "/ro*t/.ssh*" or fd.sip exists)
  output: o
  priority: NOTICE
- rule: names
  desc: d
  condition: evt.type in (openat, setns, connect, listen) and proc.name in (cat, vi, nginx) and not proc.name = vi
  output: o
  priority: NOTICE
- rule: names or root
  desc: d
  condition: evt.type in (setns, ptrace, bpf) and (proc.name = sshd or (proc.name in (bash, tar) and user.uid = 0)) and not proc.pname = bash
  output: o
  priority: NOTICE
- rule: other names
  desc: d
  condition: evt.type = userfaultfd and (not proc.name in (cat, vi) or proc.name = cat)
  output: o
  priority: NOTICE
- rule: oddities
  desc: d
  condition: evt.type in (openat, symlink, link) and (fd.directory startswith /et or fd.nameraw startswith ../ or evt.arg.target contains shadow or tolower(fd.name) contains ssh or fd.name icontains BASH or fd.directory endswith ssh or evt.arg.oldpath regex ".*hosts")
  output: o
  priority: NOTICE
)",
                          .read_error = ""});
        rules::LoadResult out = rules::load(*files, Engine::catalog());
        EXPECT_TRUE(out.successful()) << rules::to_text(out);
        return std::move(out.set);
    }();
    return kLoaded.rules;
}

rules::Rule copy(const rules::Rule& rule) {
    rules::Rule out;
    out.name = rule.name;
    out.output = "x";
    out.condition = rules::clone(*rule.condition);
    return out;
}

// The filters of the kernel, in user space.
class Kernel {
public:
    explicit Kernel(const Capture& capture) : capture_(capture) {}

    [[nodiscard]] bool passes(const Event& event, bool container) const {
        const Capture::Kind& kind = capture_.kinds[event.head.kind];
        if ((kind.want & BL_WANT_ON) == 0) return false;
        const bool failed = event.head.result < 0 && event.head.result != -115;
        if ((kind.want & BL_WANT_SUCCESS) != 0 && failed) return false;
        if ((kind.want & BL_WANT_FAILURE) != 0 && !failed) return false;
        if ((kind.want & BL_WANT_CONTAINER) != 0 && !container) return false;
        if ((kind.want & BL_WANT_HOST) != 0 && container) return false;
        const bool inet =
            event.socket != nullptr && (event.socket->family == 2 || event.socket->family == 10);
        if ((kind.want & BL_WANT_INET) != 0 && !inet) return false;
        if ((kind.want & BL_WANT_NOT_TCP) != 0 &&
            (event.socket->protocol == 6 || (event.head.flags & BL_EVENT_NAME_CHANGED) == 0))
            return false;
        // By the name that the process had at its exec; the kernel has 15 bytes of it.
        if ((kind.want & BL_WANT_COMM) != 0 &&
            std::none_of(kind.comms.begin(), kind.comms.end(), [&](const std::string& name) {
                return name.substr(0, 15) == event.process->name;
            }))
            return false;
        if ((kind.want & BL_WANT_PATH) == 0) return true;
        return path_passes(event, kind, container, failed);
    }

private:
    [[nodiscard]] std::uint32_t find(std::string_view path) const {
        std::uint32_t out = 0;
        for (const Capture::PathText& text : capture_.paths) {
            const bool hit = text.at_start && text.at_end ? path == text.text
                             : text.at_start              ? path.starts_with(text.text)
                             : text.at_end                ? path.ends_with(text.text)
                                                          : path.find(text.text) != path.npos;
            if (hit) out |= text.classes;
        }
        return out;
    }
    [[nodiscard]] std::uint32_t find_asked(std::string_view path, std::string_view base,
                                           bool link_text, bool succeeded_open) const {
        if (path.empty()) return 0;
        const bool crooked = path.find("//") != path.npos || path.find("/./") != path.npos ||
                             path.find("/..") != path.npos || path.starts_with("./") ||
                             path.starts_with("..") || path.ends_with("/.");
        if (path.front() == '/') return crooked && !succeeded_open && !link_text ? ~0U : find(path);
        if (link_text) return 0;
        if (crooked && !succeeded_open) return ~0U;
        return find(std::string(base == "/" ? "" : base) + "/" + std::string(path));
    }
    [[nodiscard]] bool path_passes(const Event& event, const Capture::Kind& kind, bool container,
                                   bool failed) const {
        std::uint32_t classes = BL_CLASS_OTHER;
        std::uint32_t found = kind.path_any;
        const auto& num = event.head.num;
        const bool open = engine::kind_is_open(event.head.kind);
        if (open) {
            const std::uint64_t flags = event.head.kind == BL_EVENT_open    ? num[1]
                                        : event.head.kind == BL_EVENT_creat ? O_WRONLY | O_CREAT
                                                                            : num[2];
            const std::uint64_t mode = event.head.kind == BL_EVENT_open    ? num[2]
                                       : event.head.kind == BL_EVENT_creat ? num[1]
                                                                           : num[3];
            classes = ((flags & O_ACCMODE) != O_WRONLY ? BL_CLASS_READ : 0U) |
                      ((flags & O_ACCMODE) != O_RDONLY ? BL_CLASS_WRITE : 0U) |
                      ((flags & O_CREAT) != 0 && (mode & 0111) != 0 ? BL_CLASS_EXEC : 0U);
            if (event.has(BL_STR_RESOLVED)) found |= find(event.text[BL_STR_RESOLVED]);
        }
        const bool link = event.head.kind == BL_EVENT_symlink;
        found |=
            find_asked(event.text[BL_STR_PATH], event.text[BL_STR_BASE], link, open && !failed);
        if (event.has(BL_STR_PATH2))
            found |= find_asked(event.text[BL_STR_PATH2], event.text[BL_STR_BASE2], false, false);
        const unsigned shift = failed ? BL_CLASS_FAILED_SHIFT : 0;
        return (found & classes << shift) != 0 ||
               (container && (found & classes << (shift + BL_CLASS_CONTAINER_SHIFT)) != 0);
    }
    const Capture& capture_;
};

class World {
public:
    explicit World(unsigned seed) : random_(seed) {
        for (unsigned i = 0; i < 60; ++i) {
            ProcessSpec spec;
            spec.name = pick({"cat", "vi", "nginx", "sshd", "bash", "tar", "python3", "ssh", "nc"});
            spec.exe = pick({"/usr/bin/x", "ssh", "./x", "/dev/shm/x"});
            spec.args = {pick({"-e", "-c", "id_rsa", "x"})};
            spec.uid = chance(50) ? 0 : 1000;
            spec.tty = chance(50) ? 0 : 34816;
            spec.capabilities = chance(50) ? 0 : ~std::uint64_t{0};
            spec.vpid = chance(30) ? 1 : 0;
            spec.in_container = chance(50);
            if (chance(70)) spec.ancestors = {pick({"bash", "nginx", "mysqld", "sshd"})};
            spec.image_flags = chance(20) ? BL_FILE_UPPER : 0;
            processes_.push_back(&machine.make(spec));
        }
        machine.container->privileged = true;
    }
    std::string pick(std::initializer_list<const char*> from) {
        return *(from.begin() + static_cast<std::ptrdiff_t>(random_() % from.size()));
    }
    bool chance(unsigned percent) { return random_() % 100 < percent; }
    std::string path() {
        return pick({"/etc/shadow",
                     "/etc/pam.d/login",
                     "/home/alice/.ssh/authorized_keys",
                     "/root/.ssh/id_rsa",
                     "/root/x",
                     "/tmp/x",
                     "/usr/bin/x",
                     "/etc/cron.d/x",
                     "/var/log/syslog",
                     "/root/.bash_history",
                     "/dev/sda",
                     "/dev/x",
                     "/host/etc",
                     "/proc/self/exe",
                     "/proc/1/environ",
                     "/sys/release_agent",
                     "/srv/.hidden",
                     "/var/lib/rpm/Packages",
                     "/etc/apt/sources.list.d/x",
                     "/lib/liblzma.so.5.6.0",
                     "/etc",
                     "/",
                     "/etc/hosts",
                     "/home/alice/.bashrc",
                     "/usr/share/x"});
    }
    // A path as asked, with where it starts.
    // Says whether dots are in it: where links are too, no text tells what is reached, and only that is looked at.
    bool add_path(RecordBuilder& out, unsigned text, unsigned base, std::string& whole) {
        whole = path();
        if (chance(60)) {
            const bool crooked = chance(30);
            out.text(text, crooked ? "/usr/.." + whole : whole);
            return crooked;
        }
        const std::size_t cut = whole.rfind('/');
        out.text(base, cut == 0 ? "/" : whole.substr(0, cut));
        out.text(text, whole.substr(cut + 1));
        return false;
    }
    Event event() {
        static constexpr std::uint16_t kKinds[] = {
            BL_EVENT_open,     BL_EVENT_openat,    BL_EVENT_openat,      BL_EVENT_openat,
            BL_EVENT_creat,    BL_EVENT_unlink,    BL_EVENT_unlinkat,    BL_EVENT_rmdir,
            BL_EVENT_rename,   BL_EVENT_renameat2, BL_EVENT_link,        BL_EVENT_linkat,
            BL_EVENT_symlink,  BL_EVENT_mkdir,     BL_EVENT_mkdirat,     BL_EVENT_chmod,
            BL_EVENT_fchmodat, BL_EVENT_connect,   BL_EVENT_accept4,     BL_EVENT_listen,
            BL_EVENT_sendto,   BL_EVENT_recvmsg,   BL_EVENT_dup2,        BL_EVENT_socket,
            BL_EVENT_setuid,   BL_EVENT_setns,     BL_EVENT_unshare,     BL_EVENT_ptrace,
            BL_EVENT_bpf,      BL_EVENT_execve,    BL_EVENT_userfaultfd, BL_EVENT_finit_module};
        const std::uint16_t kind = kKinds[random_() % std::size(kKinds)];
        RecordBuilder out(kind);
        const bool socket = engine::kind_is_socket(kind) || kind == BL_EVENT_dup2;
        out.result(chance(70) ? static_cast<std::int64_t>(random_() % 4)
                   : socket   ? -115
                              : -static_cast<std::int64_t>(1 + random_() % 30));
        std::string whole, other;
        if (engine::kind_is_open(kind)) {
            const bool failed = chance(30);
            out.result(failed ? -2 - static_cast<std::int64_t>(random_() % 20) : 3);
            const std::uint64_t flags =
                random_() % 3 | (chance(30) ? O_CREAT : 0) | (chance(30) ? O_TRUNC : 0);
            const std::uint64_t mode = chance(50) ? 0644 : 0755;
            if (kind == BL_EVENT_openat) out.num(2, flags).num(3, mode);
            if (kind == BL_EVENT_open) out.num(1, flags).num(2, mode);
            if (kind == BL_EVENT_creat) out.num(1, mode);
            const bool crooked = add_path(out, BL_STR_PATH, BL_STR_BASE, whole);
            if (!failed) {
                // Reached through a link, now and then.
                out.text(BL_STR_RESOLVED, !crooked && chance(30) ? path() : whole);
                bl_event_file file{};
                file.mode = chance(20) ? 040755 : 0100644;
                out.facts(file);
            }
        } else if (socket) {
            if (chance(85) && kind != BL_EVENT_socket) {
                bl_event_sock facts =
                    socket_of("10.0.0.5", 40000,
                              pick({"203.0.113.7", "10.96.0.1", "169.254.169.254", "127.0.0.1"}),
                              chance(50) ? 80 : 3333, chance(50) ? 6 : 17,
                              chance(50) ? BL_SOCK_CONNECTED : std::uint8_t{0});
                if (chance(15)) facts.family = 1;
                out.facts(facts);
            }
            if (chance(50)) out.flags(BL_EVENT_NAME_CHANGED);
            out.num(0, kind == BL_EVENT_socket ? random_() % 20 : 3);
        } else {
            const int shape = engine::kind_shape(kind);
            const bool first = shape == BL_SHAPE_path || shape == BL_SHAPE_at ||
                               shape == BL_SHAPE_path2 || shape == BL_SHAPE_at2;
            if (first) add_path(out, BL_STR_PATH, BL_STR_BASE, whole);
            if (shape == BL_SHAPE_path2 || shape == BL_SHAPE_at2)
                add_path(out, BL_STR_PATH2, BL_STR_BASE2, other);
            out.num(first && shape == BL_SHAPE_path ? 1 : 2, random_() % 07777);
            if (!first) out.num(0, random_() % 20);
        }
        return machine.event(*processes_[random_() % processes_.size()], out);
    }
    Machine machine;

private:
    std::mt19937 random_;
    std::vector<const Process*> processes_;
};

TEST(CaptureProperty, NoMatchIsLeftOut) {
    World world(7);
    std::vector<Event> events;
    for (int i = 0; i < 6000; ++i)
        events.push_back(world.event());
    std::mt19937 random(11);
    std::set<std::string> matched;
    for (std::size_t round = 0; round < official().size() + 20; ++round) {
        rules::RuleSet set;
        // Each rule alone, then some of them.
        for (std::size_t i = 0; i < official().size(); ++i)
            if (round < official().size() ? i == round : random() % 20 == 0)
                set.rules.push_back(copy(official()[i]));
        EngineOptions options;
        options.match_all = true;
        auto engine = Engine::compile(set, options, world.machine.host, world.machine.tree);
        ASSERT_TRUE(engine.has_value()) << engine.error().message;
        const Kernel kernel((*engine)->capture());
        for (const Event& event : events) {
            const bool passes = kernel.passes(event, event.process->container != nullptr);
            (*engine)->evaluate(event, [&](model::Alert&& alert) {
                matched.insert(alert.rule);
                ASSERT_TRUE(passes)
                    << alert.rule << " lost " << alert.event << " " << event.text[BL_STR_PATH]
                    << " base " << event.text[BL_STR_BASE] << " reached "
                    << event.text[BL_STR_RESOLVED] << " second " << event.text[BL_STR_PATH2]
                    << " result " << event.head.result;
            });
            if (HasFatalFailure()) return;
        }
    }
    EXPECT_GT(matched.size(), 55U);
}

TEST(Capture, DatagramsToNewPeers) {
    World world(1);
    rules::RuleSet set;
    for (const rules::Rule& rule : official())
        if (rule.name == "Contact EC2 Instance Metadata Service From Container" ||
            rule.name == "Interpreted procs outbound network activity")
            set.rules.push_back(copy(rule));
    auto engine = Engine::compile(set, {}, world.machine.host, world.machine.tree);
    ASSERT_TRUE(engine.has_value());
    const Capture& capture = (*engine)->capture();
    EXPECT_EQ(capture.kinds[BL_EVENT_sendto].want,
              std::uint32_t{BL_WANT_ON | BL_WANT_INET | BL_WANT_NOT_TCP | BL_WANT_SUCCESS});
    EXPECT_EQ(capture.kinds[BL_EVENT_recvfrom].want, 0U);
}

// What the kernel holds back of one kind for these conditions.
std::optional<std::set<std::string>> names_wanted(std::initializer_list<const char*> conditions) {
    World world(1);
    std::string text;
    for (const char* condition : conditions)
        text += fmt::format("- rule: r{}\n  desc: d\n  condition: evt.type = setns and {}\n"
                            "  output: o\n  priority: NOTICE\n",
                            text.size(), condition);
    auto loaded = rules::load({{.name = "x", .text = text, .read_error = ""}}, Engine::catalog());
    EXPECT_TRUE(loaded.successful()) << rules::to_text(loaded);
    auto engine = Engine::compile(loaded.set, {}, world.machine.host, world.machine.tree);
    EXPECT_TRUE(engine.has_value());
    const Capture::Kind& kind = (*engine)->capture().kinds[BL_EVENT_setns];
    if ((kind.want & BL_WANT_COMM) == 0) {
        EXPECT_TRUE(kind.comms.empty());
        return std::nullopt;
    }
    return kind.comms;
}

TEST(Capture, NamesOfPrograms) {
    using Names = std::set<std::string>;
    EXPECT_EQ(names_wanted({"proc.name = nsenter"}), Names{"nsenter"});
    EXPECT_EQ(names_wanted({"proc.name in (a, b) and user.uid = 0"}), (Names{"a", "b"}));
    EXPECT_EQ(names_wanted({"proc.name = a", "proc.name = b and not proc.pname = c"}),
              (Names{"a", "b"}));
    EXPECT_EQ(names_wanted({"proc.name in (a, b, c) and proc.name in (b, c)"}), (Names{"b", "c"}));
    EXPECT_EQ(names_wanted({"proc.name = a", "user.uid = 0"}), std::nullopt);
    EXPECT_EQ(names_wanted({"not proc.name = a"}), std::nullopt);
    EXPECT_EQ(names_wanted({"(proc.name = a or user.uid = 0)"}), std::nullopt);
    EXPECT_EQ(names_wanted({"proc.name startswith a"}), std::nullopt);
    EXPECT_EQ(names_wanted({"proc.pname = a"}), std::nullopt);
    EXPECT_EQ(names_wanted({"tolower(proc.name) = a"}), std::nullopt);
}

TEST(Capture, OfTheOfficialRules) {
    World world(1);
    rules::RuleSet set;
    for (const rules::Rule& rule : official())
        if (rule.file != "more.yaml") set.rules.push_back(copy(rule));
    auto engine = Engine::compile(set, {}, world.machine.host, world.machine.tree);
    ASSERT_TRUE(engine.has_value());
    const Capture& capture = (*engine)->capture();
    const auto want = [&](int kind) { return capture.kinds[static_cast<std::size_t>(kind)].want; };
    EXPECT_TRUE(want(BL_EVENT_openat) & BL_WANT_PATH);
    EXPECT_EQ(want(BL_EVENT_close), 0U);
    EXPECT_EQ(want(BL_EVENT_read), 0U);
    EXPECT_EQ(want(BL_EVENT_execve) & (BL_WANT_ON | BL_WANT_ENV | BL_WANT_SUCCESS),
              BL_WANT_ON | BL_WANT_ENV);
    EXPECT_TRUE(want(BL_EVENT_connect) & BL_WANT_INET);
    EXPECT_TRUE(want(BL_EVENT_sendto) & BL_WANT_INET);
    EXPECT_TRUE(want(BL_EVENT_dup2) & BL_WANT_CONTAINER);
    EXPECT_TRUE(want(BL_EVENT_dup2) & BL_WANT_SUCCESS);
    EXPECT_TRUE(want(BL_EVENT_clone) & BL_WANT_ON);
    EXPECT_TRUE(want(BL_EVENT_procexit) & BL_WANT_ON);
    // Only tar and new executables in containers are wanted whatever the path.
    EXPECT_EQ(capture.kinds[BL_EVENT_openat].path_any & (BL_CLASS_READ | BL_CLASS_EXEC), 0U);
    EXPECT_GT(capture.paths.size(), 50U);
}

} // namespace
} // namespace beeline::security
