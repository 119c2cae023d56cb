#include "observe/enrich.h"

#include "abi/drop.h"
#include "abi/identity.h"
#include "abi/policy.h"
#include "model/policy.h"

namespace beeline::observe {
namespace {

void mix(std::size_t& seed, std::size_t hash) {
    seed ^= hash + 0x9e3779b97f4a7c15U + (seed << 6) + (seed >> 2);
}

model::FlowEnd::Kind kind_of(std::uint32_t identity) {
    switch (identity) {
    case BL_ID_host: return model::FlowEnd::Kind::host;
    case BL_ID_remote_node:
    case BL_ID_kube_apiserver: return model::FlowEnd::Kind::remote;
    default: return model::FlowEnd::Kind::world;
    }
}

} // namespace

std::size_t Enricher::NamesHash::operator()(const Names& names) const noexcept {
    const std::hash<std::string> text;
    std::size_t seed = text(names.name);
    mix(seed, text(names.space));
    mix(seed, names.identity);
    mix(seed, names.endpoint);
    mix(seed, static_cast<std::size_t>(names.kind));
    for (const auto& [key, value] : names.labels) {
        mix(seed, text(key));
        mix(seed, text(value));
    }
    return seed;
}

bool Enricher::NamesEqual::operator()(const Names& a, const Names& b) const noexcept {
    return a.kind == b.kind && a.endpoint == b.endpoint && a.identity == b.identity &&
           a.space == b.space && a.name == b.name && a.labels == b.labels;
}

std::size_t
Enricher::TitlesHash::operator()(const std::vector<std::string>& titles) const noexcept {
    std::size_t seed = titles.size();
    for (const auto& title : titles)
        mix(seed, std::hash<std::string>{}(title));
    return seed;
}

Enricher::Enricher(std::string proc, std::string passwd, std::shared_ptr<DnsNames> names)
    : directory_(std::make_shared<model::Directory>()), remembered_(kRemembered),
      contexts_(kContexts), processes_(std::move(proc), Processes::kCapacity, std::move(passwd)),
      dns_(std::move(names)) {}

void Enricher::set_directory(std::shared_ptr<const model::Directory> directory) {
    if (!directory) directory = std::make_shared<model::Directory>();
    const std::lock_guard lock(mutex_);
    next_ = std::move(directory);
    changed_.store(true, std::memory_order_release);
}

void Enricher::refresh() {
    std::shared_ptr<const model::Directory> old = std::move(directory_);
    contexts_.clear();
    index_.reset();
    const std::lock_guard lock(mutex_);
    directory_ = std::move(next_);
    changed_.store(false, std::memory_order_relaxed);
}

Record Enricher::enrich(const FlowEvent& event) {
    if (changed_.load(std::memory_order_acquire)) refresh();
    Record record;
    record.kind = event.kind;
    record.packets = event.packets;
    record.bytes = event.bytes;
    record.port = event.port;
    record.tcp_flags = event.tcp_flags;
    record.icmp_type = event.icmp_type;
    record.icmp_code = event.icmp_code;
    record.process = {processes_.find(event.process[0]), processes_.find(event.process[1])};
    if (event.path.reason == BL_DROP_SERVICE_BACKEND_NOT_FOUND && event.path.service.is_zero()) {
        Path path = event.path; // refused before translation: the destination is the service
        path.service = path.destination;
        path.service_port = event.port[1];
        record.context = context(path);
    } else {
        record.context = context(event.path);
    }
    if (dns_ && !dns_->empty())
        record.context = with_names(std::move(record.context), event.time_ns);
    return record;
}

// Names come and go while the rest of a context stays.
std::shared_ptr<const Context> Enricher::with_names(std::shared_ptr<const Context> context,
                                                    std::uint64_t time_ns) {
    const Path& path = context->path;
    std::array<DnsNames::Names, 2> names;
    if (path.endpoint[1] != 0) names[0] = dns_->find(path.endpoint[1], path.source, time_ns);
    if (path.endpoint[0] != 0) {
        names[1] = dns_->find(path.endpoint[0], path.destination, time_ns);
        if (!names[1] && !path.service.is_zero()) // the name led to the service
            names[1] = dns_->find(path.endpoint[0], path.service, time_ns);
    }
    if (names == context->names) return context;
    auto named = std::make_shared<Context>(*context);
    named->names = std::move(names);
    if (auto* cached = contexts_.find(named->path)) *cached = named;
    return named;
}

std::shared_ptr<const Context> Enricher::context(const Path& path) {
    if (const auto* known = contexts_.find(path)) return *known;
    auto context = std::make_shared<Context>();
    context->path = path;
    context->source = names(path, 0);
    context->destination = names(path, 1);

    const auto rule_title = [&](std::uint32_t rule) -> std::shared_ptr<const std::string> {
        const auto found = directory_->rules.find(rule);
        if (rule == 0 || found == directory_->rules.end()) return nullptr;
        return strings_.get(found->second);
    };
    context->egress_rule = rule_title(path.rule[BL_DIR_EGRESS]);
    context->ingress_rule = rule_title(path.rule[BL_DIR_INGRESS]);

    if (!path.service.is_zero()) {
        const auto found =
            directory_->services.find({path.service, path.service_port, path.protocol});
        if (found != directory_->services.end()) context->service = strings_.get(found->second);
    }
    if (const auto found = directory_->interfaces.find(path.ifindex);
        found != directory_->interfaces.end())
        context->interface = strings_.get(found->second);

    // Denied without a rule: denied by all policies that isolate the workload in this direction.
    if (path.reason == BL_DROP_POLICY_DENIED && path.rule[path.direction] == 0) {
        const std::uint32_t subject = path.identity[path.direction == BL_DIR_EGRESS ? 0 : 1];
        if (const auto found = directory_->subjects.find(subject);
            found != directory_->subjects.end())
            context->denied_by = titles_.get(found->second.selecting[path.direction]);
    }
    return contexts_.put(path, std::move(context));
}

std::shared_ptr<const Names> Enricher::names(const Path& path, std::size_t side) {
    const std::uint32_t endpoint = path.endpoint[side];
    const Names* entry = lookup(path, side);
    Names names;
    if (entry) {
        names = *entry;
    } else if (endpoint != 0) {
        if (const auto* old = remembered_.find(endpoint)) names = **old;
        names.kind = model::FlowEnd::Kind::workload;
        names.endpoint = endpoint;
    } else if (side == 0 && path.cgroup != 0) {
        names.kind = model::FlowEnd::Kind::host;
    } else {
        names.kind = kind_of(path.identity[side]);
    }
    if (path.identity[side] != 0) names.identity = path.identity[side];

    auto shared = names_.get(names);
    if (entry && endpoint != 0) {
        if (auto* old = remembered_.find(endpoint)) {
            *old = shared;
        } else {
            remembered_.put(endpoint, shared);
        }
    }
    return shared;
}

// What the datapath said of the end decides; the directory, which may be older or newer than the event, only names
// it. An address that changed hands in between, or a forged one, must not lend a name to somebody else.
const Names* Enricher::lookup(const Path& path, std::size_t side) {
    const auto find = [](const auto& map, const auto& key) {
        const auto found = map.find(key);
        return found != map.end() ? found->second : nullptr;
    };
    const net::Ip& address = side == 0 ? path.source : path.destination;
    const auto found = directory_->by_address.find(address);
    const Names* entry = found != directory_->by_address.end() ? &found->second : nullptr;

    if (const std::uint32_t endpoint = path.endpoint[side]; endpoint != 0)
        return entry && entry->endpoint == endpoint ? entry : find(index().endpoints, endpoint);
    if (side == 0 && path.reason == BL_DROP_INVALID_SOURCE_IP) {
        // The sender is whom the interface belongs to; that of the receiver only let the packet out.
        const Names* sender = find(index().interfaces, path.ifindex);
        const Names* receiver = lookup(path, 1);
        return sender && receiver && sender->endpoint == receiver->endpoint ? nullptr : sender;
    }
    if (side == 0 && path.cgroup != 0) return find(index().cgroups, path.cgroup);
    const std::uint32_t identity = path.identity[side];
    const bool same =
        entry && (entry->endpoint == 0 || identity == 0 || entry->identity == identity);
    return same ? entry : nullptr;
}

const Enricher::Index& Enricher::index() {
    if (index_) return *index_;
    index_.emplace();
    for (const auto& [address, entry] : directory_->by_address) {
        if (entry.endpoint != 0) index_->endpoints.emplace(entry.endpoint, &entry);
        if (entry.ifindex != 0) index_->interfaces.emplace(entry.ifindex, &entry);
        if (entry.cgroup != 0) index_->cgroups.emplace(entry.cgroup, &entry);
    }
    return *index_;
}

} // namespace beeline::observe
