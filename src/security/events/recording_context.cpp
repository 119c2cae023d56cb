// What a recording says beside its records, to and from JSON.
#include "security/events/json_read.h"
#include "security/events/recording.h"

namespace beeline::security {
namespace {

using nlohmann::json;

json names_json(const std::map<std::uint32_t, std::string>& names) {
    auto out = json::object();
    for (const auto& [number, name] : names)
        out[std::to_string(number)] = name;
    return out;
}

std::map<std::uint32_t, std::string> names_of(const json& object) {
    std::map<std::uint32_t, std::string> out;
    if (!object.is_object()) return out;
    for (const auto& [key, value] : object.items()) {
        const auto number = whole_number<std::uint32_t>(key);
        if (number && value.is_string()) out.emplace(*number, value.get_ref<const std::string&>());
    }
    return out;
}

std::map<std::string, std::string> labels_of(const json& object) {
    std::map<std::string, std::string> out;
    if (!object.is_object()) return out;
    for (const auto& [key, value] : object.items()) {
        if (value.is_string()) out.emplace(key, value.get_ref<const std::string&>());
    }
    return out;
}

json container_json(const Container& container) {
    auto mounts = json::array();
    for (const auto& mount : container.mounts)
        mounts.push_back({{"source", mount.source},
                          {"destination", mount.destination},
                          {"mode", mount.mode},
                          {"writable", mount.writable},
                          {"propagation", mount.propagation}});
    return {{"id", container.id},
            {"full_id", container.full_id},
            {"runtime", container.runtime},
            {"complete", container.complete},
            {"name", container.name},
            {"image", container.image},
            {"image_repository", container.image_repository},
            {"image_tag", container.image_tag},
            {"image_digest", container.image_digest},
            {"image_id", container.image_id},
            {"privileged", container.privileged},
            {"mounts", std::move(mounts)},
            {"labels", container.labels},
            {"pod_labels", container.pod_labels},
            {"pod_namespace", container.pod_namespace},
            {"pod_name", container.pod_name},
            {"pod_uid", container.pod_uid},
            {"pod_sandbox_id", container.pod_sandbox_id},
            {"host_name", container.host_name},
            {"addresses", container.addresses},
            {"users", names_json(container.users)},
            {"groups", names_json(container.groups)}};
}

Container container_of(const json& object) {
    Container out;
    out.id = text_member(object, "id");
    out.full_id = text_member(object, "full_id");
    out.runtime = text_member(object, "runtime");
    out.complete = bool_member(object, "complete");
    out.name = text_member(object, "name");
    out.image = text_member(object, "image");
    out.image_repository = text_member(object, "image_repository");
    out.image_tag = text_member(object, "image_tag");
    out.image_digest = text_member(object, "image_digest");
    out.image_id = text_member(object, "image_id");
    out.privileged = bool_member(object, "privileged");
    if (const auto& mounts = member(object, "mounts"); mounts.is_array()) {
        for (const auto& mount : mounts)
            out.mounts.push_back({.source = text_member(mount, "source"),
                                  .destination = text_member(mount, "destination"),
                                  .mode = text_member(mount, "mode"),
                                  .writable = bool_member(mount, "writable"),
                                  .propagation = text_member(mount, "propagation")});
    }
    out.labels = labels_of(member(object, "labels"));
    out.pod_labels = labels_of(member(object, "pod_labels"));
    out.pod_namespace = text_member(object, "pod_namespace");
    out.pod_name = text_member(object, "pod_name");
    out.pod_uid = text_member(object, "pod_uid");
    out.pod_sandbox_id = text_member(object, "pod_sandbox_id");
    out.host_name = text_member(object, "host_name");
    out.addresses = texts(member(object, "addresses"));
    out.users = names_of(member(object, "users"));
    out.groups = names_of(member(object, "groups"));
    return out;
}

} // namespace

std::string to_json(const RecordingContext& context) {
    auto placements = json::object();
    for (const auto& [cgroup, placement] : context.placements) {
        json one = json::object();
        if (placement.container) one["container"] = container_json(*placement.container);
        if (!placement.workload.empty()) one["workload"] = placement.workload;
        placements[std::to_string(cgroup)] = std::move(one);
    }
    return dump_json({{"hostname", context.hostname},
                      {"boot_time_ns", context.boot_time_ns},
                      {"users", names_json(context.users)},
                      {"groups", names_json(context.groups)},
                      {"addresses", context.addresses},
                      {"placements", std::move(placements)}});
}

Result<RecordingContext> context_from_json(std::string_view text) {
    const auto object = parse_json(text);
    if (!object.is_object()) return fail(Code::invalid, "the context is not a JSON object");
    RecordingContext out;
    out.hostname = text_member(object, "hostname");
    if (const auto& boot = member(object, "boot_time_ns"); boot.is_number_integer())
        out.boot_time_ns = boot.get<std::int64_t>();
    out.users = names_of(member(object, "users"));
    out.groups = names_of(member(object, "groups"));
    out.addresses = texts(member(object, "addresses"));
    const auto& placements = member(object, "placements");
    if (!placements.is_object()) return out;
    for (const auto& [key, value] : placements.items()) {
        const auto cgroup = whole_number<std::uint64_t>(key);
        if (!cgroup) continue;
        Placement placement;
        placement.workload = text_member(value, "workload");
        if (const auto& container = member(value, "container"); container.is_object())
            placement.container = std::make_shared<const Container>(container_of(container));
        out.placements.emplace(*cgroup, std::move(placement));
    }
    return out;
}

} // namespace beeline::security
