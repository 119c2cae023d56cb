// What the loader of rules asks: is this check, this output good?
#include "security/engine/format.h"
#include "security/engine/program.h"

namespace beeline::security {
namespace {

class FieldCatalog : public rules::Catalog {
public:
    [[nodiscard]] std::string check(const rules::Node& check,
                                    std::string_view source) const override {
        if (!has_source(source)) return fmt::format("unknown source {}", source);
        auto built = engine::build_check(check);
        return built ? std::string() : built.error().message;
    }
    [[nodiscard]] bool knows(const rules::Node& check, std::string_view source) const override {
        if (!has_source(source)) return false;
        auto built = engine::build_check(check);
        return built.has_value() || built.error().code != Code::not_found;
    }
    [[nodiscard]] std::string check_output(std::string_view output,
                                           std::string_view source) const override {
        if (!has_source(source)) return fmt::format("unknown source {}", source);
        auto parsed = engine::Template::parse(output);
        return parsed ? std::string() : parsed.error().message;
    }
    [[nodiscard]] bool has_source(std::string_view source) const override {
        return source == "syscall";
    }
    [[nodiscard]] std::size_t event_kinds(const rules::Node& condition) const override {
        return engine::event_types(condition).count();
    }
};

} // namespace

const rules::Catalog& Engine::catalog() {
    static const FieldCatalog kCatalog;
    return kCatalog;
}

std::vector<FieldInfo> Engine::fields() {
    std::vector<FieldInfo> out;
    for (const engine::FieldRow& row : engine::field_table()) {
        FieldInfo info;
        info.name = std::string(row.name);
        info.type = std::string(engine::type_name(row.type));
        switch (row.takes) {
        case engine::Takes::nothing: break;
        case engine::Takes::optional_index:
        case engine::Takes::optional_key: info.argument = "optional"; break;
        case engine::Takes::required_key:
        case engine::Takes::name: info.argument = "required"; break;
        }
        info.list = row.many == engine::Many::list;
        info.description = std::string(row.description);
        out.push_back(std::move(info));
    }
    return out;
}

} // namespace beeline::security
