#include "source/kubernetes/event.h"

namespace beeline::source {
namespace {

constexpr std::string_view kListEnd = "k8s.io/initial-events-end";

std::string text_at(const yaml::Node& node, std::initializer_list<std::string_view> path) {
    std::optional<yaml::Node> at = node;
    for (const auto key : path) {
        at = at->get(key);
        if (!at) return {};
    }
    auto text = at->string();
    return text ? *text : std::string();
}

Arrival read_arrival(ObjectKind kind, const yaml::Node& object) {
    Arrival out;
    out.name = {text_at(object, {"metadata", "namespace"}), text_at(object, {"metadata", "name"})};
    auto manifest = read_manifest(kind, object);
    if (!manifest) {
        out.problem = manifest.error().message;
    } else if (manifest->name != out.name) {
        out.problem = "the object has no name that can be used";
    } else {
        out.object = std::move(manifest->object);
    }
    return out;
}

} // namespace

Result<WatchEvent> read_event(JsonReader& reader, ObjectKind kind, std::string_view line) {
    const auto document = TRY(reader.read(line, std::string(kind_name(kind))));
    const auto root = document.root();
    const auto object = root.get("object");
    const auto type = text_at(root, {"type"});
    if (!object || !object->is_map() || type.empty())
        return fail(Code::invalid, "{}: this is no event of a watch", kind_name(kind));
    WatchEvent out;
    out.version = text_at(*object, {"metadata", "resourceVersion"});
    if (type == "ADDED" || type == "MODIFIED") {
        out.type = WatchEvent::Type::put;
        out.arrival = read_arrival(kind, *object);
    } else if (type == "DELETED") {
        out.type = WatchEvent::Type::erase;
        out.arrival.name = {text_at(*object, {"metadata", "namespace"}),
                            text_at(*object, {"metadata", "name"})};
    } else if (type == "BOOKMARK") {
        out.type = WatchEvent::Type::bookmark;
        const auto metadata = object->get("metadata");
        const auto notes = metadata ? metadata->get("annotations") : std::nullopt;
        out.list_ends = notes && text_at(*notes, {kListEnd}) == "true";
    } else if (type == "ERROR") {
        const auto code = object->get("code");
        const auto number = code ? code->integer(0, 999) : Result<std::int64_t>(0);
        out.code = number ? static_cast<long>(*number) : 0;
        out.problem = text_at(*object, {"message"});
    } else {
        return fail(Code::invalid, "{}: unknown event '{}'", kind_name(kind), yaml::shown(type));
    }
    return out;
}

Result<ListPage> read_page(JsonReader& reader, ObjectKind kind, std::string_view text) {
    const auto document = TRY(reader.read(text, std::string(kind_name(kind))));
    const auto root = document.root();
    const auto items = root.get("items");
    ListPage out;
    out.version = text_at(root, {"metadata", "resourceVersion"});
    out.next = text_at(root, {"metadata", "continue"});
    if (out.version.empty())
        return fail(Code::invalid, "{}: this is no list of objects", kind_name(kind));
    if (!items) return out; // null when there are none
    for (const auto& item : TRY(items->list())) {
        if (!item.is_map()) return item.fail("expected an object");
        out.items.push_back(read_arrival(kind, item));
    }
    return out;
}

} // namespace beeline::source
