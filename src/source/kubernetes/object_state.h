// The objects as the API server last said them, and sets of them to publish. Pure. One thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "source/kubernetes/event.h"
#include "source/object_json.h"
#include "source/source.h"

namespace beeline::source {

class ObjectState {
public:
    ObjectState();

    // What is known before anything was read.
    void begin_with(model::Objects objects);

    // An object that cannot be taken leaves what it said before in force, and is listed in errors().
    void put(ObjectKind kind, Arrival arrival);
    void erase(ObjectKind kind, const model::ObjectName& name);
    // The list is complete: what is not among `names` is gone.
    void keep_only(ObjectKind kind, const std::set<model::ObjectName>& names);

    [[nodiscard]] bool changed() const { return !pending_.empty(); }
    [[nodiscard]] std::vector<SourceError> errors() const;
    [[nodiscard]] std::size_t error_count() const { return errors_.size(); }

    // The set as it is now. Cheap for small changes: a set that its readers have left is brought up to date and used again.
    std::shared_ptr<const model::Objects> publish();
    [[nodiscard]] const model::Objects& published() const { return *latest_; }

private:
    using Changes = std::map<ObjectKey, std::optional<Object>>; // empty: gone

    // Where a set goes when its last reader leaves it, on whatever thread.
    struct Returned {
        std::mutex mutex;
        std::unique_ptr<model::Objects> set;
        std::uint64_t version = 0;
    };

    std::shared_ptr<const model::Objects> shared(std::unique_ptr<model::Objects> set);
    static void apply(model::Objects& objects, const Changes& changes);

    std::shared_ptr<const model::Objects> latest_;
    std::uint64_t version_ = 0; // of latest_
    Changes pending_;           // since latest_
    Changes previous_;          // what led from the version before to latest_
    std::map<ObjectKey, std::string> errors_;
    std::shared_ptr<Returned> returned_ = std::make_shared<Returned>();
};

} // namespace beeline::source
