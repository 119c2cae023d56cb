// libs: beeline_cli_install
// Lines of `beeline install --set`, and after an empty line a template. Whatever they are, what the chart's configuration
// says is what is read from its ConfigMap.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/install/chart.h"

using namespace beeline;
using namespace beeline::cli::install;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void check_config(const Values& values) {
    for (const auto& each : templates()) {
        if (each.name != "4-configmap.yaml") continue;
        const auto text = render(each, values, "net");
        if (!text) continue;
        const auto object = read_yaml(*text, each.name);
        if (!object) continue;
        require((*object)["data"]["beeline.yaml"].is_string());
        const auto config =
            read_yaml((*object)["data"]["beeline.yaml"].get<std::string>(), "config");
        // Refused: null and numbers that fit nowhere. Otherwise nothing is lost.
        if (config) require(*config == values.all()["config"]);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    static const auto kDefaults = Values::defaults();
    require(kDefaults.has_value());
    Values values = *kDefaults;
    bool changed = false;
    while (!rest.empty() && !rest.starts_with('\n')) {
        const auto end = rest.find('\n');
        const auto line = rest.substr(0, end);
        changed = values.set(line).has_value() || changed;
        (void)values.set_image(line);
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
    if (changed) check_config(values);
    (void)render({"template", rest}, values, "net");
    return 0;
}
