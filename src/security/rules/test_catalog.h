// For tests: a catalog that allows nearly everything, so that only the language is looked at.
#pragma once

#include <string>
#include <string_view>

#include "security/rules/rule_set.h"

namespace beeline::security::rules {

// Unknown: fields and event types with "unknown" in their names. Wrong: values that are "bad"; `%bad` in an output.
class TestCatalog : public Catalog {
public:
    [[nodiscard]] std::string check(const Node& check, std::string_view source) const override {
        if (!knows(check, source)) return "unknown field or event type";
        for (const Value& value : check.values) {
            if (value.text == "bad") return "the value cannot be read";
        }
        return "";
    }
    [[nodiscard]] bool knows(const Node& check, std::string_view) const override {
        if (!known(check.left) || (check.right && !known(*check.right))) return false;
        for (const Value& value : check.values) {
            if (check.left.name == "evt.type" && is_unknown(value.text)) return false;
        }
        return true;
    }
    [[nodiscard]] std::string check_output(std::string_view output,
                                           std::string_view) const override {
        if (output.find("%bad") != std::string_view::npos) return "not a field: bad";
        if (output.find("%unknown") != std::string_view::npos) return "unknown field";
        return "";
    }
    [[nodiscard]] bool has_source(std::string_view source) const override {
        return source == "syscall" || source == "k8s_audit";
    }
    // 200 unless a check of evt.type stands in it.
    [[nodiscard]] std::size_t event_kinds(const Node& condition) const override {
        return to_text(condition).find("evt.type") == std::string::npos ? 200 : 1;
    }

private:
    static bool is_unknown(std::string_view name) {
        return name.find("unknown") != std::string_view::npos || name == "user.log";
    }
    static bool known(const Expression& expression) {
        if (expression.kind == Expression::Kind::field) {
            const std::string_view name = expression.name;
            bool good = false;
            for (const std::string_view start :
                 {"proc.", "fd.", "evt.", "user.", "group.", "container.", "k8s.", "thread.", "ka.",
                  "jevt.", "flow."})
                good = good || name.starts_with(start);
            return good && !is_unknown(name);
        }
        for (const Expression& argument : expression.arguments) {
            if (!known(argument)) return false;
        }
        return true;
    }
};

} // namespace beeline::security::rules
