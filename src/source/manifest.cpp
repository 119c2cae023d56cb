#include "source/manifest.h"

#include <algorithm>
#include <array>
#include <map>

#include "source/manifest_parts.h"
#include "source/names.h"

namespace beeline::source {
namespace {

struct KindFacts {
    ObjectKind kind;
    std::string_view name;
    std::string_view api_version;
    std::array<std::string_view, 3> short_names; // in lower case
    Problem name_problem;
    std::vector<std::string_view> fields;
};

const std::vector<KindFacts>& kinds() {
    static const std::vector<std::string_view> usual{"apiVersion", "kind", "metadata", "spec",
                                                     "status"};
    static const std::vector<KindFacts> all{
        {ObjectKind::namespace_, "Namespace", "v1", {"namespaces", "ns"}, dns_label_problem, usual},
        {ObjectKind::node, "Node", "v1", {"nodes", "no"}, dns_subdomain_problem, usual},
        {ObjectKind::pod, "Pod", "v1", {"pods", "po"}, dns_subdomain_problem, usual},
        {ObjectKind::service, "Service", "v1", {"services", "svc"}, dns_1035_label_problem, usual},
        {ObjectKind::endpoint_slice,
         "EndpointSlice",
         "discovery.k8s.io/v1",
         {"endpointslices"},
         dns_subdomain_problem,
         {"apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"}},
        {ObjectKind::network_policy,
         "NetworkPolicy",
         "networking.k8s.io/v1",
         {"networkpolicies", "netpol"},
         dns_subdomain_problem,
         usual},
    };
    return all;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return out;
}

Result<> check_api_version(const yaml::Node& root, std::string_view expected) {
    const auto node = root.get("apiVersion");
    if (!node)
        return root.failure_of("apiVersion",
                               fmt::format("this field is required: expected {}", expected));
    const auto text = TRY(node->string());
    if (text != expected) return node->fail("expected {}, found '{}'", expected, yaml::shown(text));
    return {};
}

Result<> check_annotations(const yaml::Map& map) {
    const auto node = map.find("annotations");
    if (!node) return {};
    constexpr std::size_t kMost = 256U << 10;
    std::size_t size = 0;
    for (const auto& [key, value] : TRY(node->entries())) {
        const auto problem = label_key_problem(lower(key));
        if (!problem.empty())
            return node->failure_of(key, fmt::format("an annotation key {}", problem));
        size += key.size() + TRY(value.string()).size();
    }
    if (size > kMost)
        return node->fail("annotations must not have more than {} bytes, these have {}", kMost,
                          size);
    return {};
}

// Fields that a real cluster fills in: nothing here depends on them, but they must be what the API
// knows.
Result<> check_book_keeping(const yaml::Map& map) {
    for (const auto key :
         {"generateName", "selfLink", "uid", "resourceVersion", "creationTimestamp"}) {
        TRY(map.string_or(key, ""));
    }
    for (const auto key : {"generation", "deletionGracePeriodSeconds"})
        TRY(map.integer_or(key, 0, INT64_MAX, 0));
    TRY(map.strings("finalizers"));
    for (const auto& owner : TRY(map.list("ownerReferences"))) {
        TRY(owner.map({"apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"}));
    }
    for (const auto& entry : TRY(map.list("managedFields"))) {
        TRY(entry.map({"manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1",
                       "subresource"}));
    }
    return {};
}

Result<Metadata> read_metadata(const yaml::Map& top, const KindFacts& kind) {
    const auto map = TRY(
        TRY(top.need("metadata"))
            .map({"name", "namespace", "labels", "annotations", "generateName", "selfLink", "uid",
                  "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
                  "deletionGracePeriodSeconds", "ownerReferences", "finalizers", "managedFields"}));
    Metadata out;
    const auto name = map.find("name");
    if (!name && map.find("generateName")) {
        return map.node().failure_of(
            "generateName", "this setting has no API server to make up a name: set metadata.name");
    }
    if (!name) return map.node().failure_of("name", "this field is required");
    out.name.name = TRY(read_checked(*name, kind.name_problem));
    const auto space = map.find("namespace");
    if (!has_namespace(kind.kind)) {
        if (space) return space->fail("a {} is not in a namespace: remove this field", kind.name);
    } else if (space && !TRY(space->string()).empty()) {
        out.name.space = TRY(read_checked(*space, dns_label_problem));
    } else {
        out.name.space = "default";
    }
    out.labels = TRY(read_labels(map, "labels"));
    out.deleting = !TRY(map.string_or("deletionTimestamp", "")).empty();
    TRY(check_annotations(map));
    TRY(check_book_keeping(map));
    return out;
}

template <typename T>
Result<> store(Manifest& out, Result<T> object) {
    if (!object) return tl::unexpected(std::move(object).error());
    out.object = std::move(*object);
    return {};
}

Result<> read_object(Manifest& out, const Reading& in) {
    switch (out.kind) {
    case ObjectKind::namespace_: return store(out, read_namespace(in));
    case ObjectKind::node: return store(out, read_node(in));
    case ObjectKind::pod: return store(out, read_pod(in));
    case ObjectKind::service: return store(out, read_service(in));
    case ObjectKind::endpoint_slice: return store(out, read_endpoint_slice(in));
    case ObjectKind::network_policy: return store(out, read_network_policy(in));
    }
    return fail(Code::internal, "no reader for this kind");
}

Result<std::string> read_kind(const yaml::Node& root) {
    if (!root.is_map()) return root.fail("expected a mapping with apiVersion, kind and metadata");
    const auto node = root.get("kind");
    if (!node) return root.failure_of("kind", "this field is required");
    return node->string();
}

Result<Manifest> read_body(const KindFacts& facts, const yaml::Node& root) {
    const auto top = TRY(root.map(facts.fields));
    Manifest out;
    out.kind = facts.kind;
    out.line = root.line();
    const Reading in{top, TRY(read_metadata(top, facts)), out.warnings};
    out.name = in.metadata.name;
    TRY(read_object(out, in));
    return out;
}

Failure unknown_kind(const yaml::Node& root, std::string_view kind) {
    std::vector<std::string_view> names;
    for (const auto& facts : kinds())
        names.push_back(facts.name);
    names.emplace_back("List");
    const auto near = yaml::nearest(kind, names);
    if (!near.empty()) {
        return root.failure_of("kind", fmt::format("'{}' is not supported: did you mean '{}'?",
                                                   yaml::shown(kind), near));
    }
    return root.failure_of("kind",
                           fmt::format("'{}' is not supported: expected Namespace, Node, Pod, "
                                       "Service, EndpointSlice, NetworkPolicy or List",
                                       yaml::shown(kind)));
}

Result<std::vector<yaml::Node>> list_items(const yaml::Node& root) {
    TRY(check_api_version(root, "v1"));
    const auto map = TRY(root.map({"apiVersion", "kind", "metadata", "items"}));
    TRY(map.map("metadata", {"resourceVersion", "selfLink", "continue", "remainingItemCount"}));
    return map.list("items");
}

} // namespace

std::string_view kind_name(ObjectKind kind) {
    for (const auto& facts : kinds()) {
        if (facts.kind == kind) return facts.name;
    }
    return "";
}

std::string_view kind_plural(ObjectKind kind) {
    for (const auto& facts : kinds()) {
        if (facts.kind == kind) return facts.short_names.front();
    }
    return "";
}

std::optional<ObjectKind> parse_kind(std::string_view text) {
    const auto wanted = lower(text);
    if (wanted.empty()) return std::nullopt;
    for (const auto& facts : kinds()) {
        const auto& names = facts.short_names;
        if (wanted == lower(facts.name) ||
            std::find(names.begin(), names.end(), wanted) != names.end()) {
            return facts.kind;
        }
    }
    return std::nullopt;
}

std::string Manifest::title() const {
    return fmt::format("{} {}", kind_name(kind), name.to_string());
}

Result<Manifest> read_manifest(const yaml::Node& root) {
    const auto kind = TRY(read_kind(root));
    const auto facts = std::find_if(kinds().begin(), kinds().end(),
                                    [&](const KindFacts& each) { return each.name == kind; });
    if (facts == kinds().end()) return unknown_kind(root, kind);
    TRY(check_api_version(root, facts->api_version));
    return read_body(*facts, root);
}

Result<Manifest> read_manifest(ObjectKind kind, const yaml::Node& root) {
    const auto facts = std::find_if(kinds().begin(), kinds().end(),
                                    [&](const KindFacts& each) { return each.kind == kind; });
    return read_body(*facts, root);
}

Result<std::vector<Manifest>> read_manifests(std::string_view text, std::string_view file,
                                             const yaml::Limits& limits) {
    std::vector<Manifest> out;
    std::map<std::pair<ObjectKind, model::ObjectName>, unsigned> lines;
    const auto add = [&](const yaml::Node& root, std::string yaml_text) -> Result<> {
        Manifest manifest = TRY(read_manifest(root));
        manifest.yaml = std::move(yaml_text);
        const auto [first, added] =
            lines.emplace(std::pair(manifest.kind, manifest.name), manifest.line);
        if (!added) return root.fail("{} is already on line {}", manifest.title(), first->second);
        out.push_back(std::move(manifest));
        return {};
    };
    const auto documents = TRY(yaml::read(text, file, limits));
    for (const auto& document : documents) {
        const auto root = document.root();
        if (TRY(read_kind(root)) == "List") {
            for (const auto& item : TRY(list_items(root))) {
                if (TRY(read_kind(item)) == "List")
                    return item.fail("a List in a List is not accepted");
                TRY(add(item, item.to_yaml()));
            }
        } else {
            TRY(add(root, document.text()));
        }
    }
    return out;
}

Result<std::string> read_checked(const yaml::Node& node, Problem problem) {
    auto text = TRY(node.string());
    const auto wrong = problem(text);
    if (!wrong.empty()) return node.fail("'{}' {}", yaml::shown(text), wrong);
    return text;
}

Result<model::Labels> read_labels(const yaml::Map& map, std::string_view key) {
    model::Labels labels;
    const auto node = map.find(key);
    if (!node) return labels;
    for (const auto& [label, value] : TRY(node->entries())) {
        const auto problem = label_key_problem(label);
        if (!problem.empty())
            return node->failure_of(label, fmt::format("a label key {}", problem));
        labels.emplace(label, TRY(read_checked(value, label_value_problem)));
    }
    return labels;
}

namespace {

Result<model::Requirement> read_requirement(const yaml::Node& node) {
    using Operator = model::Requirement::Operator;
    static constexpr std::pair<std::string_view, Operator> kOperators[] = {
        {"In", Operator::in},
        {"NotIn", Operator::not_in},
        {"Exists", Operator::exists},
        {"DoesNotExist", Operator::does_not_exist}};
    const auto map = TRY(node.map({"key", "operator", "values"}));
    model::Requirement out;
    out.key = TRY(read_checked(TRY(map.need("key")), label_key_problem));
    const auto word =
        TRY(TRY(map.need("operator")).choice({"In", "NotIn", "Exists", "DoesNotExist"}));
    for (const auto& [name, op] : kOperators) {
        if (name == word) out.op = op;
    }
    for (const auto& value : TRY(map.list("values"))) {
        out.values.push_back(TRY(read_checked(value, label_value_problem)));
    }
    const bool takes_values = out.op == Operator::in || out.op == Operator::not_in;
    if (takes_values && out.values.empty()) {
        return node.failure_of("values", fmt::format("operator {} needs at least one value", word));
    }
    if (!takes_values && !out.values.empty()) {
        return node.failure_of("values", fmt::format("operator {} takes no values", word));
    }
    return out;
}

} // namespace

Result<model::LabelSelector> read_selector(const yaml::Node& node) {
    const auto map = TRY(node.map({"matchLabels", "matchExpressions"}));
    model::LabelSelector out;
    for (auto& [key, value] : TRY(read_labels(map, "matchLabels"))) {
        out.requirements.push_back({key, model::Requirement::Operator::in, {value}});
    }
    for (const auto& item : TRY(map.list("matchExpressions"))) {
        out.requirements.push_back(TRY(read_requirement(item)));
    }
    return out;
}

Result<model::Protocol> read_protocol(const yaml::Map& map) {
    const auto word = TRY(map.choice_or("protocol", {"TCP", "UDP", "SCTP"}, "TCP"));
    if (word == "UDP") return model::Protocol::udp;
    if (word == "SCTP") return model::Protocol::sctp;
    return model::Protocol::tcp;
}

Result<std::uint16_t> read_port(const yaml::Map& map, std::string_view key) {
    return static_cast<std::uint16_t>(TRY(map.integer(key, 1, 65535)));
}

Result<PortOrName> read_port_or_name(const yaml::Map& map, std::string_view key) {
    PortOrName out;
    const auto node = map.find(key);
    if (!node) return out;
    if (node->is_integer()) {
        out.port = TRY(read_port(map, key));
        return out;
    }
    const auto text = node->string();
    if (!text) return node->fail("expected a port number or name, found {}", node->what());
    if (text->find_first_not_of("0123456789") == std::string::npos) {
        return node->fail("expected a port number or name, found {}: remove the quotes",
                          node->what());
    }
    out.name = TRY(read_checked(*node, port_name_problem));
    return out;
}

Result<net::Ip> read_unicast(const yaml::Node& node) {
    const auto text = TRY(node.string());
    const auto ip = net::Ip::parse(text);
    if (!ip) return node.fail("expected an IP address, found '{}'", yaml::shown(text));
    const auto& bytes = ip->bytes;
    std::string_view special;
    if (ip->is_v4()) {
        const auto four = ip->v4_host_order();
        if (four == 0) special = "the unspecified address";
        if (four >> 24 == 127) special = "a loopback address";
        if (four >> 16 == 0xa9fe) special = "a link-local address";
        if (four >> 28 == 0xe) special = "a multicast address";
        if (four == 0xffffffff) special = "the broadcast address";
    } else {
        if (ip->is_zero()) special = "the unspecified address";
        if (*ip == net::Ip{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}})
            special = "a loopback address";
        if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) special = "a link-local address";
        if (bytes[0] == 0xff) special = "a multicast address";
    }
    if (!special.empty()) return node.fail("{} must not be {}", ip->to_string(), special);
    return *ip;
}

} // namespace beeline::source
