#include "agent/make_source.h"

#include "source/etcd/source.h"
#include "source/files.h"
#include "source/kubernetes/source.h"

namespace beeline::agent {

Result<std::unique_ptr<source::Source>> make_source(const Config& config, const api::Paths& paths,
                                                    source::Source::Publish publish) {
    if (config.source.kind == SourceKind::etcd) {
        auto options = config.source.etcd;
        options.node = config.node;
        options.state_folder = paths.state;
        return TRY(source::EtcdSource::create(std::move(options), std::move(publish)));
    }
    if (config.source.kind == SourceKind::kubernetes) {
        const auto& wanted = config.source.kubernetes;
        source::KubernetesOptions options;
        options.access = TRY(kube::find_access({wanted.kubeconfig, wanted.context}));
        options.node = config.node;
        options.state_folder = paths.state;
        options.version = BEELINE_VERSION;
        options.coalesce_ms = wanted.coalesce_ms;
        options.write_status = wanted.write_status;
        return TRY(source::KubernetesSource::create(std::move(options), std::move(publish)));
    }
    return TRY(
        source::FilesSource::create({config.manifests, paths.state, 20}, std::move(publish)));
}

nlohmann::json etcd_document(const source::Source& source) {
    const auto* etcd = dynamic_cast<const source::EtcdSource*>(&source);
    if (etcd == nullptr) return nullptr;
    const auto state = etcd->etcd_state();
    using State = source::Registration::State;
    const auto now = state.registration.state;
    return {{"endpoint", state.endpoint},
            {"revision", state.revision},
            {"keys", state.keys},
            {"rejected", state.rejected},
            {"lists", state.lists},
            {"failures", state.failures},
            {"from_snapshot", state.from_snapshot},
            {"registration",
             {{"state", now == State::registered ? "registered"
                        : now == State::refused  ? "refused"
                                                 : "waiting"},
              {"lease", state.registration.lease},
              {"keys", state.registration.keys},
              {"error", state.registration.error}}}};
}

} // namespace beeline::agent
