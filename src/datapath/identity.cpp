#include "datapath/identity.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "base/result.h"

namespace beeline::datapath {
namespace {

constexpr std::uint64_t kOdd1 = 0x9e3779b97f4a7c15;
constexpr std::uint64_t kOdd2 = 0xc2b2ae3d27d4eb4f;
constexpr std::uint64_t kOdd3 = 0xd6e8feb86659fd93;
constexpr std::array<std::uint64_t, 2> kDigestSeeds{0x6265656c696e6531, 0x6964656e74697479};

bool before(const net::Prefix& a, const net::Prefix& b) {
    return std::tuple(a.is_v4(), a.base, a.length) < std::tuple(b.is_v4(), b.base, b.length);
}

std::vector<net::Prefix> policy_cidrs(const model::Objects& objects) {
    std::vector<net::Prefix> all;
    for (const auto& [name, policy] : objects.policies) {
        for (const auto* rules : {&policy.ingress, &policy.egress}) {
            for (const model::Rule& rule : *rules) {
                for (const model::Peer& peer : rule.peers) {
                    if (!peer.block) continue;
                    all.push_back(peer.block->cidr);
                    all.insert(all.end(), peer.block->except.begin(), peer.block->except.end());
                }
            }
        }
    }
    return all;
}

// Fields carry their length, so that no two lists of fields have the same text.
void append(std::string& text, std::string_view field) {
    text += std::to_string(field.size());
    text += ':';
    text += field;
}

void append(std::string& text, const model::Labels& labels) {
    append(text, std::to_string(labels.size()));
    for (const auto& [key, value] : labels) {
        append(text, key);
        append(text, value);
    }
}

bl_identity digest_of(std::string_view text, std::uint64_t attempt) {
    bl_identity digest{};
    for (std::size_t i = 0; i < kDigestSeeds.size(); ++i) {
        digest.digest[i] = stable_hash(text, kDigestSeeds[i] + attempt * kOdd3);
    }
    return digest;
}

} // namespace

std::uint64_t stable_hash(std::string_view text, std::uint64_t seed) {
    std::uint64_t hash = seed ^ (text.size() * kOdd1);
    for (std::size_t at = 0; at < text.size(); at += 8) {
        std::uint64_t chunk = 0;
        for (std::size_t i = 0; i < 8 && at + i < text.size(); ++i) {
            chunk |= std::uint64_t{static_cast<unsigned char>(text[at + i])} << (8 * i);
        }
        hash ^= std::rotl(chunk * kOdd2, 31) * kOdd1;
        hash = std::rotl(hash, 27) * kOdd2 + kOdd3;
    }
    for (const std::uint64_t odd : {kOdd3, kOdd2}) {
        hash ^= hash >> 32;
        hash *= odd;
    }
    return hash ^ (hash >> 29);
}

CidrSet::CidrSet(std::vector<net::Prefix> prefixes) : prefixes_(std::move(prefixes)) {
    std::sort(prefixes_.begin(), prefixes_.end(), before);
    prefixes_.erase(std::unique(prefixes_.begin(), prefixes_.end()), prefixes_.end());
    std::vector<std::uint32_t> open;
    for (std::uint32_t i = 0; i < prefixes_.size(); ++i) {
        while (!open.empty() && !prefixes_[open.back()].contains(prefixes_[i]))
            open.pop_back();
        parents_.push_back(open.empty() ? kNone : open.back());
        open.push_back(i);
    }
}

std::uint32_t CidrSet::find(const net::Prefix& prefix) const {
    const auto at = std::lower_bound(prefixes_.begin(), prefixes_.end(), prefix, before);
    if (at == prefixes_.end() || *at != prefix) return kNone;
    return static_cast<std::uint32_t>(at - prefixes_.begin());
}

std::uint32_t CidrSet::longest(const net::Ip& ip) const {
    // Whatever contains `ip` is its last predecessor or one of that one's parents.
    const auto after =
        std::upper_bound(prefixes_.begin(), prefixes_.end(), net::Prefix::host(ip), before);
    if (after == prefixes_.begin()) return kNone;
    auto position = static_cast<std::uint32_t>(after - prefixes_.begin()) - 1;
    while (position != kNone && !prefixes_[position].contains(ip))
        position = parents_[position];
    return position;
}

Identities::Identities(const model::Objects& objects)
    : objects_(objects), cidrs_(policy_cidrs(objects)) {}

Identities::Index Identities::of_pod(const std::string& space, const model::Labels& labels,
                                     std::vector<model::NamedPort> ports, const net::Ip& ip,
                                     bool local) {
    Identity identity;
    identity.kind = Identity::Kind::pod;
    identity.space = space;
    identity.labels = labels;
    identity.ports = std::move(ports);
    std::sort(identity.ports.begin(), identity.ports.end());
    identity.cidr = cidrs_.longest(ip);
    const Index index = intern(std::move(identity), ip);
    all_[index].local |= local;
    return index;
}

Identities::Index Identities::of_host(const net::Ip& ip) {
    Identity identity;
    identity.kind = Identity::Kind::host;
    identity.cidr = cidrs_.longest(ip);
    return intern(std::move(identity), ip);
}

Identities::Index Identities::of_remote_node(const net::Ip& ip) {
    Identity identity;
    identity.kind = Identity::Kind::remote_node;
    identity.cidr = cidrs_.longest(ip);
    return intern(std::move(identity), ip);
}

Identities::Index Identities::of_world(const net::Prefix& prefix) {
    Identity identity;
    identity.kind = Identity::Kind::world;
    identity.cidr = cidrs_.find(prefix);
    return intern(std::move(identity), prefix.base);
}

const std::string& Identities::namespace_text(const std::string& space) {
    std::string& text = namespace_texts_[space];
    if (text.empty()) append(text, objects_.namespace_labels(space));
    return text;
}

Identities::Index Identities::intern(Identity identity, const net::Ip& ip) {
    std::string& text = identity.text;
    append(text, std::to_string(static_cast<unsigned>(identity.kind)));
    if (identity.kind == Identity::Kind::pod) {
        append(text, identity.space);
        text += namespace_text(identity.space);
        append(text, identity.labels);
        append(text, std::to_string(identity.ports.size()));
        for (const model::NamedPort& port : identity.ports) {
            append(text, port.name);
            append(text, fmt::format("{}/{}", static_cast<unsigned>(port.protocol), port.port));
        }
    }
    if (identity.cidr != CidrSet::kNone) append(text, cidrs_.prefixes()[identity.cidr].to_string());

    auto known = by_text_.find(text);
    if (known == by_text_.end()) {
        all_.push_back(std::move(identity));
        known = by_text_.emplace(all_.back().text, size() - 1).first;
    }
    all_[known->second].families |= ip.is_v4() ? Identity::kV4 : Identity::kV6;
    return known->second;
}

void Identities::assign_numbers(const Table<std::uint32_t, bl_identity>& previous) {
    Table<bl_identity, std::uint32_t> kept;
    for (const auto& [number, digest] : previous) {
        const auto [entry, is_new] = kept.try_emplace(digest, number);
        if (!is_new) entry->second = std::min(entry->second, number);
    }
    // In the order of the texts: numbers must not depend on who was seen first.
    std::vector<Index> order(all_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](Index a, Index b) { return all_[a].text < all_[b].text; });

    Table<bl_identity, Index> digests;
    std::vector<Index> fresh;
    for (const Index index : order) {
        Identity& identity = all_[index];
        for (std::uint64_t attempt = 0;; ++attempt) {
            identity.digest = digest_of(identity.text, attempt);
            if (digests.try_emplace(identity.digest, index).second) break;
        }
        if (identity.kind != Identity::Kind::pod && identity.cidr == CidrSet::kNone) {
            identity.number = identity.kind == Identity::Kind::host          ? BL_ID_host
                              : identity.kind == Identity::Kind::remote_node ? BL_ID_remote_node
                                                                             : BL_ID_world;
        } else if (const auto found = kept.find(identity.digest); found != kept.end()) {
            identity.number = found->second;
        } else {
            fresh.push_back(index);
        }
    }
    // A number that `previous` still names is not given to someone else: while the maps change one entry after the
    // other, the newcomer would have the old owner's rights.
    std::uint32_t next = BL_ID_FIRST_LOCAL;
    for (const Index index : fresh) {
        while (previous.contains(next))
            ++next;
        all_[index].number = next++;
    }
}

std::string Identities::describe(Index index) const {
    const Identity& identity = all_[index];
    std::string text;
    switch (identity.kind) {
    case Identity::Kind::host: text = "host"; break;
    case Identity::Kind::world: text = "world"; break;
    case Identity::Kind::remote_node: text = "remote-node"; break;
    case Identity::Kind::pod:
        text = identity.space;
        char separator = ' ';
        for (const auto& [key, value] : identity.labels) {
            text += fmt::format("{}{}={}", separator, key, value);
            separator = ',';
        }
        break;
    }
    if (identity.cidr != CidrSet::kNone) {
        text += " in " + cidrs_.prefixes()[identity.cidr].to_string();
    }
    return text;
}

} // namespace beeline::datapath
