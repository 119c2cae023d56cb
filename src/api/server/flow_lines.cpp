#include "api/server/flow_lines.h"

#include <utility>

#include "observe/json.h"

namespace beeline::api {
namespace {

class FlowLines : public LineStream {
public:
    FlowLines(observe::history::FlowQuery query, bool follow, std::string node)
        : query_(std::move(query)), follow_(follow), node_(std::move(node)) {}

    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        auto flow = query_.next();
        if (!flow && follow_ && wait.count() > 0 && query_.wait(static_cast<int>(wait.count())))
            flow = query_.next();
        if (flow) return observe::to_json(*flow, node_);
        ended_ = !follow_ || query_.exhausted();
        return {};
    }
    [[nodiscard]] bool done() const override { return ended_; }

private:
    observe::history::FlowQuery query_;
    bool follow_;
    std::string node_;
    bool ended_ = false;
};

} // namespace

std::unique_ptr<LineStream> flow_lines(observe::history::FlowQuery query, bool follow,
                                       std::string node) {
    return std::make_unique<FlowLines>(std::move(query), follow, std::move(node));
}

} // namespace beeline::api
