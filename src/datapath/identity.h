// Who shares policy entries: the identities of all addresses, and the policy CIDRs that tell them apart.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "datapath/tables.h"
#include "model/objects.h"

namespace beeline::datapath {

// Same text and seed, same value, on every build and machine. Not for adversaries: callers settle collisions.
std::uint64_t stable_hash(std::string_view text, std::uint64_t seed);

// Distinct prefixes and how they nest, each family on its own.
class CidrSet {
public:
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};

    explicit CidrSet(std::vector<net::Prefix> prefixes);

    [[nodiscard]] const std::vector<net::Prefix>& prefixes() const { return prefixes_; }
    [[nodiscard]] std::uint32_t find(const net::Prefix& prefix) const; // position or kNone
    // The longest prefix that contains `ip`. Together with its parents these are all that do.
    [[nodiscard]] std::uint32_t longest(const net::Ip& ip) const;
    [[nodiscard]] std::uint32_t parent(std::uint32_t position) const { return parents_[position]; }

private:
    std::vector<net::Prefix> prefixes_; // ascending: IPv6, then IPv4; wide before narrow
    std::vector<std::uint32_t> parents_;
};

struct Identity {
    enum class Kind : std::uint8_t { pod, host, world, remote_node };
    static constexpr std::uint8_t kV4 = 1;
    static constexpr std::uint8_t kV6 = 2;

    Kind kind = Kind::world;
    std::string space;
    model::Labels labels;
    std::vector<model::NamedPort> ports; // sorted
    std::uint32_t cidr =
        CidrSet::kNone;        // the longest that contains its addresses: stands for the whole set
    std::uint8_t families = 0; // which kinds of addresses it has: kV4, kV6
    bool local = false;        // has an endpoint on this node
    std::string text;          // canonical
    std::uint32_t number = 0;
    bl_identity digest{};
};

class Identities {
public:
    using Index = std::uint32_t;

    explicit Identities(const model::Objects& objects);

    // Each finds or makes the identity; the index stays valid.
    Index of_pod(const std::string& space, const model::Labels& labels,
                 std::vector<model::NamedPort> ports, const net::Ip& ip, bool local);
    Index of_host(const net::Ip& ip);
    Index of_remote_node(const net::Ip& ip);
    Index of_world(const net::Prefix& prefix); // a policy CIDR, or 0.0.0.0/0 or ::/0

    // Gives everyone a number and a digest. Last call before reading them.
    void assign_numbers(const Table<std::uint32_t, bl_identity>& previous);

    [[nodiscard]] const Identity& operator[](Index index) const { return all_[index]; }
    [[nodiscard]] Index size() const { return static_cast<Index>(all_.size()); }
    [[nodiscard]] const CidrSet& cidrs() const { return cidrs_; }
    // "shop app=web,tier=front in 10.0.0.0/8", "host", "world in 192.0.2.0/24"
    [[nodiscard]] std::string describe(Index index) const;

private:
    Index intern(Identity identity, const net::Ip& ip);
    const std::string& namespace_text(const std::string& space);

    const model::Objects& objects_;
    CidrSet cidrs_;
    std::deque<Identity> all_; // addresses of elements are stable
    std::unordered_map<std::string_view, Index> by_text_;
    std::unordered_map<std::string, std::string> namespace_texts_;
};

} // namespace beeline::datapath
