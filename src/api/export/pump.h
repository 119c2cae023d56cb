// A thread that takes the flows of the store to an exporter. It follows as any reader does: the store is its queue, and
// what it is too slow for comes as a flow of kind lost.
#pragma once

#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/result.h"
#include "model/flow.h"
#include "observe/store.h"

namespace beeline::exporting {

// Called on the pump's thread.
class Sink {
public:
    virtual ~Sink() = default;
    virtual void take(const model::Flow& flow) = 0;
    // There is nothing to take for now. Comes again and again, at least every second.
    virtual void idle() = 0;
};

class Pump {
public:
    // Begins with flows to come. Store and sink must outlive it.
    static Result<std::unique_ptr<Pump>> start(const observe::Store& store, Sink& sink);
    ~Pump(); // what the store has by now is still taken, within bounds
    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;

private:
    Pump(const observe::Store& store, Sink& sink);
    void run();
    int drain(int most);

    observe::Reader reader_;
    Sink& sink_;
    Fd stop_;
    std::thread thread_;
};

} // namespace beeline::exporting
