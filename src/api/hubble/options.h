// The section `hubble` of the configuration.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/hubble/local.h"
#include "api/hubble/peers.h"
#include "api/hubble/server.h"

namespace beeline::hubble {

struct RelaySection {
    std::string listen = "localhost:4245";
    std::optional<std::string> socket; // none by default
    TlsFiles tls;
    bool allow_plain = false;
    PeerOptions peers;
};

struct Section {
    bool enabled = true;
    std::optional<std::string> socket; // default: of the instance; empty: none
    std::string listen;                // empty: none
    TlsFiles tls;
    bool allow_plain = false;
    std::string cluster = "default";
    std::string advertise; // the address that Peer.Notify tells; default: where it listens
    std::vector<std::string> node_labels;
    std::vector<PeerNode> peers; // others that Peer.Notify tells of
    StreamLimits limits;
    RelaySection relay;
};

inline constexpr unsigned kAgentPort = 4244;
inline constexpr unsigned kRelayPort = 4245;

} // namespace beeline::hubble
