#include "cli/install/chart.h"

#include <gtest/gtest.h>

#include "cli/install/cluster.h"

namespace beeline::cli::install {
namespace {

using nlohmann::json;

Values defaults() {
    auto values = Values::defaults();
    EXPECT_TRUE(values) << values.error().message;
    return std::move(*values);
}

std::string rendered(std::string_view text, const Values& values) {
    const auto out = render({"t.yaml", text}, values, "net");
    return out ? *out : "error: " + out.error().message;
}

json object(const Values& values, std::string_view name) {
    for (const auto& each : templates()) {
        if (each.name != name) continue;
        const auto text = render(each, values, "net");
        EXPECT_TRUE(text) << text.error().message;
        auto out = read_yaml(*text, name);
        EXPECT_TRUE(out) << out.error().message;
        return *out;
    }
    ADD_FAILURE() << "no template " << name;
    return {};
}

TEST(Chart, ReplacesWhatItsTemplatesUse) {
    auto values = defaults();
    ASSERT_TRUE(values.merge(json{{"config", {{"list", {1, "a: b"}}, {"yes", true}}}}, "t"));
    EXPECT_EQ(rendered("a {{ .Values.image.tag }}{{.Release.Namespace}} }", values),
              "a 0.1.0net }");
    EXPECT_EQ(rendered("{{ toJson .Values.tolerations }}", values), R"([{"operator":"Exists"}])");
    EXPECT_EQ(rendered("{{ toJson .Values.tolerations | quote }}", values),
              R"("[{\"operator\":\"Exists\"}]")");
    EXPECT_EQ(rendered("{{ toYaml .Values.config.list | indent 2 }}", values),
              "  - 1\n  - \"a: b\"");
    EXPECT_NE(rendered("{{ toYaml .Values.config | indent 0 }}", values).find("\"yes\": true"),
              std::string::npos);
}

TEST(Chart, RefusesWhatItDoesNotKnow) {
    const auto values = defaults();
    for (const auto* text :
         {"{{ .Values.image.tag", "{{ .Values.none }}", "{{ .Values.image }}", "{{ .Chart.Name }}",
          "{{ if .Values.config }}", "{{ .Values.image.tag | upper }}", "{{ .Values.image.tag.x }}",
          "{{ .Values.image.tag | indent 9x }}", "{{}}"})
        EXPECT_TRUE(rendered(text, values).starts_with("error: t.yaml")) << text;
}

TEST(Chart, EveryObjectIsOneOfAKnownKind) {
    const auto values = defaults();
    ASSERT_EQ(templates().size(), 5U);
    for (const auto& each : templates()) {
        const auto found = object_of(object(values, each.name));
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_EQ(found->name, "beeline");
    }
    const auto set = object_of(object(values, "5-daemonset.yaml"));
    ASSERT_TRUE(set);
    EXPECT_EQ(set->path, "/apis/apps/v1/namespaces/net/daemonsets/beeline");
    EXPECT_EQ(set->title(), "DaemonSet net/beeline");
}

TEST(Chart, ValuesReachTheObjects) {
    auto values = defaults();
    ASSERT_TRUE(values.set_image("images.example.org:5000/net/beeline:7"));
    ASSERT_TRUE(values.set("config.network.mode=direct"));
    ASSERT_TRUE(values.set("config.flows.memory=1000"));
    ASSERT_TRUE(values.set("config.web.enabled=false"));
    ASSERT_TRUE(values.set(R"(tolerations=[{"key": "a", "operator": "Exists"}])"));
    ASSERT_TRUE(values.set("maxUnavailable=10%"));
    ASSERT_TRUE(values.set("config.hubble=null"));
    const auto set = object(values, "5-daemonset.yaml");
    const auto& pod = set["spec"]["template"]["spec"];
    for (const auto* list : {"containers", "initContainers"})
        for (const auto& container : pod[list])
            EXPECT_EQ(container["image"], "images.example.org:5000/net/beeline:7");
    EXPECT_EQ(pod["tolerations"], json::parse(R"([{"key": "a", "operator": "Exists"}])"));
    EXPECT_EQ(set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%");
    const std::string text = object(values, "4-configmap.yaml")["data"]["beeline.yaml"];
    const auto config = read_yaml(text, "beeline.yaml");
    ASSERT_TRUE(config) << config.error().message << text;
    EXPECT_EQ((*config)["network"]["mode"], "direct");
    EXPECT_EQ((*config)["flows"]["memory"], 1000);
    EXPECT_EQ((*config)["web"]["enabled"], false);
    EXPECT_EQ((*config)["source"]["kind"], "kubernetes");
    EXPECT_FALSE(config->contains("hubble"));
    // Other configuration is another pod, so that agents are started anew.
    EXPECT_EQ(json::parse(set["spec"]["template"]["metadata"]["annotations"]["beeline.io/config"]
                              .get<std::string>()),
              *config);
}

TEST(Chart, ValuesThatAreNoneAreRefusedAndChangeNothing) {
    auto values = defaults();
    const json before = values.all();
    for (const auto* text : {"", "image", "=1", "image..tag=1", "imaeg.tag=1", "image.tga=1",
                             "tolerations=[", "cni.x.y=1"})
        EXPECT_FALSE(values.set(text)) << text;
    EXPECT_FALSE(values.set("config.x=" + std::string(1000, '[')));
    EXPECT_FALSE(values.set("config" + std::string(1000, '.') + "=1"));
    for (const auto* image : {"", ":1", "a:", "a b", "a{{b"})
        EXPECT_FALSE(values.set_image(image)) << image;
    EXPECT_FALSE(values.merge(json::array(), "t"));
    EXPECT_EQ(values.all(), before);
    ASSERT_TRUE(values.set_image("images.example.org:5000/beeline"));
    EXPECT_EQ(values.all()["image"]["tag"], "0.1.0");
}

} // namespace
} // namespace beeline::cli::install
