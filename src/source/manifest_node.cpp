// v1 Node: where a machine is and which addresses its pods have. What else the kubelet reports is not looked at.
#include "source/manifest_parts.h"

namespace beeline::source {
namespace {

Result<> read_ranges(model::ClusterNode& out, const yaml::Node& spec) {
    const auto list = spec.get("podCIDRs");
    const auto add = [&](const yaml::Node& item) -> Result<> {
        const auto range = net::Prefix::parse(TRY(item.string()), false);
        if (!range) return item.failure(range.error().message);
        if (!out.pod_ranges.empty() && out.pod_ranges.front().is_v4() == range->is_v4()) {
            return item.fail("must be of the other family than {}",
                             out.pod_ranges.front().to_string());
        }
        out.pod_ranges.push_back(*range);
        return {};
    };
    if (list) {
        const auto items = TRY(list->list());
        if (items.size() > 2) return list->fail("must not have more than 2 items");
        for (const auto& item : items)
            TRY(add(item));
    }
    const auto single = spec.get("podCIDR");
    if (!single || TRY(single->string()).empty()) return {};
    if (out.pod_ranges.empty()) return add(*single);
    if (single->string() != out.pod_ranges.front().to_string())
        return single->fail("must be the first of podCIDRs, {}",
                            out.pod_ranges.front().to_string());
    return {};
}

Result<> read_state(model::ClusterNode& out, const yaml::Node& status) {
    if (const auto list = status.get("addresses")) {
        for (const auto& item : TRY(list->list())) {
            const auto map = TRY(item.map({"type", "address"}));
            if (TRY(map.string_or("type", "")) != "InternalIP") continue;
            out.addresses.push_back(TRY(read_unicast(TRY(map.need("address")))));
        }
    }
    const auto conditions = status.get("conditions");
    if (!conditions) return {};
    for (const auto& condition : TRY(conditions->list())) {
        const auto type = condition.get("type");
        const auto state = condition.get("status");
        if (!type || !state || TRY(type->string()) != "Ready") continue;
        out.ready = TRY(state->choice({"True", "False", "Unknown"})) == "True";
    }
    return {};
}

} // namespace

Result<model::ClusterNode> read_node(const Reading& in) {
    model::ClusterNode out;
    out.name = in.metadata.name.name;
    out.labels = in.metadata.labels;
    if (const auto spec = in.top.find("spec")) {
        if (!spec->is_map()) return spec->fail("expected a mapping");
        TRY(read_ranges(out, *spec));
    }
    if (const auto status = in.top.find("status")) {
        if (!status->is_map()) return status->fail("expected a mapping");
        TRY(read_state(out, *status));
    }
    return out;
}

} // namespace beeline::source
