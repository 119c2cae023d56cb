#include "source/kubernetes/object_state.h"

namespace beeline::source {

ObjectState::ObjectState() : latest_(std::make_shared<model::Objects>()) {}

void ObjectState::begin_with(model::Objects objects) {
    latest_ = shared(std::make_unique<model::Objects>(std::move(objects)));
}

void ObjectState::put(ObjectKind kind, Arrival arrival) {
    ObjectKey key{kind, std::move(arrival.name)};
    if (!arrival.object) {
        errors_[std::move(key)] = std::move(arrival.problem);
        return;
    }
    errors_.erase(key);
    const auto pending = pending_.find(key);
    if (has_equal(*latest_, key, *arrival.object)) {
        if (pending != pending_.end()) pending_.erase(pending);
        return;
    }
    pending_[std::move(key)] = std::move(arrival.object);
}

void ObjectState::erase(ObjectKind kind, const model::ObjectName& name) {
    const ObjectKey key{kind, name};
    errors_.erase(key);
    if (has_object(*latest_, key)) {
        pending_[key] = std::nullopt;
    } else {
        pending_.erase(key);
    }
}

void ObjectState::keep_only(ObjectKind kind, const std::set<model::ObjectName>& names) {
    std::vector<model::ObjectName> gone;
    for_each_object(*latest_, [&](ObjectKind other, const model::ObjectName& name, const auto&) {
        if (other == kind && !names.contains(name)) gone.push_back(name);
    });
    for (const auto& [key, object] : pending_) {
        if (key.first == kind && !names.contains(key.second)) gone.push_back(key.second);
    }
    for (const auto& name : gone)
        erase(kind, name);
    std::erase_if(errors_, [&](const auto& error) {
        return error.first.first == kind && !names.contains(error.first.second);
    });
}

std::vector<SourceError> ObjectState::errors() const {
    std::vector<SourceError> out;
    out.reserve(errors_.size());
    for (const auto& [key, message] : errors_) {
        out.push_back(
            {fmt::format("{} {}", kind_name(key.first), key.second.to_string()), message});
    }
    return out;
}

void ObjectState::apply(model::Objects& objects, const Changes& changes) {
    for (const auto& [key, object] : changes) {
        if (object) {
            put_object(objects, key, *object);
        } else {
            erase_object(objects, key);
        }
    }
}

std::shared_ptr<const model::Objects> ObjectState::shared(std::unique_ptr<model::Objects> set) {
    const auto version = ++version_;
    return {set.release(), [returned = returned_, version](const model::Objects* left) {
                std::unique_ptr<model::Objects> gone(
                    const_cast<model::Objects*>(left)); // NOLINT: made here, and nobody reads it
                const std::lock_guard lock(returned->mutex);
                returned->set = std::move(gone);
                returned->version = version;
            }};
}

std::shared_ptr<const model::Objects> ObjectState::publish() {
    std::unique_ptr<model::Objects> next;
    {
        const std::lock_guard lock(returned_->mutex);
        if (returned_->version + 1 == version_) next = std::move(returned_->set);
        returned_->set.reset();
    }
    if (next) {
        apply(*next, previous_);
    } else {
        next = std::make_unique<model::Objects>(*latest_);
    }
    apply(*next, pending_);
    previous_ = std::move(pending_);
    pending_.clear();
    latest_ = shared(std::move(next));
    return latest_;
}

} // namespace beeline::source
