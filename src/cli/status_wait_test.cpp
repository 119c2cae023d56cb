#include "cli/status_wait.h"

#include <gtest/gtest.h>

namespace beeline::cli {
namespace {

using nlohmann::json;

json good() {
    return {{"source",
             {{"kind", "kubernetes"},
              {"place", "https://10.0.0.1:6443"},
              {"synced", true},
              {"connected", true},
              {"errors", json::array()}}}};
}

TEST(StatusWait, NothingIsMissingWhenTheDesiredStateIsInForce) {
    EXPECT_EQ(waiting_for(good()), "");
    // An object with an error leaves what it said before in force: nothing to wait for.
    auto status = good();
    status["source"]["errors"] = {{{"file", "shop/web"}, {"message", "bad"}}};
    EXPECT_EQ(waiting_for(status), "");
}

TEST(StatusWait, SaysWhatIsMissing) {
    auto status = good();
    status["nodes"] = {{"error", "no route"}};
    EXPECT_EQ(waiting_for(status), "the paths to other nodes: no route");
    status["source"]["errors"] = {{{"file", ""}, {"message", "map is full\033"}}};
    EXPECT_EQ(waiting_for(status), "the desired state to be in force: map is full?");
    status["source"]["connected"] = false;
    EXPECT_EQ(waiting_for(status), "the connection to kubernetes https://10.0.0.1:6443");
    status["source"]["synced"] = false;
    EXPECT_EQ(waiting_for(status),
              "the first complete set of objects from kubernetes https://10.0.0.1:6443");
    EXPECT_NE(waiting_for(json::object()), "");
}

} // namespace
} // namespace beeline::cli
