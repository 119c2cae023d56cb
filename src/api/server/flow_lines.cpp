#include "api/server/flow_lines.h"

#include <utility>

#include "observe/json.h"

namespace beeline::api {
namespace {

class FlowLines : public LineStream {
public:
    FlowLines(observe::Reader reader, bool follow, std::string node)
        : reader_(std::move(reader)), follow_(follow), node_(std::move(node)) {}

    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        auto flow = reader_.next();
        if (!flow && follow_ && wait.count() > 0 && reader_.wait(static_cast<int>(wait.count())))
            flow = reader_.next();
        if (flow) return observe::to_json(*flow, node_);
        ended_ = !follow_;
        return {};
    }
    [[nodiscard]] bool done() const override { return ended_; }

private:
    observe::Reader reader_;
    bool follow_;
    std::string node_;
    bool ended_ = false;
};

} // namespace

std::unique_ptr<LineStream> flow_lines(observe::Reader reader, bool follow, std::string node) {
    return std::make_unique<FlowLines>(std::move(reader), follow, std::move(node));
}

} // namespace beeline::api
