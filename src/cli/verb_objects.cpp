#include <algorithm>
#include <array>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "cli/etcd_objects.h"
#include "cli/json_view.h"
#include "cli/manifest_input.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr int kApplyTimeoutMs = 120'000;
constexpr std::string_view kDefaultNamespace = "default";

struct Flags {
    std::vector<std::string> files;
    std::string kind;
    std::string name;
    std::string space;
    bool dry_run = false;
    EtcdFlags etcd;

    [[nodiscard]] bool in_etcd() const { return !etcd.endpoints.empty(); }
};

bool is_cluster_wide(std::string kind) {
    std::transform(kind.begin(), kind.end(), kind.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    static constexpr std::array<std::string_view, 6> kKinds{"namespace", "namespaces", "ns",
                                                            "node",      "nodes",      "no"};
    return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end();
}

std::string title(const json& object) { return text(object, "kind") + " " + object_name(object); }

Result<ManifestInput> read_input(const std::vector<std::string>& files) {
    ManifestInput input;
    for (const auto& file : files)
        TRY(input.add(file, std::cin));
    return input;
}

Result<json> send(Context& context, const Flags& flags, const ManifestInput& input, bool dry_run) {
    auto answer = flags.in_etcd()
                      ? etcd_apply(flags.etcd, input.text(), dry_run)
                      : TRY(context.client())
                            .call("POST", dry_run ? "/v1/objects?dry_run=1" : "/v1/objects",
                                  input.text(), kApplyTimeoutMs);
    if (answer) return answer;
    Error error = answer.error();
    error.message = input.relocate(error.message);
    return Failure(std::move(error));
}

Result<int> apply(Context& context, const Flags& flags) {
    const auto input = TRY(read_input(flags.files));
    const json answer = TRY(send(context, flags, input, flags.dry_run));
    for (const auto& warning : texts(answer, "warnings"))
        context.err << "warning: " << input.relocate(warning) << '\n';
    for (const auto& object : list(answer, "applied"))
        context.out << title(object) << ' ' << text(object, "action")
                    << (flags.dry_run ? " (dry run)" : "") << '\n';
    return kDone;
}

Result<> remove(Context& context, const Flags& flags, const std::string& kind,
                const std::string& space, const std::string& name) {
    if (flags.in_etcd()) {
        TRY(etcd_remove(flags.etcd, kind, space, name));
    } else {
        TRY(TRY(context.client())
                .call("DELETE",
                      fmt::format("/v1/objects/{}/{}/{}", api::url_encode(kind),
                                  space.empty() ? "-" : api::url_encode(space),
                                  api::url_encode(name)),
                      "", kApplyTimeoutMs));
    }
    context.out << fmt::format("{} {}{}{} deleted\n", kind, space, space.empty() ? "" : "/", name);
    return {};
}

// The agent reads the manifests and says what they define; then each goes on its own, as far as it is there.
Result<int> remove_files(Context& context, const Flags& flags) {
    const auto input = TRY(read_input(flags.files));
    const json answer = TRY(send(context, flags, input, true));
    int code = kDone;
    for (const auto& object : list(answer, "applied")) {
        const auto done = remove(context, flags, text(object, "kind"), text(object, "namespace"),
                                 text(object, "name"));
        if (done) continue;
        context.fail(done.error());
        code = kFailed;
    }
    return code;
}

Result<int> remove(Context& context, const Flags& flags) {
    if (flags.files.empty() == flags.kind.empty() || flags.kind.empty() != flags.name.empty() ||
        (!flags.files.empty() && !flags.space.empty())) {
        context.fail(
            Error{Code::invalid, 0,
                  "give either KIND NAME [-n NAMESPACE] or -f FILE ('beeline delete --help' "
                  "shows how)"},
            kWrongUsage);
        return kWrongUsage;
    }
    if (!flags.files.empty()) return remove_files(context, flags);
    std::string space = flags.space.empty() ? std::string(kDefaultNamespace) : flags.space;
    if (is_cluster_wide(flags.kind)) space.clear();
    TRY(remove(context, flags, flags.kind, space, flags.name));
    return kDone;
}

// Manifests as they were given, so that the output can be applied again.
void print_manifests(Context& context, const json& objects) {
    bool first = true;
    for (const auto& object : objects) {
        std::string yaml = text(object, "yaml");
        if (!yaml.ends_with('\n')) yaml += '\n';
        if (!first) context.out << "---\n";
        context.out << yaml;
        first = false;
    }
}

Result<int> get(Context& context, const Flags& flags) {
    api::Parameters parameters;
    if (flags.kind != "all") parameters.emplace_back("kind", flags.kind);
    if (!flags.space.empty()) parameters.emplace_back("namespace", flags.space);
    if (!flags.name.empty()) parameters.emplace_back("name", flags.name);
    const json answer = flags.in_etcd()
                            ? TRY(etcd_get(flags.etcd, flags.kind == "all" ? "" : flags.kind,
                                           flags.space, flags.name))
                            : TRY(TRY(context.client()).get(api::url("/v1/objects", parameters)));
    const json& objects = list(answer, "objects");
    if (objects.empty() && !flags.name.empty())
        return fail(Code::not_found, "there is no {} {}{}: 'beeline get {}' lists what there is",
                    flags.kind, flags.space.empty() ? "" : flags.space + "/", flags.name,
                    flags.kind);
    if (context.format == Format::yaml) {
        print_manifests(context, objects);
        return kDone;
    }
    print_list(context, objects,
               {column("KIND", "kind"), column("NAMESPACE", "namespace"), column("NAME", "name"),
                column("FILE", "file")},
               "no objects");
    return kDone;
}

void add_etcd(CLI::App* verb, const std::shared_ptr<Flags>& flags) {
    auto& etcd = flags->etcd;
    auto* endpoints = verb->add_option("--etcd", etcd.endpoints,
                                       "Not the agent but this etcd: its URL with http or https "
                                       "and a port; several by commas")
                          ->delimiter(',')
                          ->option_text("URL");
    const auto more = [&](const char* name, std::string& value, const char* text,
                          const char* what) {
        verb->add_option(name, value, text)->needs(endpoints)->option_text(what);
    };
    more("--etcd-prefix", etcd.prefix, "Where the objects are kept in it (default: /beeline)",
         "KEY");
    more("--etcd-ca", etcd.ca_file, "Certificates that its own is checked with", "FILE");
    more("--etcd-cert", etcd.certificate, "Certificate of this client", "FILE");
    more("--etcd-key", etcd.key, "Its key", "FILE");
    more("--etcd-user", etcd.user, "NAME; the password is in $BEELINE_ETCD_PASSWORD", "NAME");
}

} // namespace

void register_object_commands(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* apply_verb = add_verb(app, "apply", "Create or change objects, all of them or none",
                                "beeline apply -f shop.yaml\n"
                                "beeline apply -f manifests/ --dry-run\n"
                                "beeline apply -f shop.yaml --etcd https://10.0.0.1:2379\n"
                                "beeline get networkpolicy -o yaml | beeline apply -f -");
    apply_verb
        ->add_option("-f,--file", flags->files,
                     "A manifest, a folder of manifests, or - for standard input; can be repeated")
        ->required()
        ->allow_extra_args(false)
        ->option_text("FILE");
    add_etcd(apply_verb, flags);
    apply_verb->add_flag("--dry-run", flags->dry_run, "Only check and say what would change");
    on_run(apply_verb, context, [&context, flags] { return apply(context, *flags); });

    auto* delete_verb = add_verb(app, "delete", "Delete objects",
                                 "beeline delete networkpolicy default-deny -n shop\n"
                                 "beeline delete -f shop.yaml");
    delete_verb->add_option("KIND", flags->kind, "Kind of the object, such as networkpolicy");
    delete_verb->add_option("NAME", flags->name, "Its name");
    delete_verb->add_option("-n,--namespace", flags->space, "Its namespace (default: default)")
        ->option_text("NAMESPACE");
    delete_verb
        ->add_option("-f,--file", flags->files,
                     "Delete what this manifest defines; a folder or - as for apply")
        ->allow_extra_args(false)
        ->option_text("FILE");
    add_etcd(delete_verb, flags);
    on_run(delete_verb, context, [&context, flags] { return remove(context, *flags); });

    auto* get_verb = add_verb(app, "get", "Show objects as the agent has read them",
                              "beeline get networkpolicy -n shop\n"
                              "beeline get service web -n shop -o yaml\n"
                              "beeline get all");
    get_verb->add_option("KIND", flags->kind, "Kind of the objects, such as networkpolicy, or all")
        ->required();
    get_verb->add_option("NAME", flags->name, "Only this one");
    get_verb->add_option("-n,--namespace", flags->space, "Only this namespace (default: every one)")
        ->option_text("NAMESPACE");
    add_etcd(get_verb, flags);
    add_format(get_verb, context,
               {Format::table, Format::wide, Format::json, Format::jsonl, Format::yaml});
    on_run(get_verb, context, [&context, flags] { return get(context, *flags); });
}

} // namespace beeline::cli
