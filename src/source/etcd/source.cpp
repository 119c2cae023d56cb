#include "source/etcd/source.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/file.h"
#include "base/log.h"
#include "source/names.h"

namespace beeline::source {
namespace {

constexpr std::size_t kLargestValue = 2U << 20;
constexpr std::size_t kMostWaiting = 64;
constexpr std::uint64_t kSnapshotPeriodMs = 2000;

// Kept with the state, so that a restarted agent knows its own registration.
Result<std::string> agent_identity(const std::string& folder) {
    const auto path = folder + "/etcd-agent";
    if (const auto known = read_file(path, 64); known && known->size() == 32) return *known;
    std::array<unsigned char, 16> bytes{};
    if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
        return fail_errno(errno, "no random numbers");
    std::string out;
    for (const auto byte : bytes)
        out += fmt::format("{:02x}", byte);
    TRY(replace_file(path, out));
    return out;
}

bool in_ranges(const net::Ip& ip, const std::vector<net::Prefix>& ranges) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](const auto& range) { return range.contains(ip); });
}

} // namespace

EtcdSource::EtcdSource(EtcdOptions options, Publish publish)
    : options_(std::move(options)), publish_(std::move(publish)), writer_(options_) {}

Result<std::unique_ptr<EtcdSource>> EtcdSource::create(EtcdOptions options, Publish publish) {
    if (options.endpoints.empty()) return fail(Code::invalid, "no endpoint of etcd is given");
    const auto problem = dns_subdomain_problem(options.node);
    if (!problem.empty())
        return fail(Code::invalid, "the node's name '{}' {}", yaml::shown(options.node), problem);
    TRY(make_folder(options.state_folder));
    std::unique_ptr<EtcdSource> out(new EtcdSource(std::move(options), std::move(publish)));
    out->agent_ = TRY(agent_identity(out->options_.state_folder));
    out->read_snapshot();
    return out;
}

EtcdSource::~EtcdSource() {
    alive_.reset();
    {
        const std::lock_guard lock(waiting_mutex_);
        stopping_ = true;
    }
    waiting_changed_.notify_all();
    writer_.stop();
    feed_.reset();
    registrar_.reset();
    if (settle_timer_) loop_->cancel(*settle_timer_);
    if (snapshot_timer_) {
        loop_->cancel(*snapshot_timer_);
        save_snapshot();
    }
}

Result<> EtcdSource::start(loop::Loop& loop) {
    loop_ = &loop;
    settle();
    EtcdFeed::Handlers handlers;
    handlers.batch = [this](EtcdFeed::Batch batch) { hand_over(std::move(batch)); };
    handlers.state = [this, alive = std::weak_ptr(alive_)](const std::string& error) {
        loop_->post([this, alive, error] {
            if (alive.lock()) set_connected(error);
        });
    };
    feed_ = std::make_unique<EtcdFeed>(options_, std::move(handlers), cluster_, revision_);
    return {};
}

void EtcdSource::announce(const Announcement& given) {
    Announcement announcement = given;
    if (!registrar_) {
        registrar_ = std::make_unique<EtcdRegistrar>(
            options_, agent_, [this, alive = std::weak_ptr(alive_)](Registration now) {
                loop_->post([this, alive, now = std::move(now)] {
                    if (alive.lock()) registration_ = now;
                });
            });
    }
    announcement.node.name = options_.node;
    registrar_->set(manifests_of(announcement, options_.prefix, agent_));
}

std::string EtcdSource::shown(const std::string& key) const {
    const bool below = key.size() > options_.prefix.size() + 1;
    return yaml::shown(below ? std::string_view(key).substr(options_.prefix.size() + 1)
                             : std::string_view(key));
}

EtcdSource::Read EtcdSource::read(const EtcdFeed::Value& value) const {
    Read out{value.key, value.created, value.modified, value.deleted, {}, "", nullptr};
    if (value.deleted) return out;
    const auto name = shown(value.key);
    const auto key = parse_key(options_.prefix, value.key);
    if (!key) {
        out.error = fmt::format("{}: {}", name, key.error().message);
        return out;
    }
    out.meaning = *key;
    if (value.text.size() > kLargestValue) {
        out.error =
            fmt::format("{}: a value must not have more than {} bytes", name, kLargestValue);
        return out;
    }
    auto manifest = read_value(*key, value.text, name);
    if (!manifest) {
        out.error = manifest.error().message;
        return out;
    }
    for (const auto& warning : manifest->warnings)
        log_warn("manifest", kv("warning", warning));
    auto file = std::make_shared<ManifestFile>();
    file->text = value.text;
    file->manifests.push_back(std::move(*manifest));
    out.good = std::move(file);
    return out;
}

void EtcdSource::hand_over(EtcdFeed::Batch batch) {
    ReadBatch out;
    out.values.reserve(batch.values.size());
    for (const auto& value : std::exchange(batch.values, {}))
        out.values.push_back(read(value));
    out.about = std::move(batch);
    {
        std::unique_lock lock(waiting_mutex_);
        waiting_changed_.wait(lock, [this] { return stopping_ || waiting_ < kMostWaiting; });
        if (stopping_) return;
        ++waiting_;
    }
    auto shared = std::make_shared<ReadBatch>(std::move(out));
    loop_->post([this, alive = std::weak_ptr(alive_), shared] {
        if (!alive.lock()) return;
        {
            const std::lock_guard lock(waiting_mutex_);
            --waiting_;
        }
        waiting_changed_.notify_all();
        take(std::move(*shared));
    });
}

void EtcdSource::take(ReadBatch batch) {
    const auto& about = batch.about;
    if (about.history) {
        for (auto& [name, key] : keys_)
            key.modified = 0;
    }
    std::set<std::string_view> present; // views of what keys_ holds
    for (auto& value : batch.values) {
        const auto& name = keys_.try_emplace(value.key).first->first;
        if (about.whole) present.insert(name);
        if (take(std::move(value))) ++events_;
    }
    for (auto it = keys_.begin(); it != keys_.end();) {
        const auto& [name, key] = *it;
        // Ours may be newer than the list.
        const bool gone = about.whole && key.modified <= about.revision && !present.contains(name);
        const bool told = key.deleted && key.modified <= about.revision;
        if (gone && !key.deleted) ++events_;
        it = gone || told ? keys_.erase(it) : std::next(it);
    }
    cluster_ = about.cluster;
    revision_ = about.revision;
    synced_ = synced_ || about.whole;
    from_snapshot_ = from_snapshot_ && !about.whole;
    settle_soon();
}

// Whether it is news: an own change comes a second time, through the feed.
bool EtcdSource::take(Read value) {
    Key& key = keys_[value.key];
    if (value.modified <= key.modified) return false;
    key.created = value.created;
    key.modified = value.modified;
    key.deleted = value.deleted;
    if (value.meaning) key.meaning = value.meaning;
    key.error = std::move(value.error);
    if (value.good || value.deleted) key.good = std::move(value.good);
    return true;
}

void EtcdSource::set_connected(const std::string& error) {
    if (error.empty() == connected_ && connection_error_ == error) return;
    if (error.empty()) {
        log_info("etcd: connected", kv("endpoint", feed_->endpoint()), kv("revision", revision_));
    } else {
        log_warn("etcd: not connected, what was read last stays in force", kv("error", error));
    }
    if (error.empty() != connected_) since_ = std::time(nullptr);
    connected_ = error.empty();
    connection_error_ = error;
}

void EtcdSource::settle_soon() {
    if (settle_timer_) return;
    settle_timer_ = loop_->after(options_.settle_ms, [this] {
        settle_timer_.reset();
        settle();
    });
}

ManifestFiles EtcdSource::good_files() const {
    ManifestFiles out;
    for (const auto& [name, key] : keys_) {
        const bool usual = key.meaning && key.meaning->node.empty();
        if (usual && key.good) out.emplace(shown(name), key.good);
    }
    return out;
}

// In the order of registration, so that nobody loses what he has to a newcomer.
void EtcdSource::add_nodes(model::Objects& objects, std::vector<SourceError>& errors) const {
    std::vector<std::pair<std::int64_t, std::string>> order;
    for (const auto& [name, node] : objects.nodes) {
        const auto key = keys_.find(object_key(options_.prefix, ObjectKind::node, {"", name}));
        order.emplace_back(key == keys_.end() ? 0 : key->second.created, name);
    }
    std::sort(order.begin(), order.end());
    // They do not overlap each other, so only neighbours of a new one can overlap it.
    std::map<net::Prefix, std::string> taken;
    const auto owner_of = [&](const net::Prefix& range) -> const std::string* {
        const auto after = taken.lower_bound(range);
        if (after != taken.end() && range.contains(after->first)) return &after->second;
        if (after == taken.begin()) return nullptr;
        const auto& [prefix, owner] = *std::prev(after);
        return prefix.contains(range) || range.contains(prefix) ? &owner : nullptr;
    };
    std::vector<std::string> refused;
    for (const auto& [created, name] : order) {
        const auto& ranges = objects.nodes.at(name).pod_ranges;
        const auto bad = std::find_if(ranges.begin(), ranges.end(),
                                      [&](const auto& range) { return owner_of(range); });
        if (bad == ranges.end()) {
            for (const auto& range : ranges)
                taken.emplace(range, name);
            continue;
        }
        errors.push_back({"nodes/" + name,
                          fmt::format("nodes/{}: its range {} overlaps one of node {}, which stays "
                                      "in force",
                                      name, bad->to_string(), *owner_of(*bad))});
        refused.push_back(name);
    }
    for (const auto& name : refused)
        objects.nodes.erase(name);
}

// Workloads of other nodes; a Pod that was written for one of them adds to what its node says, as on that node.
void EtcdSource::add_workloads(model::Objects& objects, std::vector<SourceError>& errors) const {
    std::map<model::ObjectName, std::string> owners;
    std::map<net::Ip, std::string> addresses;
    for (const auto& [name, key] : keys_) {
        if (!key.meaning || key.meaning->node.empty() || !key.good) continue;
        const auto& node = key.meaning->node;
        if (node == options_.node) continue;
        const auto file = shown(name);
        model::Pod pod = std::get<model::Pod>(key.good->manifests.front().object);
        const auto refuse = [&](std::string why) {
            errors.push_back({file, fmt::format("{}: {}", file, why)});
        };
        const auto registered = objects.nodes.find(node);
        if (registered == objects.nodes.end()) {
            refuse(fmt::format("there is no node {}", node));
            continue;
        }
        std::string problem;
        for (const auto& address : pod.addresses) {
            const auto& ranges = registered->second.pod_ranges;
            if (!ranges.empty() && !in_ranges(address, ranges))
                problem = fmt::format("the address {} is not in a range of node {}",
                                      address.to_string(), node);
            const auto [first, added] = addresses.emplace(address, file);
            if (!added)
                problem =
                    fmt::format("the address {} is that of {}", address.to_string(), first->second);
        }
        const auto [owner, added] = owners.emplace(pod.name, node);
        if (!added)
            problem = fmt::format("{} runs on node {} already, which stays in force",
                                  pod.name.to_string(), owner->second);
        if (!problem.empty()) {
            refuse(std::move(problem));
            continue;
        }
        pod.node = node;
        const auto written = objects.pods.find(pod.name);
        if (written != objects.pods.end()) {
            const auto& manifest = written->second;
            auto labels = manifest.labels;
            labels.insert(pod.labels.begin(), pod.labels.end());
            pod.labels = std::move(labels);
            pod.ports.insert(pod.ports.begin(), manifest.ports.begin(), manifest.ports.end());
            pod.ready = pod.ready && manifest.ready && !manifest.finished;
            pod.l7 = manifest.l7;
        }
        objects.pods.insert_or_assign(pod.name, std::move(pod));
    }
}

void EtcdSource::settle() {
    merged_ = merge(good_files());
    std::vector<SourceError> errors;
    for (const auto& [name, key] : keys_) {
        if (!key.error.empty()) errors.push_back({shown(name), key.error});
    }
    for (const auto& each : merged_.conflicts)
        errors.push_back({each.file, fmt::format("{}: {}", each.file, each.message)});
    auto objects = std::exchange(merged_.objects, {});
    add_nodes(objects, errors);
    add_workloads(objects, errors);
    for (const auto& error : errors) {
        if (std::find(errors_.begin(), errors_.end(), error) == errors_.end())
            log_error("object not taken", kv("error", error.message));
    }
    errors_ = std::move(errors);
    if (!snapshot_timer_ && synced_) {
        snapshot_timer_ = loop_->after(kSnapshotPeriodMs, [this] {
            snapshot_timer_.reset();
            save_snapshot();
        });
    }
    if (published_ && *published_ == objects) return;
    published_ = std::make_shared<const model::Objects>(std::move(objects));
    publish_(published_);
}

std::vector<SourceError> EtcdSource::errors() const {
    std::vector<SourceError> out;
    if (!connected_) out.push_back({"", connection_error_});
    if (!registration_.error.empty()) out.push_back({"", registration_.error});
    out.insert(out.end(), errors_.begin(), errors_.end());
    return out;
}

SourceState EtcdSource::state() const {
    const auto endpoint = feed_ ? feed_->endpoint() : options_.endpoints.front();
    return {"etcd", endpoint + options_.prefix, synced_, connected_, since_, events_};
}

EtcdState EtcdSource::etcd_state() const {
    EtcdState out;
    out.revision = revision_;
    out.keys = keys_.size();
    out.rejected = errors_.size();
    out.from_snapshot = from_snapshot_;
    out.registration = registration_;
    if (feed_) {
        out.endpoint = feed_->endpoint();
        out.lists = feed_->lists();
        out.failures = feed_->failures();
    }
    return out;
}

Result<std::vector<StoredObject>> EtcdSource::list(const ObjectFilter& filter) const {
    std::optional<ObjectKind> kind;
    if (!filter.kind.empty()) {
        kind = parse_kind(filter.kind);
        if (!kind)
            return fail(Code::invalid, "'{}' is no kind of object that is known here",
                        yaml::shown(filter.kind));
    }
    std::vector<StoredObject> out;
    for (const auto& [name, key] : keys_) {
        if (!key.meaning || !key.good) continue;
        const auto& object = *key.meaning;
        if (kind && *kind != object.kind) continue;
        if (filter.space && *filter.space != object.name.space) continue;
        if (!filter.name.empty() && filter.name != object.name.name) continue;
        out.push_back({object.kind, object.name, shown(name), key.good->manifests.front().yaml});
    }
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
        return std::pair(a.kind, a.name) < std::pair(b.kind, b.name);
    });
    return out;
}

} // namespace beeline::source
