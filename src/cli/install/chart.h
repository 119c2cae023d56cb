// The Helm chart of deploy/helm, which is inside of this program, and as much of its template language as it uses:
//   {{ .Values.image.tag }}  {{ .Release.Namespace }}  {{ toYaml .Values.config | indent 4 }}  {{ toJson .Values.x | quote }}
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace beeline::cli::install {

struct Template {
    std::string_view name;
    std::string_view text;
};
// In the order in which their objects are made.
const std::vector<Template>& templates();

// One YAML (or JSON) document as JSON.
Result<nlohmann::json> read_yaml(std::string_view text, std::string_view file);

class Values {
public:
    // What the chart's values.yaml says.
    static Result<Values> defaults();

    // "image.tag=1.2", "config.web.enabled=false", "tolerations=[]": a JSON list or object, a whole number, true, false,
    // else a text. null removes the value.
    Result<> set(std::string_view assignment);
    // Puts the fields of `other` over these.
    Result<> merge(const nlohmann::json& other, std::string_view file);
    // "images.example.org/net/beeline:1.2"; without a tag that stays.
    Result<> set_image(std::string_view image);

    [[nodiscard]] const nlohmann::json& all() const { return all_; }

private:
    explicit Values(nlohmann::json all) : all_(std::move(all)) {}
    nlohmann::json all_;
};

// `space`: the release's namespace.
Result<std::string> render(const Template& one, const Values& values, std::string_view space);
// All of them, separated by "---".
Result<std::string> render_all(const Values& values, std::string_view space);

} // namespace beeline::cli::install
