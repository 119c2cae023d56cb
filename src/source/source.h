// Where desired state comes from: a folder of manifests, a Kubernetes API server, or etcd.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "loop/loop.h"
#include "model/objects.h"
#include "model/workload.h"
#include "source/manifest.h"

namespace beeline::source {

struct SourceError {
    std::string file; // or object; empty: the source as a whole
    std::string message;
    bool operator==(const SourceError&) const = default;
};

enum class ApplyAction { created, changed, unchanged };
std::string_view action_name(ApplyAction action);

struct ApplyReport {
    struct Entry {
        ObjectKind kind;
        model::ObjectName name;
        ApplyAction action;
    };
    std::vector<Entry> objects; // in the order of the input
    std::vector<std::string> warnings;
};

struct ObjectFilter {
    std::string kind;                 // any case, empty: every kind
    std::optional<std::string> space; // "" selects cluster-wide kinds
    std::string name;                 // empty: every name
};

struct StoredObject {
    ObjectKind kind;
    model::ObjectName name;
    std::string file;
    std::string yaml;
};

// What the status says of a source.
struct SourceState {
    std::string kind;       // "files", "kubernetes" or "etcd"
    std::string place;      // folder or URL
    bool synced = false;    // everything has been read at least once
    bool connected = false; // false: what was read last stays in force, errors() says why
    std::int64_t since =
        0; // seconds since the epoch, of the last change of `connected`; 0: from the start
    std::uint64_t events = 0; // changes that were read
};

// A pod of this node whose network could not be made.
struct FailedPod {
    model::ObjectName name;
    std::string uid; // as the runtime gave it; may be empty
    std::string message;
};

// What this machine is and has.
struct Announcement {
    model::ClusterNode node;
    std::vector<model::Workload> workloads;
};

// Level-triggered: every set is published as a whole, and whatever happened in between, the last one is what the place
// says. While the place cannot be reached the last set stays in force. Everything is called and publishes on the loop's
// thread; a source that waits for others does so in threads of its own.
class Source {
public:
    // Must not call the source back.
    using Publish = std::function<void(std::shared_ptr<const model::Objects>)>;

    Source() = default;
    virtual ~Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    // Publishes what is known (also an empty set; nothing at all while a server has to be asked first) and goes on from now.
    // Does not wait for a server.
    virtual Result<> start(loop::Loop& loop) = 0;

    // Where the place wants to hear of this node (Kubernetes: a condition of the Node, events of pods) it is told. Not waited for.
    virtual void network_works(bool works, const std::string& why) {
        (void)works;
        (void)why;
    }
    virtual void pod_failed(const FailedPod& pod) { (void)pod; }

    // Where other machines learn of this one by the source, they do from now on; elsewhere nothing happens.
    virtual void announce(const Announcement& announcement) { (void)announcement; }

    // True: apply() and remove() wait for a server, and are called on any thread but the loop's, while the loop runs.
    [[nodiscard]] virtual bool waits() const { return false; }
    // All objects of the text or none. Code::unsupported where objects are changed by other means.
    virtual Result<ApplyReport> apply(std::string_view yaml, bool dry_run) = 0;
    virtual Result<> remove(std::string_view kind, const model::ObjectName& name) = 0;

    [[nodiscard]] virtual Result<std::vector<StoredObject>>
    list(const ObjectFilter& filter) const = 0;
    // Objects and files that were not taken, and why; what they said before stays in force.
    [[nodiscard]] virtual std::vector<SourceError> errors() const = 0;
    [[nodiscard]] virtual SourceState state() const = 0;
    // The last set that was published; null before the first.
    [[nodiscard]] virtual std::shared_ptr<const model::Objects> objects() const = 0;
};

} // namespace beeline::source
