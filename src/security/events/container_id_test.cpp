#include "security/events/container_id.h"

#include <gtest/gtest.h>

namespace beeline::security {
namespace {

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kOther(64, 'e');

struct Row {
    std::string path;
    std::string runtime; // empty: the host
    std::string id = kId;
    bool unsure = false;
};

TEST(ContainerId, FollowsTheLayoutsOfTheRuntimes) {
    const Row rows[] = {
        {"/", ""},
        {"", ""},
        {"/init.scope", ""},
        {"/system.slice/sshd.service", ""},
        {"/user.slice/user-0.slice/session-1.scope", ""},
        {"/docker/" + kId, "docker"},
        {"/system.slice/docker-" + kId + ".scope", "docker"},
        {"/system.slice/docker-" + kId, ""}, // not what docker makes
        {"/docker/" + kId + "/docker/" + kOther, "docker", kOther},
        {"/kubepods/burstable/pod1234/" + kId, "containerd"},
        {"/kubelet/kubepods/besteffort/pod1234/" + kId, "containerd"}, // --cgroup-root
        {"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + kId + ".scope", "containerd"},
        {"/kubepods.slice/kubepods-pod1.slice/crio-" + kId + ".scope", "cri-o"},
        {"/kubepods.slice/kubepods-pod1.slice/crio-" + kId, "cri-o"},
        {"/kubepods.slice/kubepods-pod1.slice/crio-conmon-" + kId + ".scope", ""},
        {"/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:" + kId,
         "containerd"},
        {"/system.slice/nerdctl-" + kId + ".scope", "containerd"},
        {"/machine.slice/libpod-" + kId + ".scope", "podman"},
        {"/machine.slice/libpod-" + kId + ".scope/container", "podman"},
        {"/libpod_parent/libpod-" + kId, "podman"},
        {"/libpod_parent/conmon", "containerd", "conmon", true}, // no such container: asked for
        {"/machine.slice/libpod-conmon-" + kId + ".scope", ""},
        {"/user.slice/a.service/libpod-payload-" + kId, "podman"},
        {"/lxc/web", "lxc", "web"},
        {"/lxc.payload/web", "lxc", "web"},
        {"/lxc.payload.web", "lxc", "web"},
        {"/lxc.payload.web/system.slice/x.service", "lxc", "web"},
        {"/lxc.monitor.web", ""},
        {"/default/redis", "containerd", "redis", true},
        {"/default/redis/sub", "containerd", "redis", true},
        {"/system.slice/redis", ""},
        {"/default/../x", ""},
        {"/own-parent/" + kId, "docker", kId, true},
        // Services that name a cgroup after a random number are no containers.
        {"/process_api/9afa336b557d63337bc0f64ab0749504", "containerd",
         "9afa336b557d63337bc0f64ab0749504", true},
        {"/docker/" + kId.substr(1), "containerd", kId.substr(1), true},
        {"/system.slice/docker-" + kId.substr(1) + "g.scope", ""},
        {"/" + kId, ""},
        // Cgroups that a process of the container made below its own.
        {"/system.slice/docker-" + kId + ".scope/init.scope", "docker"},
        {"/system.slice/docker-" + kId + ".scope/a/b", "docker"},
        {"/docker/" + kId + "/x/" + kOther, "docker"},
    };
    for (const auto& row : rows) {
        const auto found = container_of_cgroup(row.path);
        ASSERT_EQ(found.has_value(), !row.runtime.empty()) << row.path;
        if (!found) continue;
        EXPECT_EQ(found->runtime, row.runtime) << row.path;
        EXPECT_EQ(found->id, row.id) << row.path;
        EXPECT_EQ(found->unsure, row.unsure) << row.path;
    }
    EXPECT_EQ(container_of_cgroup("/default/redis")->runtime_namespace, "default");
}

TEST(ContainerId, IsShortForUsers) {
    EXPECT_EQ(short_container_id(kId), "0123456789ab");
    EXPECT_EQ(short_container_id("a-long-name-of-lxc"), "a-long-name-of-lxc");
}

} // namespace
} // namespace beeline::security
