#include "cli/connectivity_run.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "cli/flow_text.h"
#include "cli/json_view.h"
#include "cli/runtime_supervise.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kFlowWait = 5s;
constexpr auto kPolicyWait = 3s; // until the agent's answer is that of the policy that was applied
constexpr auto kRecoverWait = 10s; // TCP tries again ever more seldom

void write_json(int fd, const json& value) {
    const auto text = value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto size = ::write(fd, rest.data(), rest.size());
        if (size <= 0) return;
        rest.remove_prefix(static_cast<std::size_t>(size));
    }
}

std::string probe_text(ProbeKind kind) {
    switch (kind) {
    case ProbeKind::udp:
    case ProbeKind::dns: return "udp";
    case ProbeKind::ping: return "icmp";
    case ProbeKind::tcp:
    case ProbeKind::bulk:
    case ProbeKind::dns_tcp: return "tcp";
    }
    return "tcp";
}

bool is_refusal(const std::string& error) { return error == "ECONNREFUSED" || error == "EPERM"; }

bool contains(const std::vector<std::string>& all, const std::string& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}

std::string policy_title(const std::string& name) {
    return fmt::format("NetworkPolicy {}/{}", kTestSpace, name);
}

// Does the answer say that this policy denies it?
bool names_policy(const json& why, const std::string& title) {
    for (const char* direction : {"egress", "ingress"}) {
        const json& check = member(member(why, "policy"), direction);
        if (check.is_object() && !flag(check, "allowed") &&
            contains(texts(check, "policies"), title))
            return true;
    }
    return false;
}

class Runner {
public:
    Runner(ConnectivityBed& bed, const api::Client& client, const ConnectivityOptions& options)
        : bed_(bed), client_(client), options_(options) {}

    std::vector<CaseResult> run(const std::vector<const Case*>& cases);

private:
    struct Active {
        std::size_t index;
        TestChild child;
        std::string answer;
    };

    static bool is_live(const Case& one) {
        return one.check == Check::live_added || one.check == Check::live_removed;
    }
    [[nodiscard]] Probe probe_of(const Case& one, const Endpoint& target) const;
    Result<TestChild> begin(const Case& one, const Endpoint& target);
    void finish(CaseResult& result, const ProbeResult& found, const Endpoint& target);
    std::string judge_drop(const Case& one, const ProbeResult& found, const Endpoint& target,
                           json& why);
    std::string judge_flow(const Case& one, const Endpoint& target);
    std::string run_live(const Case& one, const Endpoint& target);
    std::string watch_live(const Case& one, const Endpoint& target, TestChild& child);
    Result<json> ask_why(const Case& one, const Endpoint& target);
    void explain(CaseResult& result, const Endpoint& target);
    void take_answers(std::vector<Active>& active, std::vector<CaseResult>& results);
    void report(CaseResult& result) const {
        if (options_.finished) options_.finished(result);
    }

    ConnectivityBed& bed_;
    const api::Client& client_;
    const ConnectivityOptions& options_;
};

Probe Runner::probe_of(const Case& one, const Endpoint& target) const {
    Probe wanted{.kind = one.kind,
                 .address = target.address,
                 .port = target.port,
                 .count = one.count,
                 .size = one.size,
                 .whole = one.whole_mtu,
                 .dns_name = one.dns_name,
                 .timeout = one.expect == Expect::dropped ? options_.drop_wait : options_.timeout};
    const bool v4 = one.family == Family::v4;
    if (one.whole_mtu) wanted.size = bed_.mtu() - (v4 ? 28U : 48U); // headers of IP and UDP or ICMP
    return wanted;
}

Result<TestChild> Runner::begin(const Case& one, const Endpoint& target) {
    const auto wanted = probe_of(one, target);
    return bed_.spawn(one.from, [&](int, int out) { write_json(out, to_json(probe(wanted))); });
}

Result<json> Runner::ask_why(const Case& one, const Endpoint& target) {
    api::Parameters parameters{
        {"source", bed_.known_as(one.from)},
        {"destination", one.to == "host" ? "host" : target.address.to_string()},
        {"protocol", probe_text(one.kind)}};
    if (one.kind == ProbeKind::ping && one.family == Family::v6)
        parameters.back().second = "icmpv6";
    if (target.port != 0) parameters.emplace_back("port", std::to_string(target.port));
    return client_.get(api::url("/v1/why", parameters));
}

void Runner::explain(CaseResult& result, const Endpoint& target) {
    if (result.why.is_null()) {
        auto why = ask_why(*result.test, target);
        if (!why) {
            result.findings.push_back("the agent could not say why: " + why.error().message);
            return;
        }
        result.why = std::move(*why);
    }
    result.findings = findings_of(result.why);
}

std::string Runner::judge_drop(const Case& one, const ProbeResult& found, const Endpoint& target,
                               json& why) {
    if (found.error != "TIMEOUT")
        return found.error.empty() ? "answered, though a policy should have denied it"
                                   : fmt::format("{} instead of silence", found.error);
    const auto title = policy_title(one.denied_by);
    auto answer = ask_why(one, target);
    if (!answer) return "dropped, but the agent could not say why: " + answer.error().message;
    if (names_policy(*answer, title)) return {};
    why = std::move(*answer);
    return fmt::format("no answer, but not because of {}: {}", title, text(why, "reason"));
}

std::string Runner::judge_flow(const Case& one, const Endpoint& target) {
    const bool dropped = one.expect == Expect::dropped;
    const auto path = api::url("/v1/flows", {{"pod", bed_.known_as(one.from)},
                                             {"to_pod", bed_.known_as(one.to)},
                                             {"port", std::to_string(target.port)},
                                             {"verdict", dropped ? "dropped" : "forwarded"},
                                             {"last", "20"}});
    const auto until = Clock::now() + kFlowWait;
    for (;;) {
        bool seen = false;
        auto done = client_.stream(path, [&](std::string_view line) {
            const auto flow = json::parse(line, nullptr, false);
            if (text(member(flow, "destination"), "address") != target.address.to_string())
                return true;
            seen =
                seen || !dropped || contains(texts(flow, "denied_by"), policy_title(one.denied_by));
            return true;
        });
        if (!done) return done.error().message;
        if (seen) return {};
        if (Clock::now() > until || options_.interrupted())
            return dropped ? fmt::format("no flow of a drop names {}", policy_title(one.denied_by))
                           : "no flow shows the connection";
        std::this_thread::sleep_for(50ms);
    }
}

void Runner::finish(CaseResult& result, const ProbeResult& found, const Endpoint& target) {
    const Case& one = *result.test;
    result.took_us = found.took_us;
    if (one.expect == Expect::dropped) {
        result.reason = judge_drop(one, found, target, result.why);
    } else {
        std::vector<std::string> expected;
        for (const auto& server : one.servers)
            if (const auto address = bed_.address(server, one.family))
                expected.push_back(address->to_string());
        const auto own = bed_.address(one.from, one.family);
        result.reason = judge_answer(one, found, expected, own ? own->to_string() : "",
                                     target.address.to_string());
    }
    if (result.reason.empty() && one.check == Check::flow_seen)
        result.reason = judge_flow(one, target);
    result.outcome = result.reason.empty() ? Outcome::passed : Outcome::failed;
    if (result.outcome == Outcome::failed) explain(result, target);
    report(result);
}

// --- connections that stay open ----------------------------------------------------------------

// One request over the connection that the child holds.
std::string ask_child(TestChild& child, std::chrono::milliseconds timeout) {
    write_json(child.to.get(), timeout.count());
    std::string line;
    for (char c = 0; ::read(child.from.get(), &c, 1) == 1;) {
        if (c == '\n') return line;
        line += c;
    }
    return "the client was killed";
}

void hold_connection(const Endpoint& target, std::chrono::milliseconds timeout, int in, int out) {
    auto connection = HeldConnection::open(target.address, target.port, timeout);
    std::string line;
    for (char c = 0; ::read(in, &c, 1) == 1;) {
        if (c != '\n') {
            line += c;
            continue;
        }
        const std::chrono::milliseconds wait(std::strtol(line.c_str(), nullptr, 10));
        line.clear();
        auto error = connection.error().empty() ? connection.request(wait) : connection.error();
        error += '\n';
        if (::write(out, error.data(), error.size()) < 0) return;
    }
}

std::string Runner::watch_live(const Case& one, const Endpoint& target, TestChild& child) {
    if (auto error = ask_child(child, options_.timeout); !error.empty())
        return error + " before the policy was applied";
    if (auto done = bed_.apply(one.objects.front()); !done) return done.error().message;
    std::string error = ask_child(child, options_.drop_wait);
    if (error.empty()) return "the connection goes on although the policy forbids it";
    const auto until = Clock::now() + kPolicyWait;
    for (;;) {
        const auto why = ask_why(one, target);
        if (why && names_policy(*why, policy_title("live"))) break;
        if (Clock::now() > until || options_.interrupted())
            return "no answer, but the agent does not name the policy that was applied";
        std::this_thread::sleep_for(20ms);
    }
    if (one.check == Check::live_added) return {};
    if (auto done = bed_.remove(one.objects.front()); !done) return done.error().message;
    error = ask_child(child, kRecoverWait);
    return error.empty() ? error : error + " although the policy is gone";
}

std::string Runner::run_live(const Case& one, const Endpoint& target) {
    const auto timeout = options_.timeout;
    auto child =
        bed_.spawn(one.from, [&](int in, int out) { hold_connection(target, timeout, in, out); });
    if (!child) return child.error().message;
    auto reason = watch_live(one, target, *child);
    (void)bed_.remove(one.objects.front()); // gone already after most of them
    return reason;
}

// --- all ---------------------------------------------------------------------------------------

void Runner::take_answers(std::vector<Active>& active, std::vector<CaseResult>& results) {
    std::vector<pollfd> polled;
    for (const auto& one : active)
        polled.push_back({.fd = one.child.from.get(), .events = POLLIN, .revents = 0});
    if (::poll(polled.data(), polled.size(), 200) <= 0) return;
    for (std::size_t i = 0; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        std::array<char, 4096> buffer;
        const auto size = ::read(polled[i].fd, buffer.data(), buffer.size());
        if (size > 0) {
            active[i].answer.append(buffer.data(), static_cast<std::size_t>(size));
            continue;
        }
        auto& result = results[active[i].index];
        const auto found = probe_result_from_json(json::parse(active[i].answer, nullptr, false));
        active[i].child = {};
        finish(result, found, *bed_.target(*result.test));
    }
    std::erase_if(active, [](const Active& one) { return one.child.pid == 0; });
}

std::vector<CaseResult> Runner::run(const std::vector<const Case*>& cases) {
    std::vector<CaseResult> results;
    std::vector<std::size_t> waiting;
    std::vector<std::size_t> live;
    for (const auto* one : cases) {
        (is_live(*one) ? live : waiting).push_back(results.size());
        results.emplace_back().test = one;
    }
    std::vector<bool> done(results.size());
    const auto not_there = [&](CaseResult& result) {
        result.outcome = Outcome::failed;
        result.reason = fmt::format("{} does not run, or has no such address", result.test->to);
        report(result);
    };
    std::reverse(waiting.begin(), waiting.end());
    std::vector<Active> active;
    while (!options_.interrupted() && !(waiting.empty() && active.empty())) {
        while (!waiting.empty() && active.size() < options_.parallel) {
            const auto index = waiting.back();
            waiting.pop_back();
            done[index] = true;
            auto& result = results[index];
            const auto target = bed_.target(*result.test);
            if (!target) {
                not_there(result);
                continue;
            }
            auto child = begin(*result.test, *target);
            if (child) {
                active.push_back({index, std::move(*child), {}});
            } else {
                result.outcome = Outcome::failed;
                result.reason = child.error().message;
                report(result);
            }
        }
        if (!active.empty()) take_answers(active, results);
    }
    for (const auto& one : active)
        done[one.index] = false;
    for (const auto index : live) {
        if (options_.interrupted()) break;
        done[index] = true;
        auto& result = results[index];
        const auto target = bed_.target(*result.test);
        if (!target) {
            not_there(result);
            continue;
        }
        const auto started = Clock::now();
        result.reason = run_live(*result.test, *target);
        result.took_us = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started).count());
        result.outcome = result.reason.empty() ? Outcome::passed : Outcome::failed;
        if (result.outcome == Outcome::failed) explain(result, *target);
        report(result);
    }
    std::size_t index = 0;
    std::erase_if(results, [&](const CaseResult&) { return !done[index++]; });
    return results;
}

} // namespace

std::vector<CaseResult> run_cases(ConnectivityBed& bed, const api::Client& client,
                                  const std::vector<const Case*>& cases,
                                  const ConnectivityOptions& options) {
    return Runner(bed, client, options).run(cases);
}

std::string judge_answer(const Case& one, const ProbeResult& result,
                         const std::vector<std::string>& expected_addresses,
                         const std::string& own_address, const std::string& asked_address) {
    if (one.expect == Expect::refused) {
        if (is_refusal(result.error)) return {};
        return result.error.empty() ? "answered, though nobody should have"
                                    : fmt::format("{} instead of being refused", result.error);
    }
    if (result.error == "TIMEOUT") return fmt::format("no answer in {} ms", result.took_us / 1000);
    if (!result.error.empty()) return result.error;
    switch (one.check) {
    case Check::own_address:
        if (result.client != own_address)
            return fmt::format("the server saw {} instead of {}", result.client, own_address);
        break;
    case Check::from_target:
        if (result.from != asked_address)
            return fmt::format("the answer came from {} instead of {}", result.from, asked_address);
        break;
    case Check::one_server:
        if (result.servers.size() != 1)
            return fmt::format("answers came from {}", fmt::join(result.servers, " and "));
        break;
    case Check::all_servers:
        for (const auto& server : one.servers) {
            if (!contains(result.servers, server))
                return fmt::format("{} never answered, only {}", server,
                                   fmt::join(result.servers, ", "));
        }
        if (result.servers.size() > one.servers.size())
            return fmt::format("answers came also from others: {}",
                               fmt::join(result.servers, ", "));
        break;
    case Check::dns_targets: {
        auto found = result.addresses;
        auto expected = expected_addresses;
        std::sort(found.begin(), found.end());
        std::sort(expected.begin(), expected.end());
        if (found != expected)
            return fmt::format("the name led to '{}' instead of '{}'", fmt::join(found, " "),
                               fmt::join(expected, " "));
        break;
    }
    case Check::dns_unknown:
        if (result.dns_code != 3) return fmt::format("code {} instead of 3", result.dns_code);
        break;
    case Check::dns_truncated:
        if (!result.truncated) return "the answer does not say that it is not whole";
        break;
    case Check::dns_many:
        if (result.truncated || result.addresses.size() != 60)
            return fmt::format("{} addresses instead of 60", result.addresses.size());
        break;
    case Check::none:
    case Check::flow_seen:
    case Check::live_added:
    case Check::live_removed: break;
    }
    return {};
}

std::vector<std::string> findings_of(const json& why) {
    std::vector<std::string> lines;
    const auto port = text(why, "port");
    const auto end = [&](const char* which) {
        const json& one = member(why, which);
        std::string name = object_name(one);
        const auto address = text(one, "address");
        if (name.empty()) name = text(one, "kind");
        return address.empty() ? name : name + " " + address;
    };
    lines.push_back(fmt::format("{} -> {} {}{}", end("source"), end("destination"),
                                text(why, "protocol"), port.empty() ? "" : ":" + port));
    lines.push_back(fmt::format("{}: {}", text(why, "verdict"), text(why, "reason")));
    if (const json& service = member(why, "service"); service.is_object()) {
        std::vector<std::string> backends;
        for (const auto& one : list(service, "backends"))
            backends.push_back(text(one, "workload") + " " +
                               address_port(text(one, "address"), number(one, "port")));
        lines.push_back(fmt::format("service {}: backends {}", text(service, "name"),
                                    backends.empty() ? "none" : joined(backends, ", ")));
    }
    const json& policy = member(why, "policy");
    for (const char* direction : {"egress", "ingress"}) {
        const json& check = member(policy, direction);
        if (!check.is_object()) continue;
        const auto rule = text(check, "rule");
        const auto policies = joined(texts(check, "policies"), ", ");
        if (!rule.empty())
            lines.push_back(fmt::format("{}: {} by {}", direction,
                                        flag(check, "allowed") ? "allowed" : "denied", rule));
        else if (!flag(check, "allowed"))
            lines.push_back(
                fmt::format("{}: no rule allows it; isolated by {}", direction, policies));
    }
    if (const json& kernel = member(policy, "kernel");
        kernel.is_object() && flag(kernel, "allowed") != flag(policy, "allowed"))
        lines.push_back(fmt::format("the datapath's maps say {}: a change is on its way, or this "
                                    "is a mistake of Beeline",
                                    flag(kernel, "allowed") ? "allowed" : "denied"));
    const json& flows = member(why, "flows");
    for (const auto& [reason, count] : member(flows, "reasons").items())
        lines.push_back(fmt::format("dropped {} times: {}", text(count), reason));
    return lines;
}

} // namespace beeline::cli
