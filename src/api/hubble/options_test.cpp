#include "api/hubble/options.h"

#include <gtest/gtest.h>

namespace beeline::hubble {
namespace {

TEST(HubbleOptions, Addresses) {
    for (const auto& [text, address] :
         std::vector<std::pair<const char*, const char*>>{{":1", "[::]:1"},
                                                          {"127.0.0.1", "127.0.0.1:4244"},
                                                          {"127.0.0.1:9", "127.0.0.1:9"},
                                                          {"::1", "[::1]:4244"},
                                                          {"[::1]", "[::1]:4244"},
                                                          {"[::1]:9", "[::1]:9"},
                                                          {"localhost", "localhost:4244"},
                                                          {"node-2:80", "node-2:80"}})
        EXPECT_EQ(listen_address(text, 4244).value_or("?"), address) << text;
    for (const char* bad : {"", "a:b", "a:", "a:70000", "a:123456"})
        EXPECT_FALSE(listen_address(bad, 4244)) << bad;
}

TEST(HubbleOptions, Loopback) {
    for (const char* address : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"})
        EXPECT_TRUE(is_loopback(address)) << address;
    for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fd00::1]:1", "node:1"})
        EXPECT_FALSE(is_loopback(address)) << address;
}

} // namespace
} // namespace beeline::hubble
