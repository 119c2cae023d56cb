#include "model/alert.h"

#include <gtest/gtest.h>

namespace beeline::model {
namespace {

TEST(Priority, NamesGoBothWays) {
    for (int i = 0; i < 8; ++i) {
        const auto priority = static_cast<Priority>(i);
        EXPECT_EQ(parse_priority(priority_name(priority)), priority);
    }
    EXPECT_EQ(parse_priority("WARNING"), Priority::warning);
    EXPECT_EQ(parse_priority("INFO"), Priority::informational);
    EXPECT_FALSE(parse_priority("warn"));
    EXPECT_FALSE(parse_priority(""));
}

} // namespace
} // namespace beeline::model
