// The workloads of this node: which there are, under which stable numbers, kept in one file each.
//
// The agent gives two hooks: `attach` makes a workload's policy enforceable (maps and programs), and add() returns only
// after it succeeded; `detach` undoes it. One thread, the control loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/workload.h"

namespace beeline::datapath {

class Workloads {
public:
    struct Hooks {
        std::function<Result<>(const model::Workload&)> attach;
        std::function<void(const model::Workload&)> detach;
    };
    using Alive = std::function<bool(const model::Workload&)>;

    // Reads FOLDER/*.json (the folder is made). Records that `alive` denies (after a reboot) or that cannot be read are
    // removed; the hooks are called for none of them: the agent attaches what all() has.
    static Result<std::unique_ptr<Workloads>> open(std::string folder, Hooks hooks,
                                                   const Alive& alive);

    // Gives the workload its id, writes its record and attaches it. `exists` when its (container, interface) is there
    // already. After a failure nothing is left. The pointer is valid until the workload is removed.
    Result<const model::Workload*> add(model::Workload workload);
    // Detaches and forgets. Idempotent.
    void remove(const std::string& container, const std::string& interface);

    [[nodiscard]] const model::Workload* find(const std::string& container,
                                              const std::string& interface) const;
    [[nodiscard]] const model::Workload* by_id(std::uint32_t id) const;
    [[nodiscard]] const model::Workload* by_ifindex(std::uint32_t ifindex) const;
    // Several containers may have one name for a while: the newest is returned.
    [[nodiscard]] const model::Workload* by_name(const model::ObjectName& name) const;
    [[nodiscard]] std::vector<model::Workload> all() const; // by id
    [[nodiscard]] std::size_t size() const { return workloads_.size(); }
    // Those that open() removed, for their addresses and pins to be let go.
    [[nodiscard]] const std::vector<model::Workload>& dropped() const { return dropped_; }

private:
    using Key = std::pair<std::string, std::string>; // container, interface

    Workloads(std::string folder, Hooks hooks)
        : folder_(std::move(folder)), hooks_(std::move(hooks)) {}
    Result<> load(const Alive& alive);
    Result<std::uint32_t> next_id();
    [[nodiscard]] std::string file_of(std::uint32_t id) const;

    std::string folder_;
    Hooks hooks_;
    std::map<Key, model::Workload> workloads_;
    std::map<std::uint32_t, Key> ids_;
    std::vector<model::Workload> dropped_;
    std::uint32_t last_id_ = 0;
    std::uint32_t reserved_id_ = 0; // ids up to this may have been given before a crash
};

// A record's text and back. The error says what is wrong with it.
std::string workload_to_json(const model::Workload& workload);
Result<model::Workload> workload_from_json(std::string_view text);

} // namespace beeline::datapath
