// Addresses of this node's workloads: at most one IPv4 and one IPv6 range, leased to (container, interface).
//
// Every lease is on disk before it is handed out, in an append-only log that is rewritten when it has grown. An address
// never has two owners. A released one rests for a while, so that neither connections that others still remember nor
// name-server answers reach its next owner. Memory grows with leases, not with ranges. One thread.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/file.h"
#include "base/result.h"
#include "net/address.h"

namespace beeline::datapath {

class Ipam {
public:
    struct Options {
        std::optional<net::Prefix> ipv4; // /8 to /30
        std::optional<net::Prefix> ipv6; // /32 to /126
        std::string folder;              // existing; the log is FOLDER/ipam.log
        std::uint64_t rest_ms = 30'000;
        std::function<std::int64_t()> now_ms; // of the wall clock; empty: the system's
    };
    struct Owner {
        std::string container;
        std::string interface;
        auto operator<=>(const Owner&) const = default;
    };
    struct Lease {
        Owner owner;
        std::vector<net::Ip> addresses;
    };
    // Of one family. Sizes beyond 64 bits are shown as the largest number.
    struct Usage {
        net::Prefix range;
        std::uint64_t used = 0; // leased within the range
        std::uint64_t resting = 0;
        std::uint64_t size =
            0; // addresses that can be leased: without network, broadcast and gateway
        [[nodiscard]] bool exhausted() const { return used + resting >= size; }
    };

    // A damaged log is set aside as ipam.log.damaged, what can be read of it is kept, and damage() says so. The ranges may
    // differ from the last time: leases outside of them stay valid.
    static Result<std::unique_ptr<Ipam>> open(Options options);
    ~Ipam();
    Ipam(const Ipam&) = delete;
    Ipam& operator=(const Ipam&) = delete;

    // One address of each configured family; `wanted` names specific ones, at most one per family, which may rest still
    // (a container that starts anew keeps its fixed address). Errors: exists (the owner has a lease, or a wanted address is
    // taken), invalid (a wanted address is not in the range or reserved), exhausted (a range is full). Fails as a whole.
    Result<std::vector<net::Ip>> lease(const Owner& owner, const std::vector<net::Ip>& wanted = {});
    // Makes sure that the owner has exactly these, whatever the ranges: for a workload that is known to use them.
    Result<> adopt(const Owner& owner, const std::vector<net::Ip>& addresses);
    // Idempotent. A release that cannot be written is only logged: the lease would be back after a restart.
    void release(const Owner& owner);

    [[nodiscard]] std::vector<Lease> leases() const;
    [[nodiscard]] const std::vector<net::Ip>* find(const Owner& owner) const;
    [[nodiscard]] std::optional<Usage> ipv4() const;
    [[nodiscard]] std::optional<Usage> ipv6() const;
    // First usable address of the family's range.
    [[nodiscard]] std::optional<net::Ip> gateway(bool v4) const;
    [[nodiscard]] const std::string& damage() const { return damage_; }

private:
    class Pool;
    explicit Ipam(Options options);
    Result<> load();
    Result<> append(const std::string& record, Durable durable);
    Result<> rewrite();
    void rewrite_if_grown();
    void take(const Owner& owner, const std::vector<net::Ip>& addresses);
    void forget(const Owner& owner, std::int64_t at_ms);
    bool apply(const std::string& line);
    Pool* pool_of(const net::Ip& ip) const;
    [[nodiscard]] std::int64_t now() const;
    [[nodiscard]] std::string path() const;

    Options options_;
    std::unique_ptr<Pool> v4_;
    std::unique_ptr<Pool> v6_;
    std::map<Owner, std::vector<net::Ip>> leases_;
    std::unordered_map<net::Ip, Owner> owners_;
    Fd log_;
    std::uint64_t size_ = 0;    // of the log in bytes
    std::uint64_t records_ = 0; // in the log
    std::string damage_;
};

} // namespace beeline::datapath
