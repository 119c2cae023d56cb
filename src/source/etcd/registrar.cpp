#include "source/etcd/registrar.h"

#include <pthread.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "source/object_key.h"

namespace beeline::source {
namespace {

// The server takes 128 by default.
constexpr std::size_t kMostChanges = 100;
constexpr std::string_view kAgentAnnotation = "beeline.io/agent";

// Names, labels and addresses: no control characters are among them, read_value() refuses the rest.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string labels_text(const model::Labels& labels) {
    std::string out;
    for (const auto& [key, value] : labels)
        out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", quoted(key), quoted(value));
    return "{" + out + "}";
}

std::string node_text(const model::ClusterNode& node, std::string_view agent) {
    std::string ranges;
    for (const auto& range : node.pod_ranges)
        ranges += (ranges.empty() ? "" : ", ") + quoted(range.to_string());
    std::string addresses;
    for (const auto& address : node.addresses)
        addresses += fmt::format("{}{{\"type\": \"InternalIP\", \"address\": {}}}",
                                 addresses.empty() ? "" : ", ", quoted(address.to_string()));
    return fmt::format(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {{\"name\": {}, \"labels\": "
        "{}, \"annotations\": {{\"{}\": {}}}}}, \"spec\": {{\"podCIDRs\": [{}]}}, \"status\": "
        "{{\"addresses\": [{}], \"conditions\": [{{\"type\": \"Ready\", \"status\": \"{}\"}}]}}}}",
        quoted(node.name), labels_text(node.labels), kAgentAnnotation, quoted(agent), ranges,
        addresses, node.ready ? "True" : "False");
}

std::string_view protocol_text(model::Protocol protocol) {
    return protocol == model::Protocol::udp    ? "UDP"
           : protocol == model::Protocol::sctp ? "SCTP"
                                               : "TCP";
}

std::string pod_text(const model::Workload& workload, const std::vector<net::Ip>& addresses,
                     const std::string& node) {
    std::string ports;
    std::set<std::string> names;
    for (const auto& port : workload.ports) {
        if (!names.insert(port.name).second) continue;
        ports += fmt::format("{}{{\"name\": {}, \"containerPort\": {}, \"protocol\": \"{}\"}}",
                             ports.empty() ? "" : ", ", quoted(port.name), port.port,
                             protocol_text(port.protocol));
    }
    std::string ips;
    for (const auto& address : addresses)
        ips +=
            fmt::format("{}{{\"ip\": {}}}", ips.empty() ? "" : ", ", quoted(address.to_string()));
    return fmt::format(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": {}, \"namespace\": "
        "{}, \"labels\": {}}}, \"spec\": {{\"nodeName\": {}, \"containers\": [{{\"name\": "
        "\"main\", \"ports\": [{}]}}]}}, \"status\": {{\"phase\": \"Running\", \"podIPs\": [{}], "
        "\"conditions\": [{{\"type\": \"Ready\", \"status\": \"{}\"}}]}}}}",
        quoted(workload.name.name), quoted(workload.name.space), labels_text(workload.labels),
        quoted(node), ports, ips, workload.ready ? "True" : "False");
}

etcdpb::RequestOp put(const std::string& key, const std::string& text, std::int64_t lease) {
    etcdpb::RequestOp out;
    out.mutable_request_put()->set_key(key);
    out.mutable_request_put()->set_value(text);
    out.mutable_request_put()->set_lease(lease);
    return out;
}

bool overlap(const net::Prefix& a, const net::Prefix& b) { return a.contains(b) || b.contains(a); }

// What of another node cannot be beside ours; empty: all can.
std::string clash(const model::ClusterNode& own, const model::ClusterNode& other) {
    for (const auto& range : own.pod_ranges) {
        for (const auto& theirs : other.pod_ranges) {
            if (overlap(range, theirs))
                return fmt::format("its workloads' range {} overlaps {} of node '{}': give this "
                                   "node another one (network in beeline.yaml)",
                                   range.to_string(), theirs.to_string(), other.name);
        }
    }
    for (const auto& address : own.addresses) {
        if (std::find(other.addresses.begin(), other.addresses.end(), address) !=
            other.addresses.end())
            return fmt::format("its address {} is also that of node '{}'", address.to_string(),
                               other.name);
    }
    return "";
}

} // namespace

Announced manifests_of(const Announcement& announcement, std::string_view prefix,
                       std::string_view agent) {
    Announced out;
    const auto& node = announcement.node;
    out.node = node_text(node, agent);
    const StoredKey node_key{ObjectKind::node, {"", node.name}, ""};
    if (const auto read = read_value(node_key, out.node, "this node"); !read) {
        out.errors.push_back(read.error().message);
        out.node.clear();
        return out;
    }
    // Several interfaces of one workload are one Pod; a Pod has one address of each family.
    std::map<model::ObjectName, std::pair<const model::Workload*, std::vector<net::Ip>>> pods;
    for (const auto& workload : announcement.workloads) {
        auto& [first, addresses] = pods[workload.name];
        if (first == nullptr) first = &workload;
        for (const auto& address : workload.addresses) {
            if (std::none_of(addresses.begin(), addresses.end(),
                             [&](const auto& each) { return each.is_v4() == address.is_v4(); }))
                addresses.push_back(address);
        }
    }
    for (const auto& [name, pod] : pods) {
        if (pod.second.empty()) continue;
        auto text = pod_text(*pod.first, pod.second, node.name);
        const StoredKey key{ObjectKind::pod, name, node.name};
        const auto shown = fmt::format("workload {}", name.to_string());
        if (const auto read = read_value(key, text, shown); !read) {
            out.errors.push_back(read.error().message);
            continue;
        }
        out.workloads.emplace(workload_key(prefix, node.name, name), std::move(text));
    }
    return out;
}

EtcdRegistrar::EtcdRegistrar(EtcdOptions options, std::string agent,
                             std::function<void(Registration)> changed)
    : options_(std::move(options)), agent_(std::move(agent)),
      node_key_(object_key(options_.prefix, ObjectKind::node, {"", options_.node})),
      workloads_prefix_(fmt::format("{}/workloads/{}/", options_.prefix, options_.node)),
      changed_(std::move(changed)), client_(options_),
      pause_(options_.first_pause_ms, options_.longest_pause_ms) {
    if (const auto text = read_file(lease_file(), 64)) {
        (void)std::from_chars(text->data(), text->data() + text->size(), lease_);
    }
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), "etcd-registrar");
        run();
    });
}

EtcdRegistrar::~EtcdRegistrar() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    client_.stop();
    wake_.notify_all();
    thread_.join();
}

void EtcdRegistrar::set(Announced wanted) {
    {
        const std::lock_guard lock(mutex_);
        if (has_wanted_ && wanted == wanted_) return;
        wanted_ = std::move(wanted);
        has_wanted_ = true;
        news_ = true;
    }
    wake_.notify_all();
}

void EtcdRegistrar::tell(Registration now) {
    if (now == told_) return;
    if (now.state == Registration::State::registered && told_.state != now.state)
        log_info("registered in etcd", kv("key", node_key_), kv("lease", now.lease));
    if (!now.error.empty() && now.error != told_.error)
        log_error("not registered in etcd", kv("key", node_key_), kv("error", now.error));
    told_ = now;
    changed_(std::move(now));
}

void EtcdRegistrar::run() {
    for (;;) {
        Announced wanted;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stop_ || has_wanted_; });
            if (stop_) return;
            wanted = wanted_;
            news_ = false;
        }
        Result<> done;
        if (wanted.node.empty()) {
            done = fail(Code::invalid, "{}", wanted.errors.front());
        } else {
            done = renew();
            if (done) done = compare(wanted);
        }
        unsigned wait_ms = options_.lease_s * 1000 / 3;
        Registration now;
        now.lease = lease_;
        if (done) {
            pause_.reset();
            now.state = Registration::State::registered;
            now.keys = 1 + wanted.workloads.size();
            if (!wanted.errors.empty()) now.error = wanted.errors.front();
        } else {
            now.error = done.error().message;
            const bool refused =
                done.error().code == Code::exists || done.error().code == Code::invalid;
            if (refused) now.state = Registration::State::refused;
            wait_ms = std::min(wait_ms, pause_.next_ms());
        }
        {
            const std::lock_guard lock(mutex_);
            if (stop_) return;
        }
        tell(std::move(now));
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return stop_ || news_; });
        if (stop_) return;
    }
}

Result<> EtcdRegistrar::renew() {
    if (lease_ != 0 && TRY(client_.keep_alive(lease_)) > 0) return {};
    const auto grant = TRY(client_.grant(options_.lease_s));
    if (!grant.error().empty()) return fail(Code::unavailable, "no lease: {}", grant.error());
    if (lease_ != 0) log_warn("the lease in etcd had ended, a new one is taken", kv("old", lease_));
    lease_ = grant.id();
    checked_.clear();
    if (const auto kept = replace_file(lease_file(), fmt::format("{}", lease_), Durable::no); !kept)
        log_warn("the lease cannot be kept for a restart", kv("error", kept.error().message));
    return {};
}

// Two machines with overlapping addresses would each get packets of the other.
Result<> EtcdRegistrar::check_others(const Announced& wanted) {
    if (checked_ == wanted.node) return {};
    const StoredKey own_key{ObjectKind::node, {"", options_.node}, ""};
    const auto own = TRY(read_value(own_key, wanted.node, "this node"));
    etcdpb::RangeRequest request;
    request.set_key(options_.prefix + "/nodes/");
    request.set_range_end(range_end(options_.prefix + "/nodes/"));
    const auto answer = TRY(client_.range(request));
    for (const auto& each : answer.kvs()) {
        if (each.key() == node_key_) continue;
        const auto key = parse_key(options_.prefix, each.key());
        if (!key || key->kind != ObjectKind::node) continue;
        const auto other = read_value(*key, each.value(), each.key());
        if (!other) continue;
        const auto problem = clash(std::get<model::ClusterNode>(own.object),
                                   std::get<model::ClusterNode>(other->object));
        if (!problem.empty()) return fail(Code::exists, "this node is not registered: {}", problem);
    }
    checked_ = wanted.node;
    return {};
}

Result<> EtcdRegistrar::compare(const Announced& wanted) {
    etcdpb::TxnRequest look;
    look.add_success()->mutable_request_range()->set_key(node_key_);
    auto* workloads = look.add_success()->mutable_request_range();
    workloads->set_key(workloads_prefix_);
    workloads->set_range_end(range_end(workloads_prefix_));
    const auto seen = TRY(client_.txn(look));
    if (seen.responses_size() != 2) return fail(Code::unavailable, "etcd gave half an answer");

    std::vector<etcdpb::RequestOp> changes;
    std::int64_t node_revision = 0;
    bool node_right = false;
    for (const auto& each : seen.responses(0).response_range().kvs()) {
        node_revision = each.mod_revision();
        const bool ours = each.value().find(agent_) != std::string::npos;
        if (!ours) {
            return fail(Code::exists,
                        "this node is not registered: another machine is node '{}' already: give "
                        "this one another name (node in beeline.yaml), or remove {}",
                        options_.node, node_key_);
        }
        node_right = each.lease() == lease_ && each.value() == wanted.node;
    }
    TRY(check_others(wanted));
    if (!node_right) changes.push_back(put(node_key_, wanted.node, lease_));
    std::set<std::string> right;
    for (const auto& each : seen.responses(1).response_range().kvs()) {
        const auto known = wanted.workloads.find(each.key());
        if (known == wanted.workloads.end()) {
            etcdpb::RequestOp gone;
            gone.mutable_request_delete_range()->set_key(each.key());
            changes.push_back(std::move(gone));
        } else if (each.lease() == lease_ && each.value() == known->second) {
            right.insert(each.key());
        }
    }
    for (const auto& [key, text] : wanted.workloads) {
        if (!right.contains(key)) changes.push_back(put(key, text, lease_));
    }
    return write(changes, node_revision);
}

Result<> EtcdRegistrar::write(const std::vector<etcdpb::RequestOp>& changes,
                              std::int64_t node_revision) {
    for (std::size_t begin = 0; begin < changes.size(); begin += kMostChanges) {
        etcdpb::TxnRequest request;
        // Only as long as nobody else has come to be this node.
        auto* compare = request.add_compare();
        compare->set_key(node_key_);
        if (begin == 0) {
            compare->set_target(etcdpb::Compare::MOD);
            compare->set_mod_revision(node_revision);
        } else {
            compare->set_target(etcdpb::Compare::LEASE);
            compare->set_lease(lease_);
        }
        const auto end = std::min(changes.size(), begin + kMostChanges);
        for (std::size_t i = begin; i < end; ++i)
            *request.add_success() = changes[i];
        const auto answer = client_.txn(request);
        if (!answer &&
            answer.error().message.find("requested lease not found") != std::string::npos)
            return fail(Code::unavailable, "the lease ended");
        if (!answer) return Failure(answer.error());
        if (!answer->succeeded())
            return fail(Code::unavailable, "{} was changed by others at the same time", node_key_);
    }
    return {};
}

} // namespace beeline::source
