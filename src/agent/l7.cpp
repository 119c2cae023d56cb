#include "agent/l7.h"

#include "abi/drop.h"
#include "base/log.h"
#include "model/party.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

json counts_of(const observe::l7::Stats& stats) {
    json messages = json::object();
    for (std::size_t i = 0; i < stats.messages.size(); ++i) {
        if (stats.messages[i] == 0) continue;
        messages[std::string(to_string(static_cast<model::L7::Protocol>(i)))] = stats.messages[i];
    }
    json given_up = json::object();
    for (std::size_t i = 0; i < stats.given_up.size(); ++i) {
        if (stats.given_up[i] == 0) continue;
        given_up[std::string(observe::l7::name_of(static_cast<observe::l7::GiveUp>(i)))] =
            stats.given_up[i];
    }
    return {{"chunks", stats.chunks},
            {"bytes", stats.bytes},
            {"missing", stats.missing},
            {"repeated", stats.repeated},
            {"reordered", stats.reordered},
            {"holes", stats.holes},
            {"resyncs", stats.resyncs},
            {"unanswered", stats.unanswered},
            {"messages", messages},
            {"given_up", given_up},
            {"connections", stats.connections},
            {"memory", stats.memory}};
}

} // namespace

Result<std::unique_ptr<L7>> L7::start(const L7Config& config, const datapath::Kernel& kernel,
                                      observe::Store& store,
                                      std::shared_ptr<observe::DnsNames> names,
                                      std::string cgroup_mount) {
    std::unique_ptr<L7> l7(new L7(config, TRY(datapath::L7::of(kernel))));
    observe::L7Datapath datapath;
    datapath.connection = [maps = l7->maps_](const bl_flow_key& ends) {
        return maps.connection(ends);
    };
    datapath.stop = [maps = l7->maps_](const bl_flow_key& ends, std::uint64_t opened_ns) {
        maps.stop(ends, opened_ns);
    };
    l7->ingest_ = std::make_unique<observe::L7Ingest>(store, config.options, std::move(datapath),
                                                      std::move(names));
    l7->ring_ = TRY(ebpf::Ring::open(l7->maps_.ring()));
    observe::RingSource source;
    source.fd = l7->ring_->fd();
    source.consume = [raw = l7.get()](const observe::RingSource::Handler& handler) {
        return raw->ring_->consume(handler);
    };
    source.lost = [&kernel] {
        const auto metrics = kernel.metrics();
        return metrics ? (*metrics)[BL_METRIC_l7_lost] : 0;
    };
    l7->consumer_ = TRY(observe::Consumer::start(*l7->ingest_, std::move(source), "bl-l7"));
    l7->cgroup_mount_ = std::move(cgroup_mount);
    if (!config.tls) return l7;
    auto tls = TlsWatch::start(kernel);
    if (tls) {
        l7->tls_ = std::move(*tls);
    } else {
        l7->tls_error_ = tls.error().message;
        log_warn("TLS cannot be read", kv("why", l7->tls_error_));
    }
    return l7;
}

L7::~L7() = default;

void L7::set_directory(std::shared_ptr<const model::Directory> directory) {
    ingest_->set_directory(std::move(directory));
}

void L7::set_workloads(const std::vector<model::Workload>& workloads,
                       const model::Objects& objects) {
    observe::L7Ingest::Chosen chosen;
    std::unordered_map<std::uint32_t, datapath::L7::Limits> accounts;
    std::vector<TlsWatch::Place> places;
    for (const auto& workload : workloads) {
        const auto protocols = model::l7_protocols(config_.choice, workload, objects);
        if (protocols == 0) continue;
        chosen.emplace(workload.id, protocols);
        accounts[workload.id] = {config_.bytes_per_second, config_.bytes_per_second,
                                 config_.bytes_of_client, config_.bytes_of_server};
        const bool has_cgroup = !workload.cgroup.empty() && !cgroup_mount_.empty();
        places.push_back({has_cgroup ? cgroup_mount_ + "/" + workload.cgroup : "", workload.pid});
    }
    if (tls_) tls_->set_places(std::move(places));
    if (const auto done = maps_.set_accounts(accounts); !done)
        log_error("payload accounts are not as wanted", kv("error", done.error().message));
    if (chosen == *chosen_) return;
    chosen_ = std::make_shared<const observe::L7Ingest::Chosen>(std::move(chosen));
    ingest_->set_chosen(chosen_);
}

json L7::status() const {
    const auto counts = ingest_->counts();
    json out = counts_of(counts.tracker);
    out["workloads"] = chosen_->size();
    out["stored"] = counts.messages;
    out["unwanted"] = counts.unwanted;
    out["unknown"] = counts.unknown;
    out["after_stop"] = counts.after_stop;
    out["refused"] = counts.refused;
    out["forgotten"] = counts.forgotten;
    out["dns_names"] = counts.dns_names;
    if (tls_) {
        const auto tls = tls_->counts();
        out["tls"] = {{"files", tls.files}, {"failed", tls.failed}};
    } else {
        out["tls"] = {{"files", 0}, {"error", tls_error_}};
    }
    bl_l7_account sum{};
    if (const auto accounts = maps_.accounts()) {
        for (const auto& [workload, account] : *accounts) {
            sum.chunks += account.chunks;
            sum.bytes += account.bytes;
            sum.over += account.over;
            sum.over_bytes += account.over_bytes;
            sum.lost += account.lost;
        }
    }
    out["captured"] = {{"chunks", sum.chunks},
                       {"bytes", sum.bytes},
                       {"over_budget", sum.over},
                       {"over_budget_bytes", sum.over_bytes},
                       {"lost_in_ring", sum.lost}};
    return out;
}

} // namespace beeline::agent
