#include "model/objects.h"

namespace beeline::model {

Labels Objects::namespace_labels(const std::string& name) const {
    const auto found = namespaces.find(name);
    Labels labels = found == namespaces.end() ? Labels{} : found->second.labels;
    labels["kubernetes.io/metadata.name"] = name;
    return labels;
}

} // namespace beeline::model
