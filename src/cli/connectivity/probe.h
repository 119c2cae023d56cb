// The client of the connectivity test: one question to the network, one result. Acts in the network namespace of the
// calling thread, blocks it, and uses no file but its sockets.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "net/address.h"

namespace beeline::cli {

enum class ProbeKind {
    tcp,     // `count` connections at the same time, one request over each
    bulk,    // one connection that brings `size` bytes
    udp,     // one datagram of `size` bytes and its answer of the same size
    ping,    // an echo request with `size` bytes
    dns,     // a question for `dns_name` as a datagram
    dns_tcp, // the same over TCP
};

struct Probe {
    ProbeKind kind = ProbeKind::tcp;
    net::Ip address;
    std::uint16_t port = 0;
    unsigned count = 1;
    std::size_t size = 0;
    bool whole = false; // udp, ping: must not be cut into fragments
    std::string dns_name;
    std::chrono::milliseconds timeout{3000};
};

struct ProbeResult {
    std::string error;                  // empty: answered; "TIMEOUT", "CLOSED" or an errno's name
    std::vector<std::string> servers;   // names of those who answered, each once
    std::string client;                 // our address as the (last) server saw it
    std::string from;                   // udp: the address that the answer came from
    std::vector<std::string> addresses; // dns
    int dns_code = 0;
    bool truncated = false; // dns
    std::uint64_t bytes = 0;
    std::uint64_t took_us = 0;
};

ProbeResult probe(const Probe& wanted);

nlohmann::json to_json(const ProbeResult& result);
ProbeResult probe_result_from_json(const nlohmann::json& json);

// A connection that stays open, for tests of what happens to it.
class HeldConnection {
public:
    // An empty error means that it is open.
    static HeldConnection open(const net::Ip& address, std::uint16_t port,
                               std::chrono::milliseconds timeout);
    [[nodiscard]] const std::string& error() const { return error_; }
    // One more request, answered within the timeout together with all before it? The error otherwise.
    std::string request(std::chrono::milliseconds timeout);

private:
    int fd_ = -1; // until the process ends
    std::string error_;
    std::uint64_t asked_ = 0;
    std::uint64_t answered_ = 0;
};

} // namespace beeline::cli
