#include "datapath/workloads.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"

namespace beeline::datapath {
namespace {

using nlohmann::json;

// Ids are reserved on disk in blocks, so that most workloads need no write for theirs.
constexpr std::uint32_t kIdBlock = 64;
constexpr std::string_view kIdFile = "ids";

} // namespace

std::string workload_to_json(const model::Workload& w) {
    json ports = json::array();
    for (const auto& port : w.ports) {
        ports.push_back({{"name", port.name},
                         {"protocol", static_cast<unsigned>(port.protocol)},
                         {"port", port.port}});
    }
    json host_ports = json::array();
    for (const auto& port : w.host_ports) {
        host_ports.push_back({{"address", port.address.is_zero() ? "" : port.address.to_string()},
                              {"v4", port.v4},
                              {"v6", port.v6},
                              {"protocol", static_cast<unsigned>(port.protocol)},
                              {"port", port.port},
                              {"target", port.target}});
    }
    const auto rate = [](const model::Rate& one) {
        return json{{"rate", one.bits_per_second}, {"burst", one.burst_bits}};
    };
    json addresses = json::array();
    for (const auto& ip : w.addresses)
        addresses.push_back(ip.to_string());
    const json record{
        {"id", w.id},
        {"namespace", w.name.space},
        {"name", w.name.name},
        {"labels", w.labels},
        {"ports", ports},
        {"addresses", addresses},
        {"container", w.container},
        {"interface", w.interface},
        {"host_interface", w.host_interface},
        {"network", w.network},
        {"ifindex", w.ifindex},
        {"mac", net::to_string(w.mac)},
        {"netns", w.netns},
        {"netns_inode", w.netns_inode},
        {"cgroup", w.cgroup},
        {"cgroup_id", w.cgroup_id},
        {"pid", w.pid},
        {"source", w.source},
        {"created", w.created},
        {"ready", w.ready},
        {"chained", w.chained},
        {"host_ports", host_ports},
        {"bandwidth",
         {{"ingress", rate(w.bandwidth.ingress)}, {"egress", rate(w.bandwidth.egress)}}}};
    // Labels and names come from outside: what is not UTF-8 must not throw.
    return record.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Absent in records of earlier versions. Throws what the library throws.
Result<> read_capabilities(const json& record, model::Workload& w) {
    for (const auto& one : record.value("host_ports", json::array())) {
        model::HostPort port;
        if (const auto address = one.at("address").get<std::string>(); !address.empty())
            port.address = TRY(net::Ip::parse(address));
        one.at("v4").get_to(port.v4);
        one.at("v6").get_to(port.v6);
        port.protocol = static_cast<model::Protocol>(one.at("protocol").get<std::uint8_t>());
        one.at("port").get_to(port.port);
        one.at("target").get_to(port.target);
        w.host_ports.push_back(port);
    }
    if (!record.contains("bandwidth")) return {};
    for (const auto& [name, rate] :
         {std::pair{"ingress", &w.bandwidth.ingress}, std::pair{"egress", &w.bandwidth.egress}}) {
        record.at("bandwidth").at(name).at("rate").get_to(rate->bits_per_second);
        record.at("bandwidth").at(name).at("burst").get_to(rate->burst_bits);
    }
    return {};
}

Result<model::Workload> workload_from_json(std::string_view text) {
    try {
        const json record = json::parse(text);
        model::Workload w;
        record.at("id").get_to(w.id);
        record.at("namespace").get_to(w.name.space);
        record.at("name").get_to(w.name.name);
        record.at("labels").get_to(w.labels);
        for (const auto& port : record.at("ports")) {
            w.ports.push_back(
                {port.at("name"),
                 static_cast<model::Protocol>(port.at("protocol").get<std::uint8_t>()),
                 port.at("port")});
        }
        for (const auto& address : record.at("addresses")) {
            w.addresses.push_back(TRY(net::Ip::parse(address.get<std::string>())));
        }
        record.at("container").get_to(w.container);
        record.at("interface").get_to(w.interface);
        record.at("host_interface").get_to(w.host_interface);
        record.at("network").get_to(w.network);
        record.at("ifindex").get_to(w.ifindex);
        w.mac = TRY(net::parse_mac(record.at("mac").get<std::string>()));
        record.at("netns").get_to(w.netns);
        record.at("netns_inode").get_to(w.netns_inode);
        record.at("cgroup").get_to(w.cgroup);
        record.at("cgroup_id").get_to(w.cgroup_id);
        record.at("pid").get_to(w.pid);
        record.at("source").get_to(w.source);
        record.at("created").get_to(w.created);
        record.at("ready").get_to(w.ready);
        record.at("chained").get_to(w.chained);
        TRY(read_capabilities(record, w));
        if (w.id == 0 || w.container.empty())
            return fail(Code::invalid, "a workload needs an id and a container");
        return w;
    } catch (const json::exception& error) {
        return fail(Code::invalid, "{}", error.what());
    }
}

Result<std::unique_ptr<Workloads>> Workloads::open(std::string folder, Hooks hooks,
                                                   const Alive& alive) {
    std::unique_ptr<Workloads> workloads(new Workloads(std::move(folder), std::move(hooks)));
    TRY(workloads->load(alive));
    return workloads;
}

std::string Workloads::file_of(std::uint32_t id) const {
    return fmt::format("{}/{}.json", folder_, id);
}

Result<> Workloads::load(const Alive& alive) {
    TRY(make_folder(folder_));
    if (const auto text = read_file(fmt::format("{}/{}", folder_, kIdFile))) {
        std::from_chars(text->data(), text->data() + text->size(), last_id_);
    }
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        const std::string path = entry.path();
        const std::string name = entry.path().filename();
        if (name.starts_with(".")) { // of a write that a crash ended
            ::unlink(path.c_str());
            continue;
        }
        if (!name.ends_with(".json")) continue;
        const auto text = read_file(path);
        auto workload =
            text ? workload_from_json(*text) : Result<model::Workload>(Failure(text.error()));
        if (!workload) {
            log_warn("workload record cannot be read: dropped", kv("file", path),
                     kv("error", workload.error().message));
            ::unlink(path.c_str());
            continue;
        }
        last_id_ = std::max(last_id_, workload->id);
        const Key key{workload->container, workload->interface};
        if (workloads_.contains(key) || !alive(*workload)) {
            log_info("workload is gone", kv("workload", workload->name.to_string()),
                     kv("container", workload->container));
            ::unlink(path.c_str());
            dropped_.push_back(std::move(*workload));
            continue;
        }
        ids_[workload->id] = key;
        workloads_[key] = std::move(*workload);
    }
    if (error) return fail_errno(error.value(), fmt::format("read '{}'", folder_));
    reserved_id_ = last_id_;
    return {};
}

Result<std::uint32_t> Workloads::next_id() {
    if (last_id_ == reserved_id_) {
        // Ids wrap after four thousand million workloads; those in use are passed over below.
        const std::uint32_t reserve = last_id_ + kIdBlock;
        TRY(replace_file(fmt::format("{}/{}", folder_, kIdFile), fmt::format("{}\n", reserve),
                         Durable::no));
        reserved_id_ = reserve;
    }
    ++last_id_;
    if (last_id_ == 0 || ids_.contains(last_id_)) return next_id();
    return last_id_;
}

Result<const model::Workload*> Workloads::add(model::Workload workload) {
    const Key key{workload.container, workload.interface};
    if (workloads_.contains(key)) {
        return fail(Code::exists, "container {} has an interface {} already", workload.container,
                    workload.interface);
    }
    workload.id = TRY(next_id());
    // Not synced: no workload outlives the machine's crash.
    TRY(replace_file(file_of(workload.id), workload_to_json(workload), Durable::no));
    const std::uint32_t id = workload.id;
    auto& stored = workloads_[key] = std::move(workload);
    ids_[id] = key;
    if (hooks_.attach) {
        if (const auto attached = hooks_.attach(stored); !attached) {
            remove(key.first, key.second);
            return Failure(attached.error());
        }
    }
    return &stored;
}

void Workloads::remove(const std::string& container, const std::string& interface) {
    const auto found = workloads_.find({container, interface});
    if (found == workloads_.end()) return;
    // Out of the set first: the hook computes the new state from it.
    const model::Workload workload = std::move(found->second);
    workloads_.erase(found);
    ids_.erase(workload.id);
    if (hooks_.detach) hooks_.detach(workload);
    if (::unlink(file_of(workload.id).c_str()) < 0 && errno != ENOENT) {
        log_warn("workload record not removed", kv("file", file_of(workload.id)),
                 kv("errno", errno));
    }
}

const model::Workload* Workloads::find(const std::string& container,
                                       const std::string& interface) const {
    const auto found = workloads_.find({container, interface});
    return found == workloads_.end() ? nullptr : &found->second;
}

const model::Workload* Workloads::by_id(std::uint32_t id) const {
    const auto found = ids_.find(id);
    return found == ids_.end() ? nullptr : &workloads_.at(found->second);
}

const model::Workload* Workloads::by_ifindex(std::uint32_t ifindex) const {
    for (const auto& [key, workload] : workloads_) {
        if (workload.ifindex == ifindex) return &workload;
    }
    return nullptr;
}

const model::Workload* Workloads::by_name(const model::ObjectName& name) const {
    const model::Workload* newest = nullptr;
    for (const auto& [key, workload] : workloads_) {
        if (workload.name == name && (newest == nullptr || workload.id > newest->id))
            newest = &workload;
    }
    return newest;
}

std::vector<model::Workload> Workloads::all() const {
    std::vector<model::Workload> all;
    all.reserve(ids_.size());
    for (const auto& [id, key] : ids_)
        all.push_back(workloads_.at(key));
    return all;
}

} // namespace beeline::datapath
