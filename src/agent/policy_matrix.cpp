#include "agent/policy_matrix.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "model/evaluate.h"
#include "model/party.h"

namespace beeline::agent {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(2);
constexpr std::size_t kPorts = 6;   // of one receiver
constexpr std::size_t kMembers = 8; // named of a group
// Stands for every address that no rule names; from a range that documentation uses.
constexpr std::string_view kOutside = "203.0.113.1";

struct Port {
    model::Protocol protocol = model::Protocol::tcp;
    std::uint16_t port = 0;
    std::string name;
    bool other = false; // stands for all that are not listed
};

struct Group {
    model::Party::Kind kind = model::Party::Kind::pod;
    std::vector<model::Party> members; // one or two are enough to judge
    std::vector<std::string> names;
    std::size_t count = 0;
    std::vector<Port> ports;
};

void add_port(std::vector<Port>& ports, Port port) {
    const bool known = std::any_of(ports.begin(), ports.end(), [&](const Port& one) {
        return one.protocol == port.protocol && one.port == port.port;
    });
    if (!known && ports.size() < kPorts) ports.push_back(std::move(port));
}

void add_rule_ports(std::vector<Port>& ports, const std::vector<model::Rule>& rules) {
    for (const auto& rule : rules) {
        for (const auto& port : rule.ports) {
            const bool all = port.first == 0 && port.last == 65535;
            if (port.name.empty() && !all && port.protocol != model::Protocol::any)
                add_port(ports, {.protocol = port.protocol, .port = port.first, .name = {}});
        }
    }
}

// A port that stands for the rest.
Port other_port(const std::vector<Port>& ports) {
    Port other{.protocol = model::Protocol::tcp, .port = 65000, .name = {}, .other = true};
    while (std::any_of(ports.begin(), ports.end(),
                       [&](const Port& one) { return one.port == other.port; }))
        --other.port;
    return other;
}

std::vector<Port> ports_of(const Group& group, const model::Objects& objects,
                           const api::MatrixQuery& query) {
    std::vector<Port> ports;
    if (query.protocol) {
        ports.push_back({.protocol = *query.protocol, .port = query.port.value_or(0), .name = {}});
        return ports;
    }
    const model::Party& party = group.members.front();
    for (const auto& port : party.ports)
        add_port(ports, {.protocol = port.protocol, .port = port.port, .name = port.name});
    for (const auto& [name, policy] : objects.policies) {
        if (group.kind != model::Party::Kind::pod)
            add_rule_ports(ports, policy.egress);
        else if (policy.space == party.name.space && policy.subject.matches(party.labels))
            add_rule_ports(ports, policy.ingress);
    }
    ports.push_back(other_port(ports));
    return ports;
}

class Matrix {
public:
    Matrix(const PolicyScene& scene, const api::MatrixQuery& query)
        : objects_(*scene.objects), query_(query) {
        for (const auto& workload : scene.workloads) {
            if (!workload.addresses.empty())
                add(model::party_of(workload, objects_, workload.addresses.front()));
        }
        for (const auto& [name, pod] : objects_.pods) {
            if (model::stands_for_itself(pod) && !pod.addresses.empty())
                add(model::party_of(pod, pod.addresses.front()));
        }
        if (groups_.size() > query.limit) {
            more_ = groups_.size() - query.limit;
            groups_.resize(query.limit);
        }
        model::Party host;
        host.kind = model::Party::Kind::host;
        if (!scene.host_addresses.empty()) host.address = scene.host_addresses.front();
        add_special(std::move(host), "host");
        model::Party world;
        world.address = net::Ip::parse(kOutside).value();
        add_special(std::move(world), "world");
        for (auto& group : groups_)
            group.ports = ports_of(group, objects_, query_);
    }

    json document() {
        json cells = json::array();
        const auto deadline = Clock::now() + kPatience;
        for (std::size_t from = 0; from < groups_.size() && !late_; ++from) {
            for (std::size_t to = 0; to < groups_.size(); ++to) {
                if (Clock::now() > deadline) {
                    late_ = true;
                    break;
                }
                if (auto one = cell(from, to); !one.is_null()) cells.push_back(std::move(one));
            }
        }
        json groups = json::array();
        for (const auto& group : groups_)
            groups.push_back(group_document(group));
        json out{{"groups", std::move(groups)}, {"cells", std::move(cells)}, {"titles", titles_}};
        if (more_ > 0) out["more"] = more_;
        if (late_) out["late"] = true;
        return out;
    }

private:
    void add(model::Party party) {
        if (!query_.spaces.empty() && std::find(query_.spaces.begin(), query_.spaces.end(),
                                                party.name.space) == query_.spaces.end())
            return;
        const auto key = std::make_tuple(party.name.space, party.labels, party.ports);
        const auto [place, fresh] = index_.emplace(key, groups_.size());
        if (fresh) groups_.emplace_back();
        Group& group = groups_[place->second];
        ++group.count;
        if (group.names.size() < kMembers) group.names.push_back(party.name.name);
        if (group.members.size() < 2) group.members.push_back(std::move(party));
    }

    void add_special(model::Party party, std::string name) {
        Group group;
        group.kind = party.kind;
        group.count = 1;
        group.names.push_back(std::move(name));
        group.members.push_back(std::move(party));
        groups_.push_back(std::move(group));
    }

    std::size_t title(const std::string& text) {
        const auto [place, fresh] = numbers_.emplace(text, titles_.size());
        if (fresh) titles_.push_back(text);
        return place->second;
    }

    json check(const model::Check& check) {
        json out{{"allowed", check.allowed}};
        if (!check.rule.empty()) out["rule"] = title(check.rule);
        if (!check.allowed && check.rule.empty()) {
            out["policies"] = json::array();
            for (const auto& policy : check.selecting)
                out["policies"].push_back(title(policy));
        }
        return out;
    }

    json cell(std::size_t from, std::size_t to) {
        const Group& source = groups_[from];
        const Group& destination = groups_[to];
        const bool pods =
            source.kind == model::Party::Kind::pod || destination.kind == model::Party::Kind::pod;
        // One workload with itself, and what no policy is about.
        if (!pods || (from == to && source.members.size() < 2)) return {};
        model::Query question;
        question.source = source.members.front();
        question.destination = from == to ? source.members[1] : destination.members.front();
        json ports = json::array();
        std::size_t allowed = 0;
        for (const auto& port : destination.ports) {
            question.protocol = port.protocol;
            question.port = port.port;
            const auto decision = model::evaluate(objects_, question);
            json one{{"protocol", model::to_string(port.protocol)},
                     {"port", port.port},
                     {"allowed", decision.allowed}};
            if (!port.name.empty()) one["name"] = port.name;
            if (port.other) one["other"] = true;
            if (decision.egress.isolated) one["egress"] = check(decision.egress);
            if (decision.ingress.isolated) one["ingress"] = check(decision.ingress);
            ports.push_back(std::move(one));
            allowed += decision.allowed ? 1 : 0;
        }
        const char* verdict = allowed == ports.size() ? "allowed"
                              : allowed == 0          ? "denied"
                                                      : "some";
        return {{"from", from}, {"to", to}, {"verdict", verdict}, {"ports", std::move(ports)}};
    }

    static json group_document(const Group& group) {
        const model::Party& party = group.members.front();
        json out{{"kind", group.kind == model::Party::Kind::pod    ? "workload"
                          : group.kind == model::Party::Kind::host ? "host"
                                                                   : "world"},
                 {"names", group.names},
                 {"count", group.count}};
        if (group.kind == model::Party::Kind::pod) {
            out["namespace"] = party.name.space;
            out["labels"] = party.labels;
        }
        return out;
    }

    const model::Objects& objects_;
    const api::MatrixQuery& query_;
    std::vector<Group> groups_;
    std::map<std::tuple<std::string, model::Labels, std::vector<model::NamedPort>>, std::size_t>
        index_;
    std::vector<std::string> titles_;
    std::map<std::string, std::size_t> numbers_;
    std::size_t more_ = 0;
    bool late_ = false;
};

} // namespace

json policy_matrix_document(const PolicyScene& scene, const api::MatrixQuery& query) {
    return Matrix(scene, query).document();
}

} // namespace beeline::agent
