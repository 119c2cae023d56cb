#include "security/events/container_metadata.h"

#include <curl/curl.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/file.h"
#include "security/events/json_read.h"

namespace beeline::security {
namespace {

using nlohmann::json;

constexpr std::size_t kMostFile = 4U << 20;
constexpr long kMostWaitMs = 500;

bool is_folder(const std::string& path) {
    struct stat is{};
    return ::stat(path.c_str(), &is) == 0 && S_ISDIR(is.st_mode);
}

std::vector<std::string> folders_of(const std::string& path) {
    std::vector<std::string> out;
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (!folder) return out;
    while (const dirent* entry = ::readdir(folder.get())) {
        if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
    }
    std::sort(out.begin(), out.end());
    return out;
}

// Sets what is empty.
void fill(std::string& field, std::string value) {
    if (field.empty()) field = std::move(value);
}

// The folder of a task of containerd and the namespace that it is in.
struct Task {
    std::string folder;
    std::string runtime_namespace;
};
Task find_task(const ContainerId& id, const MetadataSources& sources) {
    for (const auto& root : sources.containerd_tasks) {
        const auto namespaces = id.runtime_namespace.empty()
                                    ? folders_of(root)
                                    : std::vector<std::string>{id.runtime_namespace};
        for (const auto& name : namespaces) {
            auto folder = root;
            folder.append("/").append(name).append("/").append(id.id);
            if (is_folder(folder)) return {std::move(folder), name};
        }
    }
    return {};
}

// The storage's "overlay-containers" or the like that has the container.
std::vector<std::string> find_stored(const ContainerId& id, const MetadataSources& sources) {
    std::vector<std::string> out;
    for (const auto& root : sources.storages) {
        for (const auto* driver : {"overlay", "vfs", "btrfs", "zfs"}) {
            auto folder = root;
            folder.append("/").append(driver).append("-containers");
            if (is_folder(folder + "/" + id.id)) out.push_back(std::move(folder));
        }
    }
    return out;
}

// Kubernetes' names in the annotations of a spec, as containerd and CRI-O write them.
void read_annotations(const json& spec, Container& container) {
    const auto& notes = member(spec, "annotations");
    if (!notes.is_object()) return;
    const auto manager = text_member(notes, "io.container.manager");
    if (manager == "libpod") container.runtime = "podman";
    if (manager == "cri-o") container.runtime = manager;
    fill(container.name, text_member(notes, "io.kubernetes.cri.container-name"));
    fill(container.pod_namespace, text_member(notes, "io.kubernetes.cri.sandbox-namespace"));
    fill(container.pod_name, text_member(notes, "io.kubernetes.cri.sandbox-name"));
    fill(container.pod_uid, text_member(notes, "io.kubernetes.cri.sandbox-uid"));
    fill(container.pod_sandbox_id, text_member(notes, "io.kubernetes.cri.sandbox-id"));
    auto image = text_member(notes, "io.kubernetes.cri.image-name");

    fill(container.name, text_member(notes, "io.kubernetes.container.name"));
    fill(container.name, text_member(notes, "io.kubernetes.cri-o.Name"));
    fill(container.pod_namespace, text_member(notes, "io.kubernetes.pod.namespace"));
    fill(container.pod_namespace, text_member(notes, "io.kubernetes.cri-o.Namespace"));
    fill(container.pod_name, text_member(notes, "io.kubernetes.pod.name"));
    fill(container.pod_name, text_member(notes, "io.kubernetes.cri-o.KubeName"));
    fill(container.pod_uid, text_member(notes, "io.kubernetes.pod.uid"));
    fill(container.pod_sandbox_id, text_member(notes, "io.kubernetes.cri-o.SandboxID"));
    fill(image, text_member(notes, "io.kubernetes.cri-o.ImageName"));
    fill(container.image_id, text_member(notes, "io.kubernetes.cri-o.ImageRef"));
    fill(container.name, text_member(notes, "nerdctl/name"));
    if (!image.empty() && container.image.empty()) set_image(container, std::move(image));
    const auto address = text_member(notes, "io.kubernetes.cri-o.IP.0");
    if (!address.empty() && container.addresses.empty()) container.addresses.push_back(address);

    // CRI-O keeps the labels as JSON in a text.
    const auto labels = parse_json(text_member(notes, "io.kubernetes.cri-o.Labels"));
    if (!labels.is_object()) return;
    for (const auto& [key, value] : labels.items()) {
        if (value.is_string()) container.labels.emplace(key, value.get_ref<const std::string&>());
    }
}

// A spec has no flag for it: all capabilities, and nothing is hidden or forbidden.
bool is_privileged(const json& spec) {
    const auto bounding =
        texts(member(member(member(spec, "process"), "capabilities"), "bounding"));
    const std::set<std::string> has(bounding.begin(), bounding.end());
    for (const auto* capability : {"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
                                   "CAP_SYS_PTRACE", "CAP_NET_ADMIN", "CAP_MKNOD"}) {
        if (!has.contains(capability)) return false;
    }
    const auto& system = member(spec, "linux");
    const auto& masked = member(system, "maskedPaths");
    return (!masked.is_array() || masked.empty()) && member(system, "seccomp").is_null();
}

// The propagation of a mount is one of its options; Falco's "mode" is the rest.
Container::Mount mount_of(const json& from) {
    Container::Mount out;
    out.source = text_member(from, "source");
    out.destination = text_member(from, "destination");
    out.writable = true;
    for (auto& option : texts(member(from, "options"))) {
        if (option == "ro") out.writable = false;
        if (option.ends_with("private") || option.ends_with("shared") ||
            option.ends_with("slave")) {
            out.propagation = std::move(option);
        } else if (option == "z" || option == "Z") {
            out.mode = std::move(option);
        }
    }
    return out;
}

// Pseudo file systems are no mounts in the users' sense.
bool is_bind(const json& mount) {
    if (text_member(mount, "type") == "bind") return true;
    const auto options = texts(member(mount, "options"));
    return std::find(options.begin(), options.end(), "bind") != options.end() ||
           std::find(options.begin(), options.end(), "rbind") != options.end();
}

std::size_t collect(const char* data, std::size_t size, std::size_t count, void* to) {
    auto& out = *static_cast<std::string*>(to);
    if (out.size() + size * count > kMostFile) return 0; // ends the transfer
    out.append(data, size * count);
    return size * count;
}

// Empty if there is no such server or container.
std::string ask_api(const std::string& socket, const std::string& id) {
    struct stat is{};
    if (socket.empty() || ::stat(socket.c_str(), &is) != 0 || !S_ISSOCK(is.st_mode)) return {};
    const std::unique_ptr<CURL, void (*)(CURL*)> curl(::curl_easy_init(), ::curl_easy_cleanup);
    if (!curl) return {};
    std::string out;
    const std::string url = "http://localhost/containers/" + id + "/json";
    ::curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
    ::curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    ::curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
    ::curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    ::curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, kMostWaitMs);
    ::curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
    ::curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, collect);
    ::curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &out);
    if (::curl_easy_perform(curl.get()) != CURLE_OK) return {};
    return out;
}

} // namespace

void set_image(Container& container, std::string image) {
    std::string_view rest = image;
    if (const auto at = rest.find('@'); at != std::string_view::npos) {
        container.image_digest = rest.substr(at + 1);
        rest = rest.substr(0, at);
    }
    const auto colon = rest.rfind(':');
    const auto slash = rest.rfind('/');
    // A colon before the last slash belongs to a port.
    if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
        container.image_tag = rest.substr(colon + 1);
        rest = rest.substr(0, colon);
    }
    container.image_repository = rest;
    container.image = std::move(image);
}

bool read_oci_spec(std::string_view text, Container& container) {
    const auto spec = parse_json(text);
    if (!spec.is_object()) return false;
    read_annotations(spec, container);
    fill(container.host_name, text_member(spec, "hostname"));
    container.privileged = is_privileged(spec);
    const auto& mounts = member(spec, "mounts");
    if (mounts.is_array() && container.mounts.empty()) {
        for (const auto& mount : mounts) {
            if (is_bind(mount)) container.mounts.push_back(mount_of(mount));
        }
    }
    return true;
}

bool read_docker_answer(std::string_view text, Container& container) {
    const auto answer = parse_json(text);
    if (!answer.is_object() || !member(answer, "Config").is_object()) return false;
    auto name = text_member(answer, "Name");
    if (name.starts_with('/')) name.erase(0, 1);
    if (!name.empty()) container.name = std::move(name);
    const auto& config = member(answer, "Config");
    container.image_id = text_member(answer, "Image");
    if (container.image_id.starts_with("sha256:")) container.image_id.erase(0, 7);
    if (auto image = text_member(config, "Image"); !image.empty())
        set_image(container, std::move(image));
    fill(container.host_name, text_member(config, "Hostname"));
    if (const auto& labels = member(config, "Labels"); labels.is_object()) {
        for (const auto& [key, value] : labels.items()) {
            if (value.is_string())
                container.labels.emplace(key, value.get_ref<const std::string&>());
        }
    }
    const auto label = [&](const char* key) {
        const auto found = container.labels.find(key);
        return found == container.labels.end() ? std::string() : found->second;
    };
    fill(container.pod_namespace, label("io.kubernetes.pod.namespace"));
    fill(container.pod_name, label("io.kubernetes.pod.name"));
    fill(container.pod_uid, label("io.kubernetes.pod.uid"));
    fill(container.pod_sandbox_id, label("io.kubernetes.sandbox.id"));
    container.privileged = bool_member(member(answer, "HostConfig"), "Privileged");
    if (const auto& mounts = member(answer, "Mounts"); mounts.is_array()) {
        container.mounts.clear();
        for (const auto& mount : mounts)
            container.mounts.push_back({.source = text_member(mount, "Source"),
                                        .destination = text_member(mount, "Destination"),
                                        .mode = text_member(mount, "Mode"),
                                        .writable = bool_member(mount, "RW"),
                                        .propagation = text_member(mount, "Propagation")});
    }
    const auto& network = member(answer, "NetworkSettings");
    std::set<std::string> addresses{text_member(network, "IPAddress"),
                                    text_member(network, "GlobalIPv6Address")};
    if (const auto& networks = member(network, "Networks"); networks.is_object()) {
        for (const auto& one : networks) {
            addresses.insert(text_member(one, "IPAddress"));
            addresses.insert(text_member(one, "GlobalIPv6Address"));
        }
    }
    addresses.erase("");
    container.addresses.assign(addresses.begin(), addresses.end());
    return true;
}

bool read_storage_index(std::string_view text, std::string_view id, Container& container) {
    const auto index = parse_json(text);
    if (!index.is_array()) return false;
    for (const auto& entry : index) {
        if (text_member(entry, "id") != id) continue;
        fill(container.image_id, text_member(entry, "image"));
        const auto names = texts(member(entry, "names"));
        const auto metadata = parse_json(text_member(entry, "metadata")); // JSON in a text
        fill(container.name, text_member(metadata, "name"));
        if (!names.empty()) fill(container.name, names.front());
        auto image = text_member(metadata, "image-name");
        if (!image.empty() && container.image.empty()) set_image(container, std::move(image));
        return true;
    }
    return false;
}

bool container_exists(const ContainerId& id, const MetadataSources& sources) {
    return !find_task(id, sources).folder.empty() || !find_stored(id, sources).empty() ||
           is_folder(sources.docker_state + "/" + id.id);
}

Container container_metadata(const ContainerId& id, const MetadataSources& sources) {
    Container out;
    out.full_id = id.id;
    out.id = short_container_id(id.id);
    out.runtime = id.runtime;
    bool spec = false;
    const auto task = find_task(id, sources);
    if (!task.folder.empty()) {
        out.runtime = task.runtime_namespace == "moby" ? "docker" : "containerd";
        const auto file = read_file(task.folder + "/config.json", kMostFile);
        spec = file && read_oci_spec(*file, out);
    }
    for (const auto& folder : find_stored(id, sources)) {
        const auto file = read_file(folder + "/" + id.id + "/userdata/config.json", kMostFile);
        if (file && read_oci_spec(*file, out)) spec = true;
        for (const auto* name : {"/containers.json", "/volatile-containers.json"}) {
            const auto index = read_file(folder + name, kMostFile);
            if (index) read_storage_index(*index, id.id, out);
        }
    }
    if (out.runtime != "docker" && out.runtime != "podman" && sources.kubernetes &&
        sources.kubernetes(id, out))
        return out;
    const auto& socket = out.runtime == "docker"   ? sources.docker_socket
                         : out.runtime == "podman" ? sources.podman_socket
                                                   : std::string();
    const bool answered = read_docker_answer(ask_api(socket, id.id), out);
    // Plain containerd knows no names; of Docker's containers they are worth another try.
    out.complete = answered || !out.image.empty() || (spec && out.runtime == "containerd");
    return out;
}

} // namespace beeline::security
