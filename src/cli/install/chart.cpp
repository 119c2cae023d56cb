#include "cli/install/chart.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "source/yaml.h"

namespace beeline::cli::install {
namespace {

using nlohmann::json;
namespace yaml = source::yaml;

constexpr Template kTexts[] = {
#include "chart.inc"
};
constexpr std::string_view kValues = "values.yaml";
constexpr std::size_t kDeepest = 32; // of values in each other
// Values that people fill as they like; elsewhere a name that is not in values.yaml is a mistake.
constexpr std::string_view kOpen[] = {"config", "resources", "nodeSelector"};

bool is_open(std::string_view name) {
    return std::find(std::begin(kOpen), std::end(kOpen), name) != std::end(kOpen);
}

Result<json> to_json(const yaml::Node& node) {
    if (node.is_null()) return json();
    if (node.is_map()) {
        json out = json::object();
        for (const auto& [key, value] : TRY(node.entries()))
            out[key] = TRY(to_json(value));
        return out;
    }
    if (node.is_integer()) return TRY(node.integer(INT64_MIN, INT64_MAX));
    if (const auto list = node.list()) {
        json out = json::array();
        for (const auto& item : *list)
            out.push_back(TRY(to_json(item)));
        return out;
    }
    if (const auto flag = node.boolean()) return *flag;
    if (auto text = node.string()) return std::move(*text);
    const auto text = node.to_yaml();
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (end == text.c_str()) return node.fail("expected a value");
    return value;
}

std::string dump(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// As it is where no reader takes it for something else.
std::string key_text(const std::string& key) {
    static constexpr std::string_view kWords[] = {"true", "false", "null", "yes", "no",
                                                  "on",   "off",   "y",    "n"};
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const bool plain = !key.empty() && letter(key.front()) &&
                       std::all_of(key.begin(), key.end(),
                                   [&](char c) {
                                       return letter(c) || (c >= '0' && c <= '9') || c == '.' ||
                                              c == '/' || c == '-' || c == '_';
                                   }) &&
                       std::find(std::begin(kWords), std::end(kWords), key) == std::end(kWords);
    return plain ? key : dump(key);
}

// Of toYaml: a scalar that is not a number, a boolean or null is quoted, which every reader takes.
void write_yaml(std::string& out, const json& value, std::size_t margin) {
    const auto member = [&](const json& inner) {
        if (inner.is_structured() && !inner.empty()) {
            out += '\n';
            write_yaml(out, inner, margin + 2);
        } else {
            out += ' ' + dump(inner) + '\n';
        }
    };
    if (value.is_object() && !value.empty()) {
        for (const auto& [key, inner] : value.items()) {
            out += std::string(margin, ' ') + key_text(key) + ':';
            member(inner);
        }
    } else if (value.is_array() && !value.empty()) {
        for (const auto& inner : value) {
            out += std::string(margin, ' ') + '-';
            member(inner);
        }
    } else {
        out += dump(value) + '\n';
    }
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    for (;;) {
        const auto end = text.find(separator);
        out.push_back(trimmed(text.substr(0, end)));
        if (end == std::string_view::npos) return out;
        text.remove_prefix(end + 1);
    }
}

// One {{ ... }}.
class Expression {
public:
    Expression(const Values& values, std::string_view space) : values_(values), space_(space) {}

    Result<std::string> evaluate(std::string_view expression) const {
        const auto steps = split(expression, '|');
        std::string out = TRY(first(steps[0]));
        for (std::size_t i = 1; i < steps.size(); ++i) {
            const auto words = split(steps[i], ' ');
            if (words[0] == "quote" && words.size() == 1) {
                out = dump(out);
            } else if (words[0] == "indent" && words.size() == 2) {
                out = TRY(indented(out, words[1]));
            } else {
                return fail(Code::invalid, "there is no function '{}'", steps[i]);
            }
        }
        return out;
    }

private:
    Result<std::string> first(std::string_view step) const {
        const auto words = split(step, ' ');
        if (words.size() == 1) {
            if (words[0] == ".Release.Namespace") return std::string(space_);
            const json value = TRY(find(words[0]));
            if (value.is_structured() || value.is_null())
                return fail(Code::invalid, "{} must be one word or number", words[0]);
            return value.is_string() ? value.get<std::string>() : dump(value);
        }
        if (words.size() == 2 && words[0] == "toJson") return dump(TRY(find(words[1])));
        if (words.size() == 2 && words[0] == "toYaml") {
            std::string out;
            write_yaml(out, TRY(find(words[1])), 0);
            out.pop_back();
            return out;
        }
        return fail(Code::invalid, "'{}' is not understood", step);
    }

    Result<json> find(std::string_view path) const {
        constexpr std::string_view kPrefix = ".Values.";
        if (!path.starts_with(kPrefix)) return fail(Code::invalid, "'{}' is not understood", path);
        const json* at = &values_.all();
        for (const auto name : split(path.substr(kPrefix.size()), '.')) {
            const auto found = at->is_object() ? at->find(name) : at->end();
            if (!at->is_object() || found == at->end())
                return fail(Code::invalid, "there is no value {}", path);
            at = &*found;
        }
        return *at;
    }

    static Result<std::string> indented(const std::string& text, std::string_view width) {
        unsigned spaces = 0;
        const auto [end, error] =
            std::from_chars(width.data(), width.data() + width.size(), spaces);
        if (error != std::errc{} || end != width.data() + width.size() || spaces > 64)
            return fail(Code::invalid, "indent takes a number");
        const std::string margin(spaces, ' ');
        std::string out = margin;
        for (const char c : text) {
            out += c;
            if (c == '\n') out += margin;
        }
        return out;
    }

    const Values& values_;
    std::string_view space_;
};

bool is_deep(std::string_view text) {
    std::size_t depth = 0;
    for (const char c : text) {
        if (c == '[' || c == '{') ++depth;
        if ((c == ']' || c == '}') && depth > 0) --depth;
        if (depth > kDeepest) return true;
    }
    return false;
}

// Discarded when it is not understood.
json value_of(std::string_view text) {
    if (text.starts_with('[') || text.starts_with('{') || text.starts_with('"'))
        return is_deep(text) ? json(json::value_t::discarded) : json::parse(text, nullptr, false);
    if (text == "true" || text == "false") return text == "true";
    if (text == "null") return {};
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size()) return number;
    return std::string(text);
}

Result<> put_over(json& below, const json& above, const std::string& path, bool open,
                  std::string_view file) {
    if (!below.is_object() || !above.is_object()) {
        below = above;
        return {};
    }
    for (const auto& [key, value] : above.items()) {
        const std::string inner = path.empty() ? key : path + "." + key;
        if (!open && !below.contains(key))
            return fail(Code::invalid, "{}: there is no value '{}' in the chart", file, inner);
        if (value.is_null()) { // as in Helm
            below.erase(key);
            continue;
        }
        TRY(put_over(below[key], value, inner, open || (path.empty() && is_open(key)), file));
    }
    return {};
}

} // namespace

const std::vector<Template>& templates() {
    static const auto list = [] {
        std::vector<Template> out;
        std::copy_if(std::begin(kTexts), std::end(kTexts), std::back_inserter(out),
                     [](const Template& each) { return each.name != kValues; });
        return out;
    }();
    return list;
}

Result<json> read_yaml(std::string_view text, std::string_view file) {
    const auto documents = TRY(yaml::read(text, file));
    if (documents.empty()) return json::object();
    if (documents.size() > 1) return fail(Code::invalid, "{}: expected one document", file);
    return to_json(documents[0].root());
}

Result<Values> Values::defaults() {
    for (const auto& each : kTexts)
        if (each.name == kValues) return Values(TRY(read_yaml(each.text, kValues)));
    return fail(Code::internal, "the chart has no values");
}

Result<> Values::set(std::string_view assignment) {
    const auto equals = assignment.find('=');
    if (equals == std::string_view::npos || equals == 0)
        return fail(Code::invalid, "--set {}: expected NAME=VALUE", assignment);
    if (yaml::invalid_utf8(assignment) != std::string_view::npos)
        return fail(Code::invalid, "--set: the text is no UTF-8");
    json value = value_of(assignment.substr(equals + 1));
    if (value.is_discarded())
        return fail(Code::invalid, "--set {}: the value begins like JSON and is none, or too deep",
                    assignment);
    auto names = split(assignment.substr(0, equals), '.');
    if (names.size() > kDeepest)
        return fail(Code::invalid, "--set {}: too many names in each other", assignment);
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
        if (name->empty()) return fail(Code::invalid, "--set {}: a name is empty", assignment);
        value = json{{std::string(*name), std::move(value)}};
    }
    return merge(value, fmt::format("--set {}", assignment));
}

Result<> Values::merge(const json& other, std::string_view file) {
    if (!other.is_object()) return fail(Code::invalid, "{}: expected a mapping", file);
    json changed = all_;
    TRY(put_over(changed, other, "", false, file));
    all_ = std::move(changed);
    return {};
}

Result<> Values::set_image(std::string_view image) {
    const auto colon = image.rfind(':');
    const auto slash = image.rfind('/');
    const bool tagged =
        colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
    const auto repository = image.substr(0, tagged ? colon : image.size());
    if (repository.empty() || (tagged && colon + 1 == image.size()) ||
        image.find_first_of(" \t\n\"'{}") != std::string_view::npos ||
        yaml::invalid_utf8(image) != std::string_view::npos)
        return fail(Code::invalid, "--image {}: expected REPOSITORY[:TAG]", image);
    all_["image"]["repository"] = repository;
    if (tagged) all_["image"]["tag"] = image.substr(colon + 1);
    return {};
}

Result<std::string> render(const Template& one, const Values& values, std::string_view space) {
    const Expression expression(values, space);
    std::string out;
    std::string_view rest = one.text;
    for (;;) {
        const auto begin = rest.find("{{");
        out += rest.substr(0, begin);
        if (begin == std::string_view::npos) return out;
        const auto end = rest.find("}}", begin);
        if (end == std::string_view::npos)
            return fail(Code::invalid, "{}: '{{{{' without its end", one.name);
        const auto text = expression.evaluate(trimmed(rest.substr(begin + 2, end - begin - 2)));
        if (!text) return Failure(text.error().with(one.name));
        out += *text;
        rest.remove_prefix(end + 2);
    }
}

Result<std::string> render_all(const Values& values, std::string_view space) {
    std::string out;
    for (const auto& each : templates()) {
        if (!out.empty()) out += "---\n";
        out += TRY(render(each, values, space));
    }
    return out;
}

} // namespace beeline::cli::install
