#include "agent/make_source.h"

#include "source/etcd/source.h"
#include "source/files.h"

namespace beeline::agent {

Result<std::unique_ptr<source::Source>> make_source(const Config& config, const api::Paths& paths,
                                                    source::Source::Publish publish) {
    if (config.source.kind == SourceKind::etcd) {
        auto options = config.source.etcd;
        options.node = config.node;
        options.state_folder = paths.state;
        return TRY(source::EtcdSource::create(std::move(options), std::move(publish)));
    }
    return TRY(
        source::FilesSource::create({config.manifests, paths.state, 20}, std::move(publish)));
}

} // namespace beeline::agent
