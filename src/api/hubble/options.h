// The section `hubble` of the configuration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace beeline::hubble {

inline constexpr unsigned kAgentPort = 4244;
inline constexpr unsigned kRelayPort = 4245;

struct TlsFiles {
    std::string cert; // PEM; empty: no TLS
    std::string key;
    std::string client_ca; // only clients with a certificate of these authorities
};

struct StreamLimits {
    std::size_t streams = 4096;     // more are refused
    std::int64_t stall_ms = 30'000; // a client that takes nothing for so long is cut off
};

// A node that Peer.Notify tells of.
struct PeerNode {
    std::string name;
    std::string address;     // host:port or unix:///path
    std::string server_name; // of its certificate; empty: plain text
};

struct ClientTls {
    std::string ca;   // PEM file of who signs the peers' certificates; empty: plain text
    std::string cert; // of this client, where peers ask for one
    std::string key;
    std::string server_name; // of peers that have no name of their own yet; empty: the host
};

// Whom a relay follows.
struct PeerOptions {
    std::vector<std::string> targets; // "unix:///path", "host:port"
    std::string notifier;             // a peer whose Peer.Notify tells of all; empty: none
    ClientTls tls;
};

struct RelaySection {
    std::string listen = "localhost:4245";
    std::optional<std::string> socket; // none by default
    TlsFiles tls;
    bool allow_plain = false; // plain text on an address that is not loopback
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

// "host:port" with `port` where `text` has none. A missing host means every address.
Result<std::string> listen_address(const std::string& text, unsigned port);
// An address that only this machine reaches.
bool is_loopback(const std::string& address);

} // namespace beeline::hubble
