#include "cli/status_wait.h"

#include <thread>

#include "cli/json_view.h"
#include "cli/table.h"

namespace beeline::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kInterval = std::chrono::milliseconds(200);

} // namespace

std::string waiting_for(const json& status) {
    const json& source = member(status, "source");
    const auto place = printable(text(source, "kind") + " " + text(source, "place"));
    if (!flag(source, "synced"))
        return fmt::format("the first complete set of objects from {}", place);
    if (!flag(source, "connected")) return fmt::format("the connection to {}", place);
    for (const auto& error : list(source, "errors")) {
        // Errors of one object have its place; the others are of the whole state.
        if (text(error, "file").empty())
            return "the desired state to be in force: " + printable(text(error, "message"));
    }
    if (const auto error = text(member(status, "nodes"), "error"); !error.empty())
        return "the paths to other nodes: " + printable(error);
    return {};
}

Result<json> wait_for_agent(const Context& context, std::chrono::seconds timeout) {
    const auto end = Clock::now() + timeout;
    const auto client = TRY(context.client());
    std::string told;
    for (;;) {
        auto status = client.get("/v1/status");
        if (!status && status.error().code != Code::unavailable &&
            status.error().code != Code::not_found)
            return status;
        auto missing = status ? waiting_for(*status)
                              : "the agent to answer: " + printable(status.error().message);
        if (missing.empty()) return status;
        if (missing != told) context.err << "waiting for " << missing << std::endl;
        told = std::move(missing);
        if (Clock::now() >= end)
            return fail(Code::unavailable, "after {} s still waiting for {}", timeout.count(),
                        told);
        std::this_thread::sleep_for(kInterval);
    }
}

} // namespace beeline::cli
