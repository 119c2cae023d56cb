#include "datapath/ipam.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

namespace beeline::datapath {
namespace {

namespace fs = std::filesystem;

net::Ip ip(const char* text) { return net::Ip::parse(text).value(); }

class IpamTest : public testing::Test {
protected:
    void SetUp() override {
        // In memory where possible: a sync costs nothing there.
        const fs::path base =
            fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
        folder_ = base / fmt::format("beeline-ipam-{}", getpid());
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    Ipam::Options options(const char* v4, const char* v6) {
        Ipam::Options options;
        if (v4 != nullptr) options.ipv4 = net::Prefix::parse(v4).value();
        if (v6 != nullptr) options.ipv6 = net::Prefix::parse(v6).value();
        options.folder = folder_;
        options.now_ms = [this] { return now_ms_; };
        return options;
    }
    std::unique_ptr<Ipam> open(const char* v4, const char* v6 = nullptr) {
        auto ipam = Ipam::open(options(v4, v6));
        EXPECT_TRUE(ipam) << (ipam ? "" : ipam.error().message);
        return std::move(*ipam);
    }
    std::string log_text() const {
        std::ifstream file(folder_ / "ipam.log");
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void write_log(const std::string& text) const { std::ofstream(folder_ / "ipam.log") << text; }

    fs::path folder_;
    std::int64_t now_ms_ = 1'700'000'000'000;
};

TEST_F(IpamTest, LeasesOneAddressOfEachFamily) {
    auto ipam = open("10.1.0.0/24", "fd00:1::/64");
    EXPECT_EQ(ipam->gateway(true), ip("10.1.0.1"));
    EXPECT_EQ(ipam->gateway(false), ip("fd00:1::1"));
    EXPECT_EQ(ipam->lease({"a", "eth0"}).value(), (std::vector{ip("10.1.0.2"), ip("fd00:1::2")}));
    EXPECT_EQ(ipam->lease({"b", "eth0"}).value(), (std::vector{ip("10.1.0.3"), ip("fd00:1::3")}));
    EXPECT_EQ(ipam->lease({"a", "eth1"}).value(), (std::vector{ip("10.1.0.4"), ip("fd00:1::4")}));
    EXPECT_EQ(ipam->lease({"a", "eth0"}).error().code, Code::exists);
    EXPECT_EQ(ipam->ipv4()->used, 3U);
    EXPECT_EQ(ipam->ipv4()->size, 253U);
    EXPECT_EQ(ipam->ipv6()->size, std::numeric_limits<std::uint64_t>::max() - 1);
    EXPECT_EQ(ipam->leases().size(), 3U);
}

TEST_F(IpamTest, NetworkGatewayAndBroadcastAreNeverLeased) {
    auto ipam = open("10.1.0.0/29");
    std::set<std::string> got;
    for (int i = 0; i < 5; ++i)
        got.insert(ipam->lease({fmt::format("c{}", i), "eth0"})->front().to_string());
    EXPECT_EQ(got,
              (std::set<std::string>{"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"}));
    const auto full = ipam->lease({"x", "eth0"});
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Code::exhausted);
    EXPECT_NE(full.error().message.find("10.1.0.0/29"), std::string::npos);
    EXPECT_TRUE(ipam->ipv4()->exhausted());
}

TEST_F(IpamTest, ReleasedAddressesRest) {
    auto ipam = open("10.1.0.0/29");
    for (int i = 0; i < 5; ++i)
        ASSERT_TRUE(ipam->lease({fmt::format("c{}", i), "eth0"}));
    ipam->release({"c3", "eth0"});
    ipam->release({"c3", "eth0"});
    EXPECT_EQ(ipam->find({"c3", "eth0"}), nullptr);
    EXPECT_EQ(ipam->ipv4()->resting, 1U);
    now_ms_ += 29'999;
    EXPECT_EQ(ipam->lease({"x", "eth0"}).error().code, Code::exhausted);
    // Rest goes on across a restart.
    ipam = open("10.1.0.0/29");
    EXPECT_EQ(ipam->lease({"x", "eth0"}).error().code, Code::exhausted);
    now_ms_ += 1;
    EXPECT_EQ(ipam->lease({"x", "eth0"}).value(), std::vector{ip("10.1.0.5")});
}

TEST_F(IpamTest, AnAddressComesAgainAsLateAsPossible) {
    auto ipam = open("10.1.0.0/24");
    ASSERT_TRUE(ipam->lease({"a", "eth0"}));
    ipam->release({"a", "eth0"});
    now_ms_ += 3'600'000;
    EXPECT_EQ(ipam->lease({"b", "eth0"}).value(), std::vector{ip("10.1.0.3")});
    ipam = open("10.1.0.0/24");
    EXPECT_EQ(ipam->lease({"c", "eth0"}).value(), std::vector{ip("10.1.0.4")});
}

TEST_F(IpamTest, SpecificAddresses) {
    auto ipam = open("10.1.0.0/24", "fd00:1::/64");
    EXPECT_EQ(ipam->lease({"a", "eth0"}, {ip("10.1.0.77")}).value(),
              (std::vector{ip("10.1.0.77"), ip("fd00:1::2")}));
    EXPECT_EQ(ipam->lease({"b", "eth0"}, {ip("10.1.0.77")}).error().code, Code::exists);
    for (const char* bad :
         {"10.1.0.0", "10.1.0.1", "10.1.0.255", "10.2.0.5", "fd00:1::", "fd00:1::1", "fd00:2::5"}) {
        EXPECT_EQ(ipam->lease({"b", "eth0"}, {ip(bad)}).error().code, Code::invalid) << bad;
    }
    EXPECT_EQ(ipam->lease({"b", "eth0"}, {ip("10.1.0.8"), ip("10.1.0.9")}).error().code,
              Code::invalid);
    EXPECT_EQ(ipam->find({"b", "eth0"}), nullptr);
    // A fixed address may be taken again while it rests, and then has only one owner.
    ipam->release({"a", "eth0"});
    EXPECT_EQ(ipam->lease({"a", "eth0"}, {ip("10.1.0.77")})->front(), ip("10.1.0.77"));
    now_ms_ += 60'000;
    EXPECT_EQ(ipam->ipv4()->used, 1U);
    EXPECT_EQ(ipam->lease({"c", "eth0"}, {ip("10.1.0.77")}).error().code, Code::exists);
}

TEST_F(IpamTest, SurvivesRestartAndChangedRanges) {
    {
        auto ipam = open("10.1.0.0/24", "fd00:1::/64");
        ASSERT_TRUE(ipam->lease({"a", "eth0"}));
        ASSERT_TRUE(ipam->lease({"b", "eth0"}));
        ipam->release({"a", "eth0"});
    }
    auto ipam = open("10.2.0.0/24");
    ASSERT_NE(ipam->find({"b", "eth0"}), nullptr);
    EXPECT_EQ(*ipam->find({"b", "eth0"}), (std::vector{ip("10.1.0.3"), ip("fd00:1::3")}));
    EXPECT_EQ(ipam->find({"a", "eth0"}), nullptr);
    EXPECT_EQ(ipam->ipv4()->used, 0U);
    EXPECT_FALSE(ipam->ipv6());
    EXPECT_EQ(ipam->lease({"c", "eth0"}).value(), std::vector{ip("10.2.0.2")});
    ipam->release({"b", "eth0"});
    // Back in the old range nothing is counted twice.
    ipam = open("10.1.0.0/24");
    EXPECT_EQ(ipam->ipv4()->used, 0U);
}

TEST_F(IpamTest, ANewGatewayMustNotBeInUse) {
    {
        auto ipam = open("10.1.0.0/24");
        ASSERT_TRUE(ipam->lease({"a", "eth0"}, {ip("10.1.0.129")}));
    }
    const auto ipam = Ipam::open(options("10.1.0.128/25", nullptr));
    ASSERT_FALSE(ipam);
    EXPECT_NE(ipam.error().message.find("10.1.0.129"), std::string::npos);
}

TEST_F(IpamTest, ATornLastRecordIsForgotten) {
    {
        auto ipam = open("10.1.0.0/24");
        ASSERT_TRUE(ipam->lease({"a", "eth0"}));
        ASSERT_TRUE(ipam->lease({"b", "eth0"}));
    }
    const std::string whole = log_text();
    const auto last = whole.rfind('\n', whole.size() - 2) + 1;
    for (std::size_t size = last; size < whole.size(); ++size) {
        write_log(whole.substr(0, size));
        auto ipam = open("10.1.0.0/24");
        EXPECT_EQ(ipam->damage(), "");
        EXPECT_NE(ipam->find({"a", "eth0"}), nullptr);
        EXPECT_EQ(ipam->find({"b", "eth0"}), nullptr);
        ASSERT_TRUE(ipam->lease({"c", "eth0"}));
        ipam = open("10.1.0.0/24");
        EXPECT_NE(ipam->find({"c", "eth0"}), nullptr) << size;
    }
}

TEST_F(IpamTest, ADamagedLogIsSetAsideAndReadAsFarAsPossible) {
    {
        auto ipam = open("10.1.0.0/24");
        for (int i = 0; i < 3; ++i)
            ASSERT_TRUE(ipam->lease({fmt::format("c{}", i), "eth0"}));
    }
    std::string text = log_text();
    text[text.find("10.1.0.3")] = '9';
    write_log(text);
    auto ipam = open("10.1.0.0/24");
    EXPECT_NE(ipam->damage().find("line 3"), std::string::npos) << ipam->damage();
    EXPECT_TRUE(fs::exists(folder_ / "ipam.log.damaged"));
    EXPECT_EQ(ipam->leases().size(), 2U);
    // What a running workload is known to use is claimed again.
    ASSERT_TRUE(ipam->adopt({"c1", "eth0"}, {ip("10.1.0.3")}));
    EXPECT_EQ(ipam->adopt({"c9", "eth0"}, {ip("10.1.0.2")}).error().code, Code::exists);
    ipam = open("10.1.0.0/24");
    EXPECT_EQ(ipam->damage(), "");
    EXPECT_EQ(ipam->leases().size(), 3U);

    write_log("something else entirely\n");
    EXPECT_NE(open("10.1.0.0/24")->damage(), "");
}

TEST_F(IpamTest, WhatCannotBeWrittenIsNotHandedOut) {
    auto ipam = open("10.1.0.0/24");
    ASSERT_TRUE(ipam->lease({"a", "eth0"}));
    const auto before = log_text();
    rlimit old{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    const rlimit small{before.size() + 10, old.rlim_max};
    const auto handler = signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto refused = ipam->lease({"b", "eth0"});
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    ASSERT_FALSE(refused);
    EXPECT_EQ(log_text(), before);
    EXPECT_EQ(ipam->find({"b", "eth0"}), nullptr);
    EXPECT_TRUE(ipam->lease({"b", "eth0"}));
    EXPECT_EQ(open("10.1.0.0/24")->leases().size(), 2U);
}

TEST_F(IpamTest, RefusesRangesThatCannotWork) {
    for (const auto& [v4, v6] : {std::pair<const char*, const char*>{"10.0.0.0/31", nullptr},
                                 {"0.0.0.0/0", nullptr},
                                 {nullptr, "fd00::/127"},
                                 {"fd00::/64", nullptr},
                                 {nullptr, nullptr}}) {
        EXPECT_EQ(Ipam::open(options(v4, v6)).error().code, Code::invalid);
    }
}

TEST_F(IpamTest, LargeRangesCostNothing) {
    auto ipam = open("10.0.0.0/8", "fd00::/32");
    EXPECT_EQ(ipam->ipv4()->size, (1U << 24) - 3);
    const auto far = ip("fd00::ffff:ffff:ffff:ffff");
    EXPECT_EQ(ipam->lease({"a", "eth0"}, {ip("10.255.255.254"), far}).value(),
              (std::vector{ip("10.255.255.254"), far}));
    // Behind the last address comes the first.
    EXPECT_EQ(ipam->lease({"b", "eth0"}).value(), (std::vector{ip("10.0.0.2"), ip("fd00::2")}));
    EXPECT_EQ(ipam->lease({"c", "eth0"}, {ip("fd00::1:0:0:0:2")}).error().code, Code::invalid);
}

TEST_F(IpamTest, RandomUseNeverLeasesAnAddressTwice) {
    auto ipam = open("10.1.0.0/26", "fd00:1::/122");
    std::mt19937 random(7);
    std::map<Ipam::Owner, std::vector<net::Ip>> held;
    std::map<net::Ip, std::int64_t> released;
    unsigned full = 0;
    for (int step = 0; step < 20'000; ++step) {
        now_ms_ += random() % 2000;
        const Ipam::Owner owner{fmt::format("c{}", random() % 90), "eth0"};
        if (held.contains(owner)) {
            ipam->release(owner);
            for (const auto& address : held[owner])
                released[address] = now_ms_;
            held.erase(owner);
        } else if (const auto leased = ipam->lease(owner)) {
            for (const auto& address : *leased) {
                for (const auto& [other, addresses] : held) {
                    ASSERT_EQ(std::count(addresses.begin(), addresses.end(), address), 0)
                        << other.container;
                }
                const auto last = released.find(address);
                if (last != released.end()) {
                    ASSERT_GE(now_ms_ - last->second, 30'000);
                }
            }
            held[owner] = *leased;
        } else {
            ASSERT_EQ(leased.error().code, Code::exhausted);
            ++full;
        }
        if (step % 1000 == 0) ipam = open("10.1.0.0/26", "fd00:1::/122");
        ASSERT_EQ(ipam->ipv4()->used, held.size());
    }
    EXPECT_GT(full, 0U);
    EXPECT_LT(fs::file_size(folder_ / "ipam.log"), 2'000'000U);
}

TEST_F(IpamTest, HundredThousandAddresses) {
    using Clock = std::chrono::steady_clock;
    constexpr unsigned kCount = 100'000;
    const auto ms = [](Clock::duration d) {
        return std::chrono::duration<double, std::milli>(d).count();
    };
    auto ipam = open("10.0.0.0/15", "fd00::/64");
    const auto start = Clock::now();
    for (unsigned i = 0; i < kCount; ++i) {
        ASSERT_TRUE(ipam->lease({fmt::format("container{}", i), "eth0"}));
    }
    const auto leased = Clock::now();
    std::set<net::Ip> seen;
    for (const auto& lease : ipam->leases()) {
        for (const auto& address : lease.addresses)
            EXPECT_TRUE(seen.insert(address).second);
    }
    EXPECT_EQ(seen.size(), 2 * kCount);
    const auto before_open = Clock::now();
    ipam = open("10.0.0.0/15", "fd00::/64");
    const auto opened = Clock::now();
    EXPECT_EQ(ipam->ipv4()->used, kCount);
    for (unsigned i = 0; i < kCount; ++i)
        ipam->release({fmt::format("container{}", i), "eth0"});
    const auto released = Clock::now();
    EXPECT_EQ(ipam->ipv4()->used, 0U);
    EXPECT_EQ(ipam->ipv4()->resting, kCount);
    std::printf("100,000 dual-stack leases: %.0f ms, read back %.0f ms, release %.0f ms\n",
                ms(leased - start), ms(opened - before_open), ms(released - opened));
}

} // namespace
} // namespace beeline::datapath
