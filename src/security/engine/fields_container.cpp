// container.*, k8s.*, beeline.workload
#include "security/engine/fields.h"
#include "security/engine/match.h"

namespace beeline::security::engine {
namespace {

using FromContainer = bool (*)(Scene&, const Container&, const Field&, Value&);

template <FromContainer get>
bool of_container(Scene& scene, const Field& field, Cursor&, Value& out) {
    if (scene.process == nullptr || !scene.process->container) return false;
    return get(scene, *scene.process->container, field, out);
}

// Known once the runtime has told.
template <std::string Container::* member>
bool text_of(Scene&, const Container& c, const Field&, Value& v) {
    v.text = c.*member;
    return !v.text.empty();
}

bool id(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr) return false;
    v.text = s.process->container ? std::string_view(s.process->container->id) : "host";
    return true;
}
bool full_id(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr) return false;
    v.text = s.process->container ? std::string_view(s.process->container->full_id) : "host";
    return !v.text.empty();
}
bool name(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr) return false;
    v.text = s.process->container ? std::string_view(s.process->container->name) : "host";
    return !v.text.empty();
}
bool type(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr) return false;
    v.text = s.process->container ? std::string_view(s.process->container->runtime) : "host";
    return !v.text.empty();
}
bool privileged(Scene&, const Container& c, const Field&, Value& v) {
    v.number = c.privileged ? 1 : 0;
    return c.complete;
}

void add_mount(Writer& out, const Container::Mount& mount) {
    out.add(mount.source);
    out.add(':');
    out.add(mount.destination);
    out.add(':');
    out.add(mount.mode);
    out.add(mount.writable ? ":true:" : ":false:");
    out.add(mount.propagation);
}
bool mounts(Scene& s, const Container& c, const Field&, Value& v) {
    if (!c.complete) return false;
    Writer out(s.arena);
    for (const Container::Mount& mount : c.mounts) {
        if (!out.empty()) out.add(',');
        add_mount(out, mount);
    }
    v.text = out.finish();
    return true;
}

// By number, or by a glob over one side.
const Container::Mount* find_mount(const Container& c, const Field& f, bool by_destination) {
    if (f.has_index) return f.index < c.mounts.size() ? &c.mounts[f.index] : nullptr;
    for (const Container::Mount& mount : c.mounts)
        if (glob_match(f.argument, by_destination ? mount.destination : mount.source, false))
            return &mount;
    return nullptr;
}
bool mount_all(Scene& s, const Container& c, const Field& f, Value& v) {
    const auto* mount = find_mount(c, f, false);
    if (mount == nullptr) return false;
    Writer out(s.arena);
    add_mount(out, *mount);
    v.text = out.finish();
    return true;
}
bool mount_source(Scene&, const Container& c, const Field& f, Value& v) {
    const auto* mount = find_mount(c, f, true);
    if (mount != nullptr) v.text = mount->source;
    return mount != nullptr;
}
// Rules ask `not container.mount.dest[x] in ("<NA>", "N/A")`: an absent value would make that true for every container, so
// what is known not to be mounted says N/A.
bool mount_destination(Scene&, const Container& c, const Field& f, Value& v) {
    const auto* mount = find_mount(c, f, false);
    v.text = mount != nullptr ? std::string_view(mount->destination) : "N/A";
    return mount != nullptr || c.complete;
}
bool mount_mode(Scene&, const Container& c, const Field& f, Value& v) {
    const auto* mount = find_mount(c, f, false);
    if (mount != nullptr) v.text = mount->mode;
    return mount != nullptr;
}
bool mount_writable(Scene&, const Container& c, const Field& f, Value& v) {
    const auto* mount = find_mount(c, f, false);
    if (mount != nullptr) v.text = mount->writable ? "true" : "false";
    return mount != nullptr;
}
bool mount_propagation(Scene&, const Container& c, const Field& f, Value& v) {
    const auto* mount = find_mount(c, f, false);
    if (mount != nullptr) v.text = mount->propagation;
    return mount != nullptr;
}
using Labels = std::map<std::string, std::string>;
bool label(const Labels& labels, const Field& f, Value& v) {
    const auto found = labels.find(f.argument);
    if (found == labels.end()) return false;
    v.text = found->second;
    return true;
}
const Labels& labels_of_pod(const Container& c) {
    return c.pod_labels.empty() ? c.labels : c.pod_labels;
}
bool container_label(Scene&, const Container& c, const Field& f, Value& v) {
    return label(c.labels, f, v);
}
bool pod_label(Scene&, const Container& c, const Field& f, Value& v) {
    return label(labels_of_pod(c), f, v);
}
bool all_labels(Scene& s, const Labels& labels, Value& v) {
    if (labels.empty()) return false;
    Writer out(s.arena);
    for (const auto& [key, value] : labels) {
        if (!out.empty()) out.add(", ");
        out.add(key);
        out.add(':');
        out.add(value);
    }
    v.text = out.finish();
    return true;
}
bool container_labels(Scene& s, const Container& c, const Field&, Value& v) {
    return all_labels(s, c.labels, v);
}
bool pod_labels(Scene& s, const Container& c, const Field&, Value& v) {
    return all_labels(s, labels_of_pod(c), v);
}
bool address(Scene&, const Container& c, const Field&, Value& v) {
    if (c.addresses.empty()) return false;
    v.text = c.addresses.front();
    return true;
}
bool pod_address(Scene& s, const Container& c, const Field& f, Value& v) {
    return !c.pod_name.empty() && address(s, c, f, v);
}
bool started(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr || !s.process->container || s.process->pidns_start_ns == 0)
        return false;
    v.number = static_cast<std::uint64_t>(s.host->boot_time_ns) + s.process->pidns_start_ns;
    return true;
}
bool age(Scene& s, const Field& f, Cursor& cursor, Value& v) {
    if (!started(s, f, cursor, v)) return false;
    const auto now = static_cast<std::uint64_t>(s.event->time_ns);
    v.number = now > v.number ? now - v.number : 0;
    return true;
}
bool workload(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr || s.process->workload.empty()) return false;
    v.text = s.process->workload;
    return true;
}
bool workload_part(Scene& s, Value& v, bool space) {
    if (s.process == nullptr || s.process->workload.empty()) return false;
    const std::string_view all = s.process->workload;
    const std::size_t slash = all.find('/');
    if (space) {
        v.text = slash == std::string_view::npos ? std::string_view() : all.substr(0, slash);
        return !v.text.empty();
    }
    v.text = slash == std::string_view::npos ? all : all.substr(slash + 1);
    return true;
}
bool workload_name(Scene& s, const Field&, Cursor&, Value& v) { return workload_part(s, v, false); }
bool workload_space(Scene& s, const Field&, Cursor&, Value& v) { return workload_part(s, v, true); }

bool absent(Scene&, const Field&, Cursor&, Value&) { return false; }
bool never(std::uint16_t, std::string_view) { return false; }

#define BL_ROW(field, takes, flags, get, says)                                                     \
    {field,   Type::text, Many::one, Takes::takes, (flags) | kNotHost, of_container<get>,          \
     nullptr, says}
#define BL_GONE(field)                                                                             \
    {field,       Type::text, Many::one, Takes::optional_key,                                      \
     kDeprecated, absent,     never,     "no longer told by anything: always absent"}

constexpr FieldRow kFields[] = {
    {"container.id", Type::text, Many::one, Takes::nothing, kSuggested, id, nullptr,
     "first 12 characters of its id; host outside of containers"},
    {"container.full_id", Type::text, Many::one, Takes::nothing, 0, full_id, nullptr,
     "the whole id; host outside of containers"},
    {"container.name", Type::text, Many::one, Takes::nothing, kSuggested, name, nullptr,
     "name of the container; host outside of containers"},
    BL_ROW("container.image", nothing, 0, text_of<&Container::image>, "image as it was given"),
    BL_ROW("container.image.id", nothing, 0, text_of<&Container::image_id>, "id of the image"),
    {"container.type", Type::text, Many::one, Takes::nothing, 0, type, nullptr,
     "its runtime: docker, containerd, cri-o, podman, lxc, beeline; host outside of containers"},
    {"container.privileged", Type::boolean, Many::one, Takes::nothing, kNotHost,
     of_container<privileged>, nullptr, "runs privileged"},
    BL_ROW("container.mounts", nothing, 0, mounts,
           "mounts as source:destination:mode:writable:propagation, joined by commas"),
    BL_ROW("container.mount", required_key, 0, mount_all,
           "one mount, by number or by a glob over sources"),
    BL_ROW("container.mount.source", required_key, 0, mount_source,
           "source of the mount with this number or destination"),
    BL_ROW("container.mount.dest", required_key, 0, mount_destination,
           "destination of the mount with this number or source"),
    BL_ROW("container.mount.mode", required_key, 0, mount_mode,
           "mode of the mount with this number or source"),
    BL_ROW("container.mount.rdwr", required_key, 0, mount_writable,
           "whether that mount is writable"),
    BL_ROW("container.mount.propagation", required_key, 0, mount_propagation,
           "propagation of that mount"),
    BL_ROW("container.image.repository", nothing, kSuggested, text_of<&Container::image_repository>,
           "image without tag and digest"),
    BL_ROW("container.image.tag", nothing, kSuggested, text_of<&Container::image_tag>,
           "tag of the image"),
    BL_ROW("container.image.digest", nothing, 0, text_of<&Container::image_digest>,
           "digest of the image"),
    BL_ROW("container.ip", nothing, 0, address, "first address of the container"),
    BL_ROW("container.hostname", nothing, 0, text_of<&Container::host_name>,
           "host name of the container"),
    BL_ROW("container.label", name, 0, container_label, "value of one label of the container"),
    BL_ROW("container.labels", nothing, 0, container_labels, "all labels of the container"),
    {"container.start_ts", Type::time, Many::one, Takes::nothing, kNotHost, started, nullptr,
     "start of its pid namespace, ns since the epoch"},
    {"container.duration", Type::duration, Many::one, Takes::nothing, kNotHost, age, nullptr,
     "ns since that start"},
    BL_GONE("container.healthcheck"),
    BL_GONE("container.liveness_probe"),
    BL_GONE("container.readiness_probe"),
    BL_GONE("container.cni.json"),
    BL_GONE("container.host_pid"),
    BL_GONE("container.host_network"),
    BL_GONE("container.host_ipc"),
    {"container.info", Type::text, Many::one, Takes::nothing, kDeprecated, absent, never,
     "gone: an empty text in outputs"},
    BL_ROW("k8s.pod.name", nothing, kSuggested, text_of<&Container::pod_name>, "name of the pod"),
    BL_ROW("k8s.pod.id", nothing, 0, text_of<&Container::pod_uid>, "uid of the pod"),
    BL_ROW("k8s.pod.uid", nothing, 0, text_of<&Container::pod_uid>, "uid of the pod"),
    BL_ROW("k8s.pod.sandbox_id", nothing, 0, text_of<&Container::pod_sandbox_id>,
           "id of the sandbox of the pod"),
    BL_ROW("k8s.pod.full_sandbox_id", nothing, 0, text_of<&Container::pod_sandbox_id>,
           "id of the sandbox of the pod"),
    BL_ROW("k8s.pod.label", name, 0, pod_label, "value of one label of the pod"),
    BL_ROW("k8s.pod.labels", nothing, 0, pod_labels, "all labels of the pod"),
    BL_ROW("k8s.pod.ip", nothing, 0, pod_address, "address of the pod"),
    BL_GONE("k8s.pod.cni.json"),
    BL_ROW("k8s.ns.name", nothing, kSuggested, text_of<&Container::pod_namespace>,
           "namespace of the pod"),
    BL_GONE("k8s.ns.id"),
    BL_GONE("k8s.ns.label"),
    BL_GONE("k8s.ns.labels"),
    BL_GONE("k8s.rc.name"),
    BL_GONE("k8s.rc.id"),
    BL_GONE("k8s.rc.label"),
    BL_GONE("k8s.rc.labels"),
    BL_GONE("k8s.svc.name"),
    BL_GONE("k8s.svc.id"),
    BL_GONE("k8s.svc.label"),
    BL_GONE("k8s.svc.labels"),
    BL_GONE("k8s.rs.name"),
    BL_GONE("k8s.rs.id"),
    BL_GONE("k8s.rs.label"),
    BL_GONE("k8s.rs.labels"),
    BL_GONE("k8s.deployment.name"),
    BL_GONE("k8s.deployment.id"),
    BL_GONE("k8s.deployment.label"),
    BL_GONE("k8s.deployment.labels"),
    {"beeline.workload", Type::text, Many::one, Takes::nothing, 0, workload, nullptr,
     "workload of the process as namespace/name"},
    {"beeline.workload.name", Type::text, Many::one, Takes::nothing, 0, workload_name, nullptr,
     "its name"},
    {"beeline.workload.namespace", Type::text, Many::one, Takes::nothing, 0, workload_space,
     nullptr, "its namespace"},
};

#undef BL_ROW
#undef BL_GONE

} // namespace

std::span<const FieldRow> container_fields() { return kFields; }

} // namespace beeline::security::engine
