#include "security/events/containers.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "security/events/cgroup_path.h"
#include "security/events/host.h"

namespace beeline::security {
namespace {

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

void write(const std::string& path, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
}

std::uint64_t inode(const std::string& path) {
    struct stat is{};
    EXPECT_EQ(::stat(path.c_str(), &is), 0) << path;
    return is.st_ino;
}

class Containers : public ::testing::Test {
protected:
    void SetUp() override {
        root_ = ::testing::TempDir() + "beeline_con_" + std::to_string(::getpid());
        std::filesystem::remove_all(root_);
        std::filesystem::create_directories(root_ + "/cgroup");
        sources_.containerd_tasks = {root_ + "/tasks"};
        sources_.storages = {root_ + "/storage"};
        sources_.docker_state = root_ + "/docker";
        sources_.docker_socket = root_ + "/docker.sock";
        sources_.podman_socket = root_ + "/podman.sock";
    }
    void TearDown() override { std::filesystem::remove_all(root_); }

    std::uint64_t cgroup(const std::string& path) const {
        std::filesystem::create_directories(root_ + "/cgroup" + path);
        return inode(root_ + "/cgroup" + path);
    }
    ContainerResolver::Options options() {
        return {.cgroup_mount = root_ + "/cgroup",
                .proc = root_ + "/proc",
                .sources = sources_,
                .limit = 8192,
                .changed = [this](std::uint64_t cgroup) {
                    const std::lock_guard lock(mutex_);
                    changed_.push_back(cgroup);
                }};
    }
    std::vector<std::uint64_t> changed() {
        const std::lock_guard lock(mutex_);
        return changed_;
    }
    // A process in the cgroup, with a root of its own.
    void process(const std::string& cgroup_path, const std::string& pid) const {
        write(root_ + "/cgroup" + cgroup_path + "/cgroup.procs", pid + "\n99999\n");
        write(root_ + "/rootfs/etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n");
        write(root_ + "/rootfs/etc/group", "root:x:0:\nwww:x:33:web\n");
        std::filesystem::create_directories(root_ + "/proc/" + pid);
        std::filesystem::create_symlink(root_ + "/rootfs", root_ + "/proc/" + pid + "/root");
    }

    std::string root_;
    MetadataSources sources_;
    std::mutex mutex_;
    std::vector<std::uint64_t> changed_;
};

constexpr const char* kSpec = R"({"hostname":"web-1",
  "process":{"capabilities":{"bounding":["CAP_CHOWN"]}},
  "linux":{"maskedPaths":["/proc/kcore"],"seccomp":{}},
  "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
    {"destination":"/data","type":"bind","source":"/srv/data","options":["rbind","rprivate","ro"]},
    {"destination":"/run/x","source":"/run/y","options":["bind","rw","rshared"]}],
  "annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.image-name":"reg.example:5000/team/app:1.2",
    "io.kubernetes.cri.sandbox-id":"sandbox","io.kubernetes.cri.sandbox-name":"app-0",
    "io.kubernetes.cri.sandbox-namespace":"prod","io.kubernetes.cri.sandbox-uid":"u-1"}})";

TEST_F(Containers, FindsAPodOfContainerd) {
    const std::string path = "/kubepods.slice/cri-containerd-" + kId + ".scope";
    const auto id = cgroup(path);
    write(root_ + "/tasks/k8s.io/" + kId + "/config.json", kSpec);
    process(path, "4242");
    ContainerResolver resolver(options());
    const auto first = resolver.placement(id);
    ASSERT_NE(first.container, nullptr); // at once: what the path says
    EXPECT_EQ(first.container->id, kId.substr(0, 12));
    EXPECT_EQ(first.container->full_id, kId);
    EXPECT_EQ(resolver.scope_flags(id), static_cast<std::uint32_t>(BL_SCOPE_CONTAINER));
    resolver.settle();
    EXPECT_EQ(changed(), std::vector{id});
    const auto container = resolver.placement(id).container;
    ASSERT_NE(container, nullptr);
    EXPECT_TRUE(container->complete);
    EXPECT_EQ(container->runtime, "containerd");
    EXPECT_EQ(container->name, "app");
    EXPECT_EQ(container->image, "reg.example:5000/team/app:1.2");
    EXPECT_EQ(container->image_repository, "reg.example:5000/team/app");
    EXPECT_EQ(container->image_tag, "1.2");
    EXPECT_EQ(container->pod_name, "app-0");
    EXPECT_EQ(container->pod_namespace, "prod");
    EXPECT_EQ(container->pod_uid, "u-1");
    EXPECT_EQ(container->pod_sandbox_id, "sandbox");
    EXPECT_EQ(container->host_name, "web-1");
    EXPECT_FALSE(container->privileged);
    ASSERT_EQ(container->mounts.size(), 2U);
    EXPECT_EQ(container->mounts[0].source, "/srv/data");
    EXPECT_EQ(container->mounts[0].propagation, "rprivate");
    EXPECT_FALSE(container->mounts[0].writable);
    EXPECT_TRUE(container->mounts[1].writable);
    EXPECT_EQ(container->users, (std::map<std::uint32_t, std::string>{{0, "root"}, {33, "web"}}));
    EXPECT_EQ(container->groups, (std::map<std::uint32_t, std::string>{{0, "root"}, {33, "www"}}));
    EXPECT_EQ(resolver.placements().at(id).container, container);
}

TEST_F(Containers, FindsOneOfPodman) {
    const std::string path = "/machine.slice/libpod-" + kId + ".scope/container";
    const auto id = cgroup(path);
    process(path, "4243");
    const std::string storage = root_ + "/storage/overlay-containers";
    write(storage + "/" + kId + "/userdata/config.json",
          R"({"hostname":"h","annotations":{"io.container.manager":"libpod"},
              "process":{"capabilities":{"bounding":["CAP_SYS_ADMIN","CAP_SYS_MODULE","CAP_SYS_RAWIO",
              "CAP_SYS_PTRACE","CAP_NET_ADMIN","CAP_MKNOD"]}},"linux":{}})");
    write(
        storage + "/containers.json",
        R"([{"id":"other","names":["no"]},{"id":")" + kId +
            R"(","names":["db"],"image":"5f","metadata":"{\"image-name\":\"docker.io/library/redis:7\",\"name\":\"db\"}"}])");
    ContainerResolver resolver(options());
    ASSERT_NE(resolver.placement(id).container, nullptr);
    resolver.settle();
    const auto container = resolver.placement(id).container;
    EXPECT_EQ(container->runtime, "podman");
    EXPECT_EQ(container->name, "db");
    EXPECT_EQ(container->image_repository, "docker.io/library/redis");
    EXPECT_EQ(container->image_tag, "7");
    EXPECT_EQ(container->image_id, "5f");
    EXPECT_TRUE(container->privileged);
    EXPECT_TRUE(container->complete);
}

TEST_F(Containers, TakesTheHostForTheHost) {
    ContainerResolver resolver(options());
    for (const auto* path : {"/system.slice/a.service",
                             "/process_api/9afa336b557d63337bc0f64ab0749504", "/default/redis"}) {
        const auto id = cgroup(path);
        EXPECT_EQ(resolver.placement(id).container, nullptr) << path;
        EXPECT_EQ(resolver.scope_flags(id), static_cast<std::uint32_t>(BL_SCOPE_HOST)) << path;
    }
    EXPECT_EQ(resolver.scope_flags(inode(root_ + "/cgroup")),
              static_cast<std::uint32_t>(BL_SCOPE_HOST));
    EXPECT_EQ(resolver.scope_flags(~0ULL), 0U); // there is none: not known
    EXPECT_EQ(resolver.scope_flags(0), 0U);
    EXPECT_TRUE(changed().empty());

    // The same kind of name, and containerd has it.
    const auto id = cgroup("/other/redis");
    write(root_ + "/tasks/other/redis/config.json", "{}");
    ASSERT_NE(resolver.placement(id).container, nullptr);
    EXPECT_EQ(resolver.placement(id).container->id, "redis");
}

TEST_F(Containers, KnowsBeelinesOwn) {
    const auto id = cgroup("/beeline/w1");
    const auto below = cgroup("/beeline/w1/inner/docker-" + kId + ".scope");
    const auto beside = cgroup("/beeline/w2");
    ContainerResolver resolver(options());
    EXPECT_EQ(resolver.placement(id).container, nullptr); // asked for before it is known
    const Workload workload{"shop/cart", kId, {{"app", "cart"}}};
    resolver.set_workloads({{id, workload}});
    EXPECT_EQ(changed(), std::vector{id});
    for (const auto cgroup : {id, below}) {
        const auto placement = resolver.placement(cgroup);
        EXPECT_EQ(placement.workload, "shop/cart");
        ASSERT_NE(placement.container, nullptr);
        EXPECT_EQ(placement.container->id, kId.substr(0, 12));
        EXPECT_EQ(placement.container->runtime, "beeline");
        EXPECT_EQ(placement.container->name, "shop/cart");
        EXPECT_EQ(placement.container->pod_namespace, "shop");
        EXPECT_EQ(placement.container->pod_name, "cart");
        EXPECT_EQ(placement.container->labels.at("app"), "cart");
        EXPECT_TRUE(placement.container->complete);
    }
    EXPECT_EQ(resolver.scope_flags(id), static_cast<std::uint32_t>(BL_SCOPE_CONTAINER));
    EXPECT_EQ(resolver.placement(beside).container, nullptr);
    resolver.set_workloads({{id, workload}});
    EXPECT_EQ(changed().size(), 1U); // nothing new
    resolver.set_workloads({});
    EXPECT_EQ(resolver.placement(id).container, nullptr);
    EXPECT_TRUE(resolver.placement(id).workload.empty());
    EXPECT_EQ(resolver.placement(below).container->runtime, "docker");
}

TEST_F(Containers, RemembersNoMoreThanItsLimit) {
    auto limited = options();
    limited.limit = 8;
    ContainerResolver resolver(std::move(limited));
    for (int i = 0; i < 50; ++i)
        resolver.placement(cgroup("/c" + std::to_string(i)));
    EXPECT_EQ(resolver.placements().size(), 8U);
}

// Answers one request after the other like Docker's API.
class Api {
public:
    Api(const std::string& path, std::string answer) : answer_(std::move(answer)) {
        socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(::listen(socket_.get(), 4), 0);
        thread_ = std::thread([this] {
            for (;;) {
                const Fd client(::accept(socket_.get(), nullptr, nullptr));
                if (!client) return;
                char request[4096];
                const auto got = ::read(client.get(), request, sizeof request);
                request_.assign(request, got > 0 ? static_cast<std::size_t>(got) : 0);
                const auto text =
                    "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(answer_.size()) +
                    "\r\n\r\n" + answer_;
                if (::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) return;
            }
        });
    }
    ~Api() { stop(); }
    std::string stop() {
        ::shutdown(socket_.get(), SHUT_RDWR);
        if (thread_.joinable()) thread_.join();
        return request_;
    }

private:
    std::string answer_;
    std::string request_;
    Fd socket_;
    std::thread thread_;
};

TEST_F(Containers, AsksDocker) {
    Api api(sources_.docker_socket,
            R"({"Name":"/web","Image":"sha256:aabb","Config":{"Image":"nginx:1","Hostname":"h1",
               "Labels":{"team":"x","io.kubernetes.pod.name":"p"}},"HostConfig":{"Privileged":true},
               "Mounts":[{"Source":"/a","Destination":"/b","Mode":"z","RW":true,"Propagation":"rslave"}],
               "NetworkSettings":{"IPAddress":"","Networks":{"n":{"IPAddress":"172.17.0.2"}}}})");
    const auto container = container_metadata({kId, "docker", false, {}}, sources_);
    const auto request = api.stop();
    EXPECT_TRUE(request.starts_with("GET /containers/" + kId + "/json ")) << request;
    EXPECT_TRUE(container.complete);
    EXPECT_EQ(container.name, "web");
    EXPECT_EQ(container.image, "nginx:1");
    EXPECT_EQ(container.image_id, "aabb");
    EXPECT_EQ(container.host_name, "h1");
    EXPECT_EQ(container.labels.at("team"), "x");
    EXPECT_EQ(container.pod_name, "p");
    EXPECT_TRUE(container.privileged);
    ASSERT_EQ(container.mounts.size(), 1U);
    EXPECT_EQ(container.mounts[0].propagation, "rslave");
    EXPECT_TRUE(container.mounts[0].writable);
    EXPECT_EQ(container.addresses, std::vector<std::string>{"172.17.0.2"});
}

TEST_F(Containers, DoesNotWaitForASilentServer) {
    const Fd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    sources_.docker_socket.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(server.get(), 4), 0);
    const auto from = std::chrono::steady_clock::now();
    const auto container = container_metadata({kId, "docker", false, {}}, sources_);
    EXPECT_LT(std::chrono::steady_clock::now() - from, std::chrono::seconds(3));
    EXPECT_FALSE(container.complete);
    EXPECT_EQ(container.runtime, "docker");
}

TEST(ContainerMetadata, SplitsImages) {
    const struct {
        const char* image;
        const char* repository;
        const char* tag;
        const char* digest;
    } rows[] = {{"nginx", "nginx", "", ""},
                {"nginx:1", "nginx", "1", ""},
                {"reg:5000/a/b", "reg:5000/a/b", "", ""},
                {"reg:5000/a/b:t", "reg:5000/a/b", "t", ""},
                {"a/b@sha256:00", "a/b", "", "sha256:00"},
                {"reg:5000/a:t@sha256:00", "reg:5000/a", "t", "sha256:00"},
                {"", "", "", ""}};
    for (const auto& row : rows) {
        Container container;
        set_image(container, row.image);
        EXPECT_EQ(container.image, row.image);
        EXPECT_EQ(container.image_repository, row.repository);
        EXPECT_EQ(container.image_tag, row.tag);
        EXPECT_EQ(container.image_digest, row.digest);
    }
}

TEST(ContainerMetadata, ReadsCriO) {
    Container container;
    ASSERT_TRUE(read_oci_spec(
        R"({"annotations":{"io.container.manager":"cri-o","io.kubernetes.cri-o.ImageName":"quay.io/a/b:3",
            "io.kubernetes.container.name":"c","io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"n",
            "io.kubernetes.pod.uid":"u","io.kubernetes.cri-o.SandboxID":"s","io.kubernetes.cri-o.IP.0":"10.0.0.9",
            "io.kubernetes.cri-o.Labels":"{\"k\":\"v\",\"n\":1}"}})",
        container));
    EXPECT_EQ(container.runtime, "cri-o");
    EXPECT_EQ(container.name, "c");
    EXPECT_EQ(container.image_repository, "quay.io/a/b");
    EXPECT_EQ(container.pod_name, "p");
    EXPECT_EQ(container.pod_namespace, "n");
    EXPECT_EQ(container.pod_sandbox_id, "s");
    EXPECT_EQ(container.addresses, std::vector<std::string>{"10.0.0.9"});
    EXPECT_EQ(container.labels, (std::map<std::string, std::string>{{"k", "v"}}));
}

TEST(ContainerMetadata, ReadsAnything) {
    Container container;
    for (const auto* text : {"", "{", "[]", "7", "null", "[1,{\"id\":7}]"}) {
        EXPECT_FALSE(read_oci_spec(text, container)) << text;
        EXPECT_FALSE(read_docker_answer(text, container)) << text;
        EXPECT_FALSE(read_storage_index(text, kId, container)) << text;
    }
    EXPECT_TRUE(read_oci_spec(
        R"({"annotations":[1],"mounts":[1,{"type":7,"options":{"a":1}},{"type":"bind","options":[1]}],"process":1,"linux":[]})",
        container));
    EXPECT_TRUE(read_docker_answer(
        R"({"Name":1,"Config":{"Labels":[1]},"Mounts":{"a":1},"NetworkSettings":{"Networks":[1]},"HostConfig":7})",
        container));
    EXPECT_TRUE(container.name.empty());
}

TEST(HostNames, ReadsFilesOfNames) {
    const auto names = parse_names("root:x:0:0\n# c:x:1\n:x:2\nnone\na:x\nb:x:\nc:x:-1\n"
                                   "d:x:4294967295\ne:x:99999999999\nf:x:5\ng:x:5:g\nh:x:7");
    EXPECT_EQ(names, (std::map<std::uint32_t, std::string>{
                         {0, "root"}, {4294967295U, "d"}, {5, "f"}, {7, "h"}}));
    const auto host = host_facts();
    EXPECT_EQ(host.users.at(0), "root");
    EXPECT_EQ(host.groups.at(0), "root");
    EXPECT_FALSE(host.hostname.empty());
    EXPECT_GT(host.boot_time_ns, 1'000'000'000'000'000'000);
    EXPECT_NE(std::find(host.addresses.begin(), host.addresses.end(), "127.0.0.1"),
              host.addresses.end());
}

TEST(CgroupPaths, AsksTheKernel) {
    std::string mount;
    std::ifstream mounts("/proc/self/mounts");
    for (std::string device, path, type, rest; mounts >> device >> path >> type;) {
        std::getline(mounts, rest);
        if (type == "cgroup2") mount = path;
    }
    const std::string name = "/beeline-test-" + std::to_string(::getpid());
    std::error_code error;
    if (mount.empty() || !std::filesystem::create_directory(mount + name, error))
        GTEST_SKIP() << "no cgroup2 that may be written";
    std::filesystem::create_directory(mount + name + "/a", error);
    const CgroupPaths paths(mount + "/");
    const auto id = inode(mount + name + "/a");
    EXPECT_EQ(paths.path(id), name + "/a");
    EXPECT_EQ(paths.path(inode(mount)), "/");
    EXPECT_EQ(paths.ids(name + "/a"), (std::vector{id, inode(mount + name)}));
    ::rmdir((mount + name + "/a").c_str());
    EXPECT_EQ(paths.path(id), "");
    EXPECT_EQ(paths.path(0), "");
    EXPECT_EQ(paths.path(~0ULL), "");
    ::rmdir((mount + name).c_str());
}

} // namespace
} // namespace beeline::security
