// The only place that sees simdjson.
#include "source/json.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

#include "source/yaml_tree.h"

namespace beeline::source {
namespace {

namespace dom = simdjson::dom;
using yaml::Tree;
using yaml::Value;

// Lists and mappings with these names are not read by anybody; a label may be called so, but is a string.
constexpr std::array<std::string_view, 24> kUnread{
    "managedFields",
    "ownerReferences",
    "volumes",
    "volumeMounts",
    "volumeDevices",
    "env",
    "envFrom",
    "command",
    "args",
    "resources",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "securityContext",
    "affinity",
    "tolerations",
    "containerStatuses",
    "topologySpreadConstraints",
    "initContainerStatuses",
    "images",
    "nodeInfo",
    "volumesAttached",
    "ephemeralContainerStatuses",
};

bool is_unread(std::string_view key) {
    return std::find(kUnread.begin(), kUnread.end(), key) != kUnread.end();
}

class Builder {
public:
    Builder(Tree& tree, const JsonReader::Limits& limits) : tree_(tree), limits_(limits) {}

    Result<> add(const dom::element& element, std::uint32_t parent, std::uint32_t position) {
        if (tree_.values.size() >= limits_.values)
            return fail(Code::invalid, "more than {} values", limits_.values);
        const auto index = push(parent, position);
        switch (element.type()) {
        case dom::element_type::ARRAY: return add_list(dom::array(element), index);
        case dom::element_type::OBJECT: return add_map(dom::object(element), index);
        case dom::element_type::NULL_VALUE: return {};
        default: set_scalar(element, index); return {};
        }
    }

private:
    std::uint32_t push(std::uint32_t parent, std::uint32_t position) {
        const auto index = static_cast<std::uint32_t>(tree_.values.size());
        Value& value = tree_.values.emplace_back();
        value.line = 0;
        value.column = 0;
        value.parent = parent;
        value.position = position;
        return index;
    }

    Result<> add_list(const dom::array& items, std::uint32_t index) {
        tree_.values[index].kind = Value::Kind::list;
        std::vector<std::uint32_t> children;
        for (const auto& item : items) {
            children.push_back(static_cast<std::uint32_t>(tree_.values.size()));
            TRY(add(item, index, static_cast<std::uint32_t>(children.size() - 1)));
        }
        tree_.values[index].children = std::move(children);
        return {};
    }

    Result<> add_map(const dom::object& fields, std::uint32_t index) {
        tree_.values[index].kind = Value::Kind::map;
        std::vector<std::uint32_t> children;
        for (const auto& [key, value] : fields) {
            const bool structured = value.is_array() || value.is_object();
            if (structured && is_unread(key)) continue;
            const auto position = static_cast<std::uint32_t>(children.size());
            children.push_back(push(index, position));
            auto& name = tree_.values.back();
            name.kind = Value::Kind::scalar;
            name.quoted = true;
            name.text = key;
            children.push_back(static_cast<std::uint32_t>(tree_.values.size()));
            TRY(add(value, index, position + 1));
        }
        tree_.values[index].children = std::move(children);
        return {};
    }

    void set_scalar(const dom::element& element, std::uint32_t index) {
        Value& value = tree_.values[index];
        value.kind = Value::Kind::scalar;
        if (element.is_string()) {
            value.quoted = true;
            value.text = std::string_view(element);
        } else {
            value.text = simdjson::minify(element);
        }
    }

    Tree& tree_;
    const JsonReader::Limits& limits_;
};

} // namespace

struct JsonReader::State {
    Limits limits;
    dom::parser parser;
};

JsonReader::JsonReader() : JsonReader(Limits()) {}
JsonReader::JsonReader(Limits limits) : state_(std::make_unique<State>()) {
    state_->limits = limits;
}
JsonReader::~JsonReader() = default;
JsonReader::JsonReader(JsonReader&&) noexcept = default;
JsonReader& JsonReader::operator=(JsonReader&&) noexcept = default;

Result<yaml::Document> JsonReader::read(std::string_view text, std::string title) {
    const auto& limits = state_->limits;
    if (text.size() > limits.bytes) {
        return fail(Code::invalid, "{}: {} bytes are more than the {} that are accepted", title,
                    text.size(), limits.bytes);
    }
    auto& parser = state_->parser;
    if (parser.max_depth() != limits.depth || parser.capacity() < text.size()) {
        if (parser.allocate(std::max<std::size_t>(text.size(), 64U << 10), limits.depth))
            return fail(Code::exhausted, "{}: no memory for {} bytes", title, text.size());
    }
    dom::element root;
    if (const auto error = parser.parse(text.data(), text.size()).get(root)) {
        return fail(Code::invalid, "{}: not valid JSON: {}", title, simdjson::error_message(error));
    }
    auto tree = std::make_unique<Tree>();
    tree->file = std::move(title);
    tree->lenient = true;
    if (const auto done = Builder(*tree, limits).add(root, 0, 0); !done)
        return Failure(done.error().with(tree->file));
    return yaml::Document(std::move(tree), {});
}

} // namespace beeline::source
