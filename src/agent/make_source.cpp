#include "agent/make_source.h"

#include "source/files.h"

namespace beeline::agent {

Result<std::unique_ptr<source::Source>> make_source(const Config& config, const api::Paths& paths,
                                                    source::Source::Publish publish) {
    return TRY(
        source::FilesSource::create({config.source.manifests, paths.state, 20}, std::move(publish)));
}

} // namespace beeline::agent
