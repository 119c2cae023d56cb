// One answer from memory and history together: used like observe::Reader, it reads the database up to where memory begins,
// then memory, then follows. No flow twice, none left out; what is missing is a flow of kind lost.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "observe/filter.h"
#include "observe/history/cursor.h"
#include "observe/store.h"

namespace beeline::observe::history {

// One thread at a time. The store must outlive it.
class FlowQuery {
public:
    // `path`: of the database; empty: there is none, only memory answers. Precondition: newest_first does not follow.
    // `filter.first` counts forward, `filter.last` backward from the end (with newest_first the newest so many); both together:
    // the first so many of the last ones. `accept` may be empty: a filter of the caller's own.
    FlowQuery(const Store& store, std::string path, FlowFilter filter,
              Order order = Order::oldest_first, Accept accept = {});
    FlowQuery(FlowQuery&&) noexcept;
    FlowQuery& operator=(FlowQuery&&) noexcept;
    ~FlowQuery();

    // As observe::Reader.
    std::optional<model::Flow> next();
    [[nodiscard]] int fd() const;
    bool wait(int timeout_ms);
    // Whether nothing will come any more, even when following: all that `first` asks for was given.
    [[nodiscard]] bool exhausted() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::observe::history
