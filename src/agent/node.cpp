#include "agent/node.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>

#include "abi/drop.h"
#include "agent/announcement.h"
#include "agent/capabilities.h"
#include "agent/flow_source.h"
#include "agent/make_source.h"
#include "agent/own_node.h"
#include "base/log.h"
#include "datapath/firewall.h"
#include "net/conntrack.h"
#include "net/namespace.h"
#include "net/sock_diag.h"

namespace beeline::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint64_t kTombstonePeriodMs = 5000;
constexpr std::uint64_t kIdleMapPeriodMs = 30'000;
constexpr std::uint64_t kPathPeriodMs = 10'000;

Result<> make_directory(const std::string& path, mode_t mode) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) return fail_errno(error.value(), "cannot create " + path);
    if (chmod(path.c_str(), mode) != 0) return fail_errno(errno, "cannot set the mode of " + path);
    return {};
}

Result<Fd> lock_instance(const std::string& path) {
    Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) return fail_errno(errno, "cannot open " + path);
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::exists,
                    "another beelined runs with this instance name ({} is locked): stop it first",
                    path);
    }
    return fd;
}

// A client of UDP that goes on sending would be led to the workload that had the port.
void forget_host_ports(const std::vector<datapath::HostPortRoute>& before,
                       const std::vector<datapath::HostPortRoute>& now) {
    std::vector<net::Translation> gone;
    for (const auto& route : before) {
        if (route.protocol != model::Protocol::udp ||
            std::binary_search(now.begin(), now.end(), route))
            continue;
        gone.push_back({kUdp, route.address, route.port, route.to, route.target});
    }
    if (gone.empty()) return;
    if (const auto forgotten = net::forget_translated(gone); !forgotten) {
        log_warn("clients of a host port are still led to the old workload",
                 kv("error", forgotten.error().message));
    }
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool is_node_address(const net::Ip& ip) {
    if (ip.is_v4()) return ip.bytes[12] != 127;
    const bool link_local = ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80;
    return !link_local && ip != net::Ip::parse("::1").value();
}

net::Ip to_ip(const bl_addr& addr) {
    net::Ip ip;
    std::copy(std::begin(addr.byte), std::end(addr.byte), ip.bytes.begin());
    return ip;
}

// Does any object still say that somebody lives at this address?
bool is_listed(const model::Objects& objects, const net::Ip& ip) {
    for (const auto& [name, slice] : objects.slices) {
        for (const auto& endpoint : slice.endpoints) {
            if (endpoint.address == ip) return true;
        }
    }
    for (const auto& [name, pod] : objects.pods) {
        if (!pod.finished &&
            std::find(pod.addresses.begin(), pod.addresses.end(), ip) != pod.addresses.end()) {
            return true;
        }
    }
    return false;
}

} // namespace

Node::Node(Config config, api::Paths paths, loop::Loop& loop)
    : config_(std::move(config)), paths_(std::move(paths)), loop_(loop),
      store_(config_.flows_in_memory), ingest_(store_, "/proc", observe::EventClock(), names_),
      service_map_(store_, config_.node) {}

Node::~Node() {
    // The datapath stays; only the reading of its events ends.
    hubble_.reset();
    ingest_.set_process_source({});
    security_.reset();
    l7_.reset();
    consumer_.reset();
    if (history_) history_->stop(); // with what the ring gave last
    if (monitor_) loop_.unwatch(monitor_->fd());
}

Result<std::unique_ptr<Node>> Node::start(Config config, api::Paths paths, loop::Loop& loop) {
    std::unique_ptr<Node> node(new Node(std::move(config), std::move(paths), loop));
    node->started_ = std::time(nullptr);
    TRY(node->prepare());
    TRY(node->take_over());
    TRY(node->run());
    return node;
}

// Folders, file systems, the node's own network.
Result<> Node::prepare() {
    if (config_.manifests.empty()) config_.manifests = paths_.manifests;
    // Users of the API's group must be able to reach the socket, no more.
    TRY(make_directory(paths_.run, 0755));
    TRY(make_directory(paths_.state, 0700));
    lock_ = TRY(lock_instance(paths_.run + "/beelined.lock"));
    if (config_.history.path.empty()) config_.history.path = paths_.state + "/history.db";
    recall_pod_ranges(paths_.state + "/pod-ranges.json", config_);
    history_.emplace(config_.history, store_); // before anything is stored: numbers go on
    TRY(ebpf::mount_file_systems());
    probing_ = std::async(std::launch::async, ebpf::probe_features);
    auto mount = ebpf::cgroup2_mount();
    if (mount) {
        cgroup_mount_ = *mount;
        TRY(make_directory(cgroup_mount_ + "/" + paths_.cgroup, 0755));
    } else {
        log_warn("no cgroup2: services are translated in the packet path only",
                 kv("why", mount.error().message));
    }

    // Beside what follows, which is the network's.
    if (config_.security.enabled) security_begun_.emplace(Security::begin(security_environment()));

    TRY(settle_ranges(config_, paths_.state));
    datapath::Ipam::Options addresses;
    addresses.ipv4 = config_.range4;
    addresses.ipv6 = config_.range6;
    addresses.folder = paths_.state;
    addresses.rest_ms = config_.address_rest_s * 1000ULL;
    ipam_ = TRY(datapath::Ipam::open(addresses));
    if (!ipam_->damage().empty()) log_error("address leases", kv("error", ipam_->damage()));

    datapath::NodeNetwork network;
    network.gateway_v4 = ipam_->gateway(true);
    network.gateway_v6 = ipam_->gateway(false);
    network.mtu = config_.mtu;
    network.state = paths_.state;
    plumbing_ = std::make_unique<datapath::Plumbing>(TRY(datapath::Plumbing::create(network)));
    TRY(plumbing_->prepare_node());
    cluster_ = TRY(Cluster::create(config_));
    TRY(cluster_->install_firewall());

    netlink_ = std::make_unique<net::Netlink>(TRY(net::Netlink::open()));
    TRY(watch_addresses());
    TRY(read_addresses());
    return {};
}

// The kernel's side: load, and start from what is there.
Result<> Node::take_over() {
    datapath::KernelOptions options;
    options.pins = paths_.pins;
    if (config_.socket_hooks && !cgroup_mount_.empty()) {
        // The default instance covers the machine, a named one only its own subtree.
        options.cgroup =
            paths_.instance.empty() ? cgroup_mount_ : cgroup_mount_ + "/" + paths_.cgroup;
    }
    options.gateway4 = ipam_->gateway(true).value_or(net::Ip{});
    options.gateway6 = ipam_->gateway(false).value_or(net::Ip{});
    options.ct_entries = config_.ct_entries;
    options.ring_bytes = config_.ring_bytes;
    if (config_.l7.choice.mode != model::L7Choice::Mode::off)
        options.l7_ring_bytes = config_.l7.ring_bytes;
    options.attachment = config_.attachment;
    options.ct_timeouts_s = config_.ct_timeouts_s;
    kernel_ = TRY(datapath::Kernel::load(options));
    shaper_ = std::make_unique<datapath::Shaper>(*kernel_);
    tables_ = TRY(kernel_->read());

    workloads_ = TRY(datapath::Workloads::open(
        paths_.state + "/workloads",
        {[this](const model::Workload& workload) { return attach(workload); },
         [this](const model::Workload& workload) { detach(workload); }},
        [this](const model::Workload& workload) { return plumbing_->present(workload); }));
    cni_.emplace(datapath::CniContext{
        *plumbing_, *ipam_, *workloads_, cgroup_mount_,
        [this]() -> Result<> {
            if (!no_ranges_.empty()) return fail(Code::unavailable, "{}", no_ranges_);
            if (unenforced_.empty()) return {};
            return fail(Code::unavailable, "{}", unenforced_);
        },
        [this](const model::Workload& workload) { return enforced(workload); }});
    cni_->may_lease = [this]() -> Result<> {
        if (no_ranges_.empty()) return {};
        return fail(Code::unavailable, "{}", no_ranges_);
    };
    TRY(datapath::reconcile_workloads(*cni_));
    datapath::replay_tombstones(*cni_, paths_.tombstones());
    return {};
}

Result<> Node::run() {
    kernel_drops_.begin(*kernel_);
    // Flows can be named from the first one on, so the ring is read once the directory is there.
    source_ =
        TRY(make_source(config_, paths_, [this](std::shared_ptr<const model::Objects> objects) {
            publish(std::move(objects));
        }));
    TRY(source_->start(loop_));
    if (config_.source.kind == SourceKind::etcd)
        add_status("etcd", [this] { return etcd_document(*source_); });
    if (config_.l7.choice.mode != model::L7Choice::Mode::off)
        l7_ = TRY(L7::start(config_.l7, *kernel_, store_, names_, cgroup_mount_));
    ready_ = true;
    check_ranges();
    (void)cluster_->plan(*objects_);
    // What an earlier run left in the maps stays in force until then.
    const auto begun = reconcile();
    if (!begun && known_) return begun;
    // Programs are replaced in place by this run's.
    TRY(kernel_->attach_sockets());
    for (const auto& workload : workloads_->all()) {
        TRY(kernel_->attach(workload));
        if (const auto limited = shaper_->attach(workload); !limited) {
            log_error("limits are not those of this run", kv("workload", workload.name.to_string()),
                      kv("error", limited.error().message));
        }
    }
    kernel_->detach_all_but(workloads_->all());
    shaper_->detach_all_but(workloads_->all());

    ring_ = TRY(ebpf::Ring::open(kernel_->flow_ring()));
    observe::RingSource ring;
    ring.fd = ring_->fd();
    ring.consume = [this](const observe::RingSource::Handler& handler) {
        return ring_->consume(handler);
    };
    ring.lost = [this] {
        const auto metrics = kernel_->metrics();
        return metrics ? (*metrics)[BL_METRIC_flow_lost] : 0;
    };
    consumer_ = TRY(observe::Consumer::start(ingest_, std::move(ring)));

    if (security_begun_) start_security();
    if (config_.hubble.enabled) start_hubble();
    kernel_drops_.finish(workloads_->all());
    features_ = probing_.get();
    for (const auto& feature : features_) {
        if (!feature.available) log_info("kernel lacks " + feature.name, kv("lost", feature.lost));
    }
    sweep(); // also counts what an earlier run left
    loop_.every(config_.ct_sweep_s * 1000ULL, [this] { sweep(); });
    add_status("nodes", [this] { return cluster_->status(*objects_); });
    add_status("capabilities", [this] {
        return capabilities_status(workloads_->all(), *shaper_, host_ports_.has_value());
    });
    // The kernel's routes may have changed, or lost ours.
    loop_.every(kPathPeriodMs, [this] {
        (void)cluster_->plan(*objects_);
        cluster_->check();
        if (cluster_->pending()) (void)reconcile();
    });
    loop_.every(kIdleMapPeriodMs, [this] { service_map_.release_idle(); });
    loop_.every(kTombstonePeriodMs,
                [this] { datapath::replay_tombstones(*cni_, paths_.tombstones()); });
    loop_.every(kTombstonePeriodMs, [this] {
        if (const auto seen = shaper_->look_at_devices(); !seen)
            log_warn("qdiscs cannot be read", kv("error", seen.error().message));
    });
    return {};
}

Security::Environment Node::security_environment() const {
    Security::Environment environment;
    environment.config = config_.security;
    if (environment.config.rules.empty())
        environment.config.rules = {fs::path(paths_.manifests).parent_path() / "rules"};
    environment.node = config_.node;
    environment.cgroup_mount = cgroup_mount_;
    if (!config_.security.whole_machine.value_or(paths_.instance.empty()))
        environment.scope = paths_.cgroup;
    environment.flows = &store_;
    return environment;
}

// When the security side cannot start the network goes on, and the status says so.
void Node::start_security() {
    auto started = Security::start(security_environment(), std::move(*security_begun_), loop_);
    security_begun_.reset();
    if (!started) {
        security_error_ = started.error().message;
        log_error("runtime security could not start", kv("error", security_error_));
        return;
    }
    security_ = std::move(*started);
    security_->set_workloads(workloads_->all());
    ingest_.set_process_source([this](const auto& info) { security_->identify(info); });
}

// Nor does a port that is taken.
void Node::start_hubble() {
    auto started = HubbleApi::start({config_.hubble, config_.node, paths_.run + "/hubble.sock",
                                     host_addresses_, flow_source(store_, *history_)});
    if (started) {
        hubble_ = std::move(*started);
        return;
    }
    hubble_error_ = started.error().message;
    log_error("Hubble's API could not start", kv("error", hubble_error_));
}

Result<> Node::reconcile() { return reconcile(workloads_->all()); }

void Node::add_status(const std::string& name, StatusPart part) {
    if (part) {
        parts_[name] = std::move(part);
    } else {
        parts_.erase(name);
    }
}

Result<> Node::reconcile(const std::vector<model::Workload>& workloads) {
    // Not known is not empty: policies of an earlier run must not go.
    if (!known_) {
        unenforced_ = source_ ? "nothing is known yet from " + source_->state().place
                              : "the agent is starting";
        return fail(Code::unavailable, "{}", unenforced_);
    }
    const auto start = std::chrono::steady_clock::now();
    auto done = apply(workloads);
    if (source_) source_->network_works(unenforced_.empty(), unenforced_);
    applies_.add(seconds_since(start), done.has_value());
    if (source_ && config_.source.kind == SourceKind::etcd)
        source_->announce(announcement(config_, host_addresses_, workloads));
    return done;
}

Result<> Node::apply(const std::vector<model::Workload>& workloads) {
    auto compiled = datapath::compile(
        {*objects_, workloads, host_addresses_, tables_, {}, {}, cluster_->nodes()});
    Result<> done;
    if (!compiled) {
        done = Failure(compiled.error());
    } else {
        // Names first: then the first flow of a new workload has one.
        set_directory(compiled->directory);
        if (l7_) l7_->set_workloads(workloads, *objects_);
        kernel_drops_.set_workloads(workloads);
        done = kernel_->write(tables_, compiled->tables);
        if (!done) set_directory(directory_);
    }
    if (!done) {
        if (unenforced_ != done.error().message) {
            log_error("the desired state is not in force, the previous one stays",
                      kv("error", done.error().message));
        }
        unenforced_ = done.error().message;
        if (hubble_) hubble_->tables_refused(workloads, unenforced_);
        return done;
    }
    unenforced_.clear();
    if (hubble_) hubble_->tables_changed(tables_, compiled->tables);
    tables_ = std::move(compiled->tables);
    directory_ = std::move(compiled->directory);
    if (warnings_ != compiled->warnings) {
        warnings_ = std::move(compiled->warnings);
        for (const auto& warning : warnings_)
            log_warn(warning);
    }
    if (cluster_->pending()) cluster_->install(*kernel_, *plumbing_);
    route_host_ports(compiled->host_ports);
    if (!compiled->gone.empty()) end_connections(compiled->gone, workloads);
    return {};
}

// From elsewhere on this node host ports are services, and go on working when this fails.
void Node::route_host_ports(const std::vector<datapath::HostPortRoute>& routes) {
    if (host_ports_ == routes) return;
    const auto done = datapath::set_host_ports(routes);
    if (done) {
        if (host_ports_) forget_host_ports(*host_ports_, routes);
        host_ports_ = routes;
        return;
    }
    host_ports_.reset(); // tried again with the next change
    log_error("host ports cannot be reached from outside", kv("error", done.error().message));
}

Result<> Node::enforced(const model::Workload& workload) const {
    for (const auto& ip : workload.addresses) {
        const auto endpoint = tables_.endpoints.find(datapath::to_abi(ip));
        if (endpoint == tables_.endpoints.end() || endpoint->second.id != workload.id)
            return fail(Code::not_found, "its address {} is not in force", ip.to_string());
    }
    if (workload.bandwidth.limited()) TRY(shaper_->usage(workload));
    if (!workload.host_ports.empty() && !host_ports_)
        return fail(Code::not_found, "its host ports cannot be reached from outside");
    return {};
}

void Node::set_directory(const std::shared_ptr<const model::Directory>& directory) {
    ingest_.set_directory(directory);
    if (l7_) l7_->set_directory(directory);
}

Result<> Node::attach(const model::Workload& workload) {
    auto workloads = workloads_->all();
    if (std::none_of(workloads.begin(), workloads.end(),
                     [&](const auto& w) { return w.id == workload.id; })) {
        workloads.push_back(workload);
    }
    TRY(reconcile(workloads));
    auto done = kernel_->attach(workload);
    if (done) done = shaper_->attach(workload);
    if (!done) {
        std::erase_if(workloads, [&](const auto& w) { return w.id == workload.id; });
        (void)reconcile(workloads);
        return done;
    }
    if (security_) security_->set_workloads(workloads);
    if (hubble_) hubble_->workload_attached(workload);
    log_info("workload attached", kv("workload", workload.name.to_string()), kv("id", workload.id),
             kv("interface", workload.host_interface));
    return {};
}

void Node::detach(const model::Workload& workload) {
    kernel_->detach(workload);
    shaper_->detach(workload);
    auto workloads = workloads_->all();
    std::erase_if(workloads, [&](const auto& w) { return w.id == workload.id; });
    (void)reconcile(workloads);
    if (security_) security_->set_workloads(workloads);
    if (hubble_) hubble_->workload_detached(workload);
    log_info("workload detached", kv("workload", workload.name.to_string()), kv("id", workload.id));
}

void Node::publish(std::shared_ptr<const model::Objects> objects) {
    const bool policies = objects_->policies != objects->policies;
    const bool fewer = objects->policies.size() < objects_->policies.size();
    const bool nodes = objects_->nodes != objects->nodes;
    objects_ = std::move(objects);
    known_ = true;
    if (ready_ && nodes) {
        check_ranges();
        (void)cluster_->plan(*objects_);
    }
    if (policies && hubble_) hubble_->policy_updated(objects_->policies.size(), fewer);
    if (ready_) (void)reconcile(); // a failure is kept for status() and told to whoever applied
}

void Node::check_ranges() {
    const auto ranges = check_pod_ranges(paths_.state + "/pod-ranges.json", config_, *objects_);
    std::string why;
    if (!ranges) {
        why = ranges.error().message;
    } else if (*ranges == PodRanges::unknown) {
        why = fmt::format("no Node object {} with podCIDRs, and no range in the configuration",
                          config_.node);
    } else if (*ranges == PodRanges::outdated) {
        why = "the node's pod ranges changed: the agent begins anew";
        must_restart_ = true;
        kill(getpid(), SIGTERM);
    }
    if (why != no_ranges_ && !why.empty()) log_warn(why);
    no_ranges_ = why;
}

// Connections to a backend that no longer exists would hang: TCP is reset in the client's namespace; connected UDP sockets
// of the host get an error, those of workloads are moved by the datapath.
void Node::end_connections(const std::vector<datapath::GoneBackend>& gone,
                           const std::vector<model::Workload>& workloads) {
    std::vector<net::SocketFilter> tcp;
    std::vector<net::SocketFilter> udp;
    for (const auto& [id, backend] : gone) {
        if (tables_.endpoints.contains(backend.addr)) continue;
        const net::Ip ip = to_ip(backend.addr);
        if (is_listed(*objects_, ip)) continue;
        net::SocketFilter filter;
        filter.protocol = backend.proto;
        filter.remote = ip;
        filter.remote_port = __builtin_bswap16(backend.port);
        if (backend.proto == kTcp) tcp.push_back(filter);
        if (backend.proto == kUdp) udp.push_back(filter);
    }
    const auto destroy = [](Result<net::SockDiag> sockets,
                            const std::vector<net::SocketFilter>& filters) {
        if (!sockets) return;
        for (const auto& filter : filters) {
            const auto ended = sockets->destroy(filter);
            if (!ended) {
                log_warn("connections of a vanished backend could not be ended",
                         kv("error", ended.error().message));
            } else if (*ended > 0) {
                log_info("ended connections of a vanished backend",
                         kv("address", filter.remote->to_string()), kv("count", *ended));
            }
        }
    };
    if (!tcp.empty() || !udp.empty()) {
        destroy(net::SockDiag::open(), tcp);
        destroy(net::SockDiag::open(), udp);
    }
    if (tcp.empty()) return;
    for (const auto& workload : workloads) {
        auto netns = net::Namespace::open(workload.netns);
        if (netns && netns->inode() == workload.netns_inode)
            destroy(net::SockDiag::open_in(*netns), tcp);
    }
}

Result<> Node::watch_addresses() {
    monitor_.emplace(TRY(net::NetlinkMonitor::open()));
    return loop_.watch(monitor_->fd(), EPOLLIN, [this](std::uint32_t) {
        bool look = false;
        for (;;) {
            const auto events = monitor_->read();
            if (!events || events->empty()) break;
            for (const auto& event : *events) {
                using Kind = net::NetlinkMonitor::Event::Kind;
                look = look || event.kind == Kind::address_added ||
                       event.kind == Kind::address_removed || event.kind == Kind::lost;
            }
        }
        if (!look) return;
        const auto changed = read_addresses();
        if (!ready_) return;
        if (cluster_->plan(*objects_) || (changed && *changed)) (void)reconcile();
    });
}

Result<bool> Node::read_addresses() {
    std::vector<net::Ip> found;
    for (const auto& address : TRY(netlink_->addresses())) {
        if (is_node_address(address.ip)) found.push_back(address.ip);
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    if (found == host_addresses_) return false;
    host_addresses_ = std::move(found);
    return true;
}

void Node::sweep() {
    const auto metrics = kernel_->metrics();
    const std::uint64_t full = metrics ? (*metrics)[BL_METRIC_ct_full] : ct_full_;
    const bool pressure = full != ct_full_ || connections_ > config_.ct_entries / 10 * 9;
    if (full != ct_full_) {
        log_warn("the connection table is full, new connections are refused",
                 kv("refused", full - ct_full_), kv("entries", config_.ct_entries));
        ct_full_ = full;
    }
    const auto start = std::chrono::steady_clock::now();
    const auto swept = kernel_->sweep(pressure);
    sweeps_.add(seconds_since(start), swept.has_value());
    if (!swept) {
        log_error("idle connections cannot be removed", kv("error", swept.error().message));
        return;
    }
    connections_ = swept->seen - swept->removed;
    swept_ += swept->removed;
}

} // namespace beeline::agent
