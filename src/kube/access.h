// How to reach and to convince a Kubernetes API server: from a kubeconfig file, or as a pod of the cluster.
#pragma once

#include <string>

#include "base/result.h"

namespace beeline::kube {

// Text that is given or stands in a file, which others may rotate: it is read when it is needed.
struct Material {
    std::string data;
    std::string file;
    [[nodiscard]] bool empty() const { return data.empty() && file.empty(); }
    [[nodiscard]] Result<std::string> read() const;
};

struct Access {
    std::string server; // URL without a slash at the end
    Material ca;        // PEM; empty: the system's
    Material certificate;
    Material key;
    Material token;
    std::string
        server_name; // what the server's certificate is checked for, if not the host of `server`
    std::string proxy;
    std::string space;  // namespace of the context or of the pod
    std::string origin; // where this comes from, for people
};

struct AccessOptions {
    std::string
        kubeconfig; // empty: $KUBECONFIG, else the service account of this pod, else ~/.kube/config
    std::string context; // empty: the current one
};

// Reads nothing from the network. Plain HTTP is taken for loopback addresses only; an unchecked certificate and login by
// another program are refused: the message says what to do instead.
Result<Access> find_access(const AccessOptions& options);
Result<Access> parse_kubeconfig(const std::string& text, const std::string& path,
                                const std::string& context);
// Of the pod that this runs in; not_found outside of one. `folder` is where the service account is mounted.
Result<Access>
pod_access(const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");

} // namespace beeline::kube
