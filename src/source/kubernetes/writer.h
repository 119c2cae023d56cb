// All that is ever written to the API server: the condition NetworkUnavailable and annotations of the own Node, and events of
// pods that got no network. Bounded: what cannot be sent is dropped, and told again with the next change.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "kube/session.h"
#include "source/source.h"

namespace beeline::source {

// Belongs to the session's thread.
class Writer {
public:
    Writer(kube::Session& session, std::string node, std::string version)
        : session_(session), node_(std::move(node)), version_(std::move(version)) {}

    void network_works(bool works, const std::string& why);
    void pod_failed(const FailedPod& pod);
    void connected(); // the server may have forgotten

private:
    void write_condition();
    void send(kube::Request request);

    kube::Session& session_;
    std::string node_;
    std::string version_;
    std::optional<bool> works_;
    std::string why_;
    std::map<std::string, std::int64_t> told_; // pod and message -> when
    double tokens_ = 25;
    std::int64_t filled_ = 0;
};

} // namespace beeline::source
