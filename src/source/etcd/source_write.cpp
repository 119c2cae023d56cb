// The half of EtcdSource that changes etcd, and the copy of its objects on disk.
#include <algorithm>
#include <chrono>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "source/etcd/source.h"

namespace beeline::source {
namespace {

// What the server takes in one transaction by default.
constexpr std::size_t kMostChanges = 128;
constexpr int kAttempts = 3;
constexpr std::size_t kLargestSnapshot = 512U << 20;
constexpr std::string_view kSnapshotMagic = "beeline-etcd-1\n";

} // namespace

// What of the objects is a change, against what is known now; each change only if the key has not been changed by others.
Result<EtcdSource::Planned> EtcdSource::plan(std::vector<Manifest> manifests) const {
    Planned out;
    ManifestFiles files = good_files();
    for (auto& manifest : manifests) {
        const auto name = object_key(options_.prefix, manifest.kind, manifest.name);
        const auto known = keys_.find(name);
        const bool exists = known != keys_.end() && !known->second.deleted;
        ApplyAction action = ApplyAction::created;
        if (exists) {
            const auto& key = known->second;
            const bool same = key.error.empty() && key.good && key.good->text == manifest.yaml;
            action = same ? ApplyAction::unchanged : ApplyAction::changed;
        }
        out.report.objects.push_back({manifest.kind, manifest.name, action});
        out.report.warnings.insert(out.report.warnings.end(), manifest.warnings.begin(),
                                   manifest.warnings.end());
        if (action == ApplyAction::unchanged) continue;
        auto* compare = out.request.add_compare();
        compare->set_key(name);
        compare->set_target(etcdpb::Compare::MOD);
        compare->set_mod_revision(exists ? known->second.modified : 0);
        auto* put = out.request.add_success()->mutable_request_put();
        put->set_key(name);
        put->set_value(manifest.yaml);
        Read value{name, exists ? known->second.created : 0, 0, false, {}, "", nullptr};
        value.meaning = StoredKey{manifest.kind, manifest.name, ""};
        auto file = std::make_shared<ManifestFile>();
        file->text = manifest.yaml;
        file->manifests.push_back(std::move(manifest));
        file->manifests.front().line = 1;
        files[shown(name)] = file;
        value.good = std::move(file);
        out.values.push_back(std::move(value));
    }
    if (out.values.size() > kMostChanges)
        return fail(Code::invalid,
                    "{} objects would change, etcd takes at most {} at once: apply them in parts",
                    out.values.size(), kMostChanges);
    for (const auto& conflict : merge(files).conflicts) {
        const auto& known = merged_.conflicts;
        if (std::find(known.begin(), known.end(), conflict) == known.end())
            return fail(Code::exists, "{}", conflict.message);
    }
    return out;
}

// As the feed will tell it; the loop's thread.
void EtcdSource::written(std::vector<Read> values, std::int64_t revision) {
    for (auto& value : values) {
        value.modified = revision;
        if (value.created == 0) value.created = revision;
        if (take(std::move(value))) ++events_;
    }
    settle();
}

Result<ApplyReport> EtcdSource::apply(std::string_view yaml, bool dry_run) {
    const auto manifests = TRY(read_manifests(yaml, "input"));
    if (manifests.empty()) return fail(Code::invalid, "input: there is no object in it");
    for (int attempt = 1;; ++attempt) {
        auto planned = TRY(loop_->call([&]() -> Result<Planned> {
            if (!synced_) return fail(Code::unavailable, "{}", connection_error_);
            return plan(manifests);
        }));
        if (dry_run || planned.values.empty()) return std::move(planned.report);
        const auto answer = TRY(writer_.txn(planned.request));
        if (answer.succeeded()) {
            const auto revision = answer.header().revision();
            loop_->call([&] { written(std::move(planned.values), revision); });
            log_info("objects applied", kv("keys", planned.report.objects.size()),
                     kv("revision", revision));
            return std::move(planned.report);
        }
        if (attempt == kAttempts)
            return fail(Code::unavailable,
                        "the objects are being changed by others at the same time: try again");
        // What the others wrote is on its way.
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

Result<> EtcdSource::remove(std::string_view kind, const model::ObjectName& name) {
    const auto known = parse_kind(kind);
    if (!known)
        return fail(Code::invalid, "'{}' is no kind of object that is known here",
                    yaml::shown(kind));
    const auto key = object_key(options_.prefix, *known, name);
    TRY(loop_->call([&]() -> Result<> {
        if (!synced_) return fail(Code::unavailable, "{}", connection_error_);
        const auto entry = keys_.find(key);
        if (entry != keys_.end() && !entry->second.deleted) return {};
        const bool registered = std::any_of(keys_.begin(), keys_.end(), [&](const auto& each) {
            const auto& meaning = each.second.meaning;
            return meaning && !meaning->node.empty() && meaning->kind == *known &&
                   meaning->name == name;
        });
        if (registered)
            return fail(Code::denied,
                        "{} {} is a running workload of a node: stop the workload there",
                        kind_name(*known), name.to_string());
        return fail(Code::not_found, "{} {} does not exist", kind_name(*known), name.to_string());
    }));
    etcdpb::TxnRequest request;
    request.add_success()->mutable_request_delete_range()->set_key(key);
    const auto answer = TRY(writer_.txn(request));
    Read gone{key, 0, 0, true, {}, "", nullptr};
    loop_->call([&] { written({gone}, answer.header().revision()); });
    log_info("object removed", kv("key", key));
    return {};
}

// Good values only: what was in force.
void EtcdSource::save_snapshot() {
    etcdpb::RangeResponse out;
    out.mutable_header()->set_cluster_id(cluster_);
    out.mutable_header()->set_revision(revision_);
    for (const auto& [name, key] : keys_) {
        if (!key.good) continue;
        auto* each = out.add_kvs();
        each->set_key(name);
        each->set_value(key.good->text);
        each->set_create_revision(key.created);
        each->set_mod_revision(key.modified);
    }
    std::string text(kSnapshotMagic);
    if (!out.AppendToString(&text)) return;
    if (const auto done = replace_file(snapshot_file(), text, Durable::no); !done)
        log_warn("the objects of etcd cannot be kept for a restart",
                 kv("error", done.error().message));
}

void EtcdSource::read_snapshot() {
    const auto text = read_file(snapshot_file(), kLargestSnapshot);
    if (!text) {
        if (text.error().code != Code::not_found)
            log_warn("the kept objects of etcd cannot be read", kv("error", text.error().message));
        return;
    }
    etcdpb::RangeResponse in;
    if (!text->starts_with(kSnapshotMagic) ||
        !in.ParseFromArray(text->data() + kSnapshotMagic.size(),
                           static_cast<int>(text->size() - kSnapshotMagic.size()))) {
        log_warn("the kept objects of etcd are damaged and not used", kv("file", snapshot_file()));
        return;
    }
    cluster_ = in.header().cluster_id();
    for (const auto& each : in.kvs()) {
        // Its revision is left out: the first list has everything anew, also what was bad here.
        auto value = read({each.key(), each.value(), each.create_revision(), 1, 0, false});
        if (value.good) take(std::move(value));
    }
    from_snapshot_ = !keys_.empty();
    if (from_snapshot_)
        log_info("objects of the last run are in force until etcd is reached",
                 kv("keys", keys_.size()));
}

} // namespace beeline::source
