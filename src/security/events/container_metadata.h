// What the runtimes know of a container, from their files and local sockets. Blocks for up to a second.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "security/events/container_id.h"
#include "security/events/process.h"

namespace beeline::security {

struct MetadataSources {
    // The folders <namespace>/<id>/config.json of containerd's tasks.
    std::vector<std::string> containerd_tasks{"/run/containerd/io.containerd.runtime.v2.task"};
    // Storage of podman and CRI-O: below it overlay-containers, vfs-containers, ...
    std::vector<std::string> storages{"/var/lib/containers/storage", "/run/containers/storage"};
    std::string docker_state = "/var/lib/docker/containers";
    // Servers of Docker's API.
    std::string docker_socket = "/var/run/docker.sock";
    std::string podman_socket = "/run/podman/podman.sock";
    // Asks the runtimes of Kubernetes, and adds what they say: false if none has the container. Blocks; may be empty.
    std::function<bool(const ContainerId&, Container&)> kubernetes;
};

// Whether some runtime has a container of this id: a few look-ups of folders, quick.
bool container_exists(const ContainerId& id, const MetadataSources& sources);

// All that can be found; `complete` is set when the runtime told its name or image.
Container container_metadata(const ContainerId& id, const MetadataSources& sources);

// The parts, for files and answers of any content. They say whether the text was what it should be.
bool read_oci_spec(std::string_view json, Container& container);
bool read_docker_answer(std::string_view json, Container& container);
// containers.json of a storage.
bool read_storage_index(std::string_view json, std::string_view id, Container& container);
// "registry:5000/name:tag@sha256:..." into its parts.
void set_image(Container& container, std::string image);

} // namespace beeline::security
