#include "datapath/policy_compile.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>
#include <tuple>

#include <fmt/format.h>

#include "model/label_index.h"

namespace beeline::datapath {
namespace {

using model::Direction;
using model::NamedPort;
using model::Policy;
using model::PolicyPort;
using model::Protocol;
using model::Rule;
using Index = Identities::Index;

constexpr std::uint32_t kNone = ~std::uint32_t{0};
constexpr std::uint64_t kRuleSeed = 0x72756c65;
constexpr std::array kDirections{Direction::egress, Direction::ingress};

PortPrefix one_port(Protocol protocol, std::uint16_t port) {
    return {(static_cast<std::uint32_t>(protocol) << 16) | port, 24};
}

class PeerFinder {
public:
    PeerFinder(const model::Objects& objects, const Identities& identities);

    // Ascending, each once.
    [[nodiscard]] std::vector<Index> subjects_of(const Policy& policy) const;
    [[nodiscard]] std::vector<Index> peers_of(const Policy& policy, const Rule& rule) const;
    // Pods that have a port of this name and protocol.
    [[nodiscard]] const std::vector<Index>& with_port(const PolicyPort& port) const;

private:
    void add_peers(const Policy& policy, const model::Peer& peer, std::vector<Index>& out) const;
    void add_block(const model::CidrBlock& block, std::vector<Index>& out) const;
    [[nodiscard]] std::vector<Index> pods(const model::LabelSelector& selector,
                                          const std::vector<std::string>& spaces) const;

    const Identities& identities_;
    std::vector<Index> pods_; // by id in pod_index_
    model::LabelIndex pod_index_;
    std::vector<std::string> spaces_; // by id in space_index_
    std::deque<model::Labels> space_labels_;
    model::LabelIndex space_index_;
    std::vector<std::vector<Index>> by_cidr_;          // whose longest CIDR is this one
    std::vector<std::vector<std::uint32_t>> narrower_; // CIDRs right inside this one
    std::map<std::pair<std::string, Protocol>, std::vector<Index>> by_port_;
};

PeerFinder::PeerFinder(const model::Objects& objects, const Identities& identities)
    : identities_(identities), by_cidr_(identities.cidrs().prefixes().size()),
      narrower_(identities.cidrs().prefixes().size()) {
    for (std::uint32_t cidr = 0; cidr < narrower_.size(); ++cidr) {
        const std::uint32_t parent = identities.cidrs().parent(cidr);
        if (parent != CidrSet::kNone) narrower_[parent].push_back(cidr);
    }
    std::set<std::string> seen;
    for (Index index = 0; index < identities.size(); ++index) {
        const Identity& identity = identities[index];
        if (identity.cidr != CidrSet::kNone) by_cidr_[identity.cidr].push_back(index);
        if (identity.kind != Identity::Kind::pod) continue;
        pods_.push_back(index);
        pod_index_.add(identity.space, identity.labels);
        for (const NamedPort& port : identity.ports) {
            std::vector<Index>& owners = by_port_[{port.name, port.protocol}];
            if (owners.empty() || owners.back() != index) owners.push_back(index);
        }
        if (seen.insert(identity.space).second) {
            spaces_.push_back(identity.space);
            space_index_.add("",
                             space_labels_.emplace_back(objects.namespace_labels(identity.space)));
        }
    }
}

std::vector<Index> PeerFinder::pods(const model::LabelSelector& selector,
                                    const std::vector<std::string>& spaces) const {
    std::vector<Index> chosen = pod_index_.select(selector, spaces);
    for (Index& id : chosen)
        id = pods_[id];
    return chosen;
}

std::vector<Index> PeerFinder::subjects_of(const Policy& policy) const {
    std::vector<Index> chosen = pods(policy.subject, {policy.space});
    std::erase_if(chosen, [&](Index index) { return !identities_[index].local; });
    return chosen;
}

void PeerFinder::add_block(const model::CidrBlock& block, std::vector<Index>& out) const {
    std::vector<std::uint32_t> holes;
    for (const net::Prefix& hole : block.except) {
        if (hole.contains(block.cidr)) return;
        holes.push_back(identities_.cidrs().find(hole));
    }
    std::sort(holes.begin(), holes.end());
    // Down the tree of CIDRs from the block's own, around its holes.
    std::vector<std::uint32_t> open{identities_.cidrs().find(block.cidr)};
    while (!open.empty()) {
        const std::uint32_t cidr = open.back();
        open.pop_back();
        if (std::binary_search(holes.begin(), holes.end(), cidr)) continue;
        out.insert(out.end(), by_cidr_[cidr].begin(), by_cidr_[cidr].end());
        open.insert(open.end(), narrower_[cidr].begin(), narrower_[cidr].end());
    }
}

void PeerFinder::add_peers(const Policy& policy, const model::Peer& peer,
                           std::vector<Index>& out) const {
    if (peer.block) return add_block(*peer.block, out);
    if (!peer.pods && !peer.namespaces) return;
    std::vector<std::string> spaces;
    if (peer.namespaces) {
        for (const auto id : space_index_.select(*peer.namespaces, {""}))
            spaces.push_back(spaces_[id]);
    } else {
        spaces.push_back(policy.space);
    }
    const std::vector<Index> chosen = pods(peer.pods.value_or(model::LabelSelector{}), spaces);
    out.insert(out.end(), chosen.begin(), chosen.end());
}

std::vector<Index> PeerFinder::peers_of(const Policy& policy, const Rule& rule) const {
    std::vector<Index> peers;
    for (const model::Peer& peer : rule.peers)
        add_peers(policy, peer, peers);
    std::sort(peers.begin(), peers.end());
    peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
    return peers;
}

const std::vector<Index>& PeerFinder::with_port(const PolicyPort& port) const {
    static const std::vector<Index> kNobody;
    const auto found = by_port_.find({port.name, port.protocol});
    return found == by_port_.end() ? kNobody : found->second;
}

struct RulePlan {
    std::uint32_t id = 0;
    bool deny = false;
    bool any_peer = false;
    std::vector<Index> peers;
    std::vector<PortPrefix> numbered;
    std::vector<PolicyPort> named;
};

struct PolicyPlan {
    std::string title;
    std::vector<Index> subjects;
    std::array<bool, 2> isolates{};
    std::array<std::vector<RulePlan>, 2> rules; // by Direction

    [[nodiscard]] std::size_t estimated_entries() const;
};

std::size_t PolicyPlan::estimated_entries() const {
    std::size_t sum = 0;
    for (const auto& direction : rules) {
        for (const RulePlan& rule : direction) {
            sum += (rule.any_peer ? 1 : rule.peers.size()) *
                   (rule.numbered.size() + rule.named.size());
        }
    }
    return sum * subjects.size();
}

std::vector<const Policy*> in_title_order(const model::Objects& objects) {
    std::vector<std::pair<std::string, const Policy*>> titled;
    titled.reserve(objects.policies.size());
    for (const auto& [name, policy] : objects.policies)
        titled.emplace_back(policy.title(), &policy);
    std::sort(titled.begin(), titled.end());
    std::vector<const Policy*> policies;
    policies.reserve(titled.size());
    for (const auto& [title, policy] : titled)
        policies.push_back(policy);
    return policies;
}

// Ids follow from the titles; where two meet, the later one in (policy title, direction, index) order moves on.
class RuleIds {
public:
    std::uint32_t add(const std::string& title) {
        auto id = static_cast<std::uint32_t>(stable_hash(title, kRuleSeed));
        while (id == 0 || titles_.contains(id))
            ++id;
        titles_.emplace(id, title);
        return id;
    }
    std::unordered_map<std::uint32_t, std::string> take() { return std::move(titles_); }

private:
    std::unordered_map<std::uint32_t, std::string> titles_;
};

void plan_ports(const Rule& rule, RulePlan& plan) {
    if (rule.any_port) plan.numbered.push_back({});
    for (const PolicyPort& port : rule.ports) {
        if (!port.name.empty()) {
            plan.named.push_back(port);
            continue;
        }
        for (const PortPrefix& prefix : port_prefixes(port.protocol, port.first, port.last)) {
            plan.numbered.push_back(prefix);
        }
    }
}

PolicyPlan plan_policy(const Policy& policy, const PeerFinder& finder, RuleIds& ids) {
    PolicyPlan plan;
    plan.title = policy.title();
    plan.subjects = finder.subjects_of(policy);
    for (const Direction direction : kDirections) {
        const auto d = static_cast<std::size_t>(direction);
        plan.isolates[d] = policy.isolates(direction);
        const std::vector<Rule>& rules = policy.rules(direction);
        for (std::size_t i = 0; i < rules.size(); ++i) {
            RulePlan one;
            one.id = ids.add(model::rule_title(policy, direction, i));
            if (!plan.isolates[d] || plan.subjects.empty()) continue;
            one.deny = rules[i].action == Rule::Action::deny;
            one.any_peer = rules[i].any_peer;
            if (!one.any_peer) one.peers = finder.peers_of(policy, rules[i]);
            plan_ports(rules[i], one);
            plan.rules[d].push_back(std::move(one));
        }
    }
    return plan;
}

// Subjects that get the same entries. Its own ports and families are part of the key only as far as they matter.
struct GroupKey {
    Direction direction;
    std::vector<std::uint32_t> policies; // in title order
    std::uint8_t families;
    std::vector<NamedPort> ports;
    auto operator<=>(const GroupKey&) const = default;
};

struct Entry {
    std::uint32_t peer = 0; // number
    PortPrefix prefix;
    bl_policy value{};
};

struct Candidate {
    PortPrefix prefix;
    std::uint32_t order = 0; // of the rule in the group
};

void append_named(const RulePlan& rule, const std::vector<NamedPort>& ports, std::uint32_t order,
                  std::vector<Candidate>& out) {
    for (const PolicyPort& wanted : rule.named) {
        for (const NamedPort& port : ports) {
            if (port.name != wanted.name || port.protocol != wanted.protocol) continue;
            out.push_back({one_port(port.protocol, port.port), order});
        }
    }
}

// One peer's candidates -> its entries; see compile_policy for what each must carry.
void settle(std::uint32_t peer, std::vector<Candidate>& candidates,
            std::span<const RulePlan* const> rules, std::vector<Entry>& out) {
    struct Standing {
        PortPrefix prefix;
        std::uint32_t deny = kNone; // first rule by order
        std::uint32_t allow = kNone;
        [[nodiscard]] std::pair<bool, std::uint32_t> decision() const {
            return deny != kNone ? std::pair{true, deny} : std::pair{false, allow};
        }
    };
    // Broader prefixes come right before what they cover.
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return std::tuple(a.prefix.bits, a.prefix.length, a.order) <
               std::tuple(b.prefix.bits, b.prefix.length, b.order);
    });
    std::vector<Standing> open;
    for (std::size_t i = 0; i < candidates.size();) {
        const PortPrefix prefix = candidates[i].prefix;
        while (!open.empty() && !open.back().prefix.covers(prefix))
            open.pop_back();
        Standing standing = open.empty() ? Standing{} : open.back();
        standing.prefix = prefix;
        for (; i < candidates.size() && candidates[i].prefix == prefix; ++i) {
            const std::uint32_t order = candidates[i].order;
            std::uint32_t& first = rules[order]->deny ? standing.deny : standing.allow;
            first = std::min(first, order);
        }
        const auto [deny, order] = standing.decision();
        if (open.empty() || open.back().decision() != standing.decision()) {
            out.push_back({peer, prefix, bl_policy{rules[order]->id, deny}});
        }
        open.push_back(standing);
    }
}

std::vector<Entry> entries_of(const GroupKey& group, const std::vector<PolicyPlan>& plans,
                              const Identities& identities, const PeerFinder& finder,
                              std::size_t limit) {
    const bool egress = group.direction == Direction::egress;
    std::vector<const RulePlan*> rules;
    for (const std::uint32_t policy : group.policies) {
        for (const RulePlan& rule :
             plans[policy].rules[static_cast<std::size_t>(group.direction)]) {
            rules.push_back(&rule);
        }
    }

    // Who is named by which rule. Peer 0 is everyone, peer N+1 the identity N.
    struct Mention {
        std::uint32_t peer;
        std::uint32_t order;
        auto operator<=>(const Mention&) const = default;
    };
    std::vector<Mention> mentions;
    const auto mention = [&](Index index, std::uint32_t order) {
        if (identities[index].families & group.families) mentions.push_back({index + 1, order});
    };
    for (std::uint32_t order = 0; order < rules.size(); ++order) {
        const RulePlan& rule = *rules[order];
        for (const Index index : rule.peers)
            mention(index, order);
        if (!rule.any_peer) continue;
        mentions.push_back({0, order});
        if (!egress) continue;
        for (const PolicyPort& port : rule.named) {
            for (const Index index : finder.with_port(port))
                mention(index, order);
        }
    }
    std::sort(mentions.begin(), mentions.end());
    mentions.erase(std::unique(mentions.begin(), mentions.end()), mentions.end());

    std::vector<Entry> entries;
    std::vector<Candidate> candidates;
    // Beyond the limit the caller refuses anyway: one subject must not fill the memory first.
    for (std::size_t i = 0; i < mentions.size() && entries.size() <= limit;) {
        const std::uint32_t peer = mentions[i].peer;
        const Identity* identity = peer ? &identities[peer - 1] : nullptr;
        candidates.clear();
        for (; i < mentions.size() && mentions[i].peer == peer; ++i) {
            const std::uint32_t order = mentions[i].order;
            const RulePlan& rule = *rules[order];
            if (!rule.any_peer || !peer) {
                for (const PortPrefix& prefix : rule.numbered)
                    candidates.push_back({prefix, order});
            }
            if (!egress) {
                append_named(rule, group.ports, order, candidates);
            } else if (identity) {
                append_named(rule, identity->ports, order, candidates);
            }
        }
        settle(identity ? identity->number : 0, candidates, rules, entries);
    }
    return entries;
}

bool uses_port_names(const std::vector<std::uint32_t>& policies,
                     const std::vector<PolicyPlan>& plans, Direction direction) {
    return std::any_of(policies.begin(), policies.end(), [&](std::uint32_t policy) {
        const auto& rules = plans[policy].rules[static_cast<std::size_t>(direction)];
        return std::any_of(rules.begin(), rules.end(),
                           [](const RulePlan& rule) { return !rule.named.empty(); });
    });
}

using Groups = std::map<GroupKey, std::vector<Index>>;

// Sorts the isolated subjects into groups and notes who isolates them.
Groups group_subjects(const std::vector<PolicyPlan>& plans, const Identities& identities,
                      PolicyTables& tables) {
    std::array<std::vector<std::vector<std::uint32_t>>, 2> selecting;
    for (auto& direction : selecting)
        direction.resize(identities.size());
    for (std::uint32_t i = 0; i < plans.size(); ++i) {
        for (std::size_t d = 0; d < 2; ++d) {
            if (!plans[i].isolates[d]) continue;
            for (const Index subject : plans[i].subjects)
                selecting[d][subject].push_back(i);
        }
    }
    Groups groups;
    for (const Direction direction : kDirections) {
        const auto d = static_cast<std::size_t>(direction);
        for (Index index = 0; index < identities.size(); ++index) {
            std::vector<std::uint32_t>& policies = selecting[d][index];
            if (policies.empty()) continue;
            const Identity& identity = identities[index];
            tables.flags[index] |= direction == Direction::ingress ? BL_EP_INGRESS : BL_EP_EGRESS;
            for (const std::uint32_t policy : policies) {
                tables.subjects[identity.number].selecting[d].push_back(plans[policy].title);
            }
            const bool own_ports =
                direction == Direction::ingress && uses_port_names(policies, plans, direction);
            groups[{direction, std::move(policies), identity.families,
                    own_ports ? identity.ports : std::vector<NamedPort>{}}]
                .push_back(index);
        }
    }
    return groups;
}

Failure too_many(const std::vector<PolicyPlan>& plans, std::size_t limit) {
    const auto biggest =
        std::max_element(plans.begin(), plans.end(), [](const PolicyPlan& a, const PolicyPlan& b) {
            return a.estimated_entries() < b.estimated_entries();
        });
    return fail(Code::exhausted,
                "the policies need more than {} entries; {} alone needs about {}: select fewer "
                "pods or peers with it",
                limit, biggest->title, biggest->estimated_entries());
}

} // namespace

std::vector<PortPrefix> port_prefixes(Protocol protocol, std::uint16_t first, std::uint16_t last) {
    std::vector<PortPrefix> prefixes;
    const std::uint32_t base = static_cast<std::uint32_t>(protocol) << 16;
    std::uint32_t at = first;
    while (at <= last) {
        // The largest aligned block that begins here and ends by `last`.
        std::uint8_t length = 24;
        std::uint32_t size = 1;
        while (length > 8 && at % (size * 2) == 0 && at + size * 2 - 1 <= last) {
            size *= 2;
            --length;
        }
        prefixes.push_back({base | at, length});
        at += size;
    }
    return prefixes;
}

Result<PolicyTables> compile_policy(const model::Objects& objects, const Identities& identities,
                                    std::size_t limit) {
    PolicyTables tables;
    tables.flags.resize(identities.size());
    const PeerFinder finder(objects, identities);
    RuleIds ids;
    std::vector<PolicyPlan> plans;
    for (const Policy* policy : in_title_order(objects))
        plans.push_back(plan_policy(*policy, finder, ids));
    tables.rules = ids.take();

    const Groups groups = group_subjects(plans, identities, tables);
    std::vector<std::vector<Entry>> entries;
    std::size_t total = 0;
    for (const auto& [group, subjects] : groups) {
        entries.push_back(entries_of(group, plans, identities, finder, limit));
        total += entries.back().size() * subjects.size();
        if (total > limit) return too_many(plans, limit);
    }

    tables.entries.reserve(total);
    std::size_t at = 0;
    for (const auto& [group, subjects] : groups) {
        for (const Index subject : subjects) {
            for (const Entry& entry : entries[at]) {
                bl_policy_key key{};
                key.prefixlen = BL_POLICY_PREFIX_PEER + entry.prefix.length;
                key.subject = identities[subject].number;
                key.peer = entry.peer;
                key.direction = static_cast<std::uint8_t>(group.direction);
                key.proto = static_cast<std::uint8_t>(entry.prefix.bits >> 16);
                key.port = htons(static_cast<std::uint16_t>(entry.prefix.bits));
                tables.entries.emplace(key, entry.value);
            }
        }
        ++at;
    }
    return tables;
}

} // namespace beeline::datapath
