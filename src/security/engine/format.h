// Output templates: text with %field, %field[arg], %transformer(field), %10field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/alert.h"
#include "security/engine/check.h"

namespace beeline::security::engine {

class Template {
public:
    static Result<Template> parse(std::string_view text);
    // Appends to `out`; absent values as <NA>.
    void format(Scene& scene, std::string& out) const;
    // Every plain field with its value, in order of their texts.
    void values(Scene& scene, std::vector<std::pair<std::string, model::Alert::Value>>& out) const;
    [[nodiscard]] std::size_t field_count() const { return fields_.size(); }
    [[nodiscard]] unsigned flags() const;

private:
    struct Part {
        std::string text; // literal, when there is no term
        bool has_term = false;
        Term term;
        std::size_t width = 0;
    };
    std::vector<Part> parts_;
    std::vector<std::uint32_t> fields_; // parts that are plain fields, by name, each once
};

model::Alert::Value term_value(const Term& term, Scene& scene);
void format_term(const Term& term, Scene& scene, std::string& out);

} // namespace beeline::security::engine
