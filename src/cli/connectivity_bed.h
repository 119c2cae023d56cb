// What the connectivity test stands on: its workloads, its objects, the server on the machine, and processes that act
// as clients inside of workloads. All of it carries the test's names, so that what a killed run left can be found.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "api/client/paths.h"
#include "base/fd.h"
#include "base/result.h"
#include "cli/connectivity/cases.h"
#include "cli/connectivity/socket.h"
#include "cli/runtime_cgroup.h"
#include "cli/runtime_record.h"

namespace beeline::cli {

// A child process that talks over two pipes; killed and reaped when this goes away.
class TestChild {
public:
    TestChild() = default;
    TestChild(TestChild&& other) noexcept;
    TestChild& operator=(TestChild&& other) noexcept;
    ~TestChild();

    Fd to;   // its input
    Fd from; // its output
    pid_t pid = 0;
};

class ConnectivityBed {
public:
    using Use = std::function<void(int in, int out)>;

    // Fails when another test of this instance runs.
    static Result<std::unique_ptr<ConnectivityBed>> open(const api::Paths& paths,
                                                         const api::Client& client);
    ~ConnectivityBed();
    ConnectivityBed(const ConnectivityBed&) = delete;
    ConnectivityBed& operator=(const ConnectivityBed&) = delete;

    // Removes everything that carries the test's names.
    Result<> clear();

    struct Plan {
        std::vector<const Case*> cases;
        std::vector<Endpoint> world;
        bool reuse = false; // take what runs as it is
        std::function<bool()> interrupted;
        std::function<void(const std::string&)> progress;
    };
    // Starts what the cases need, and returns when all listen and all objects are in force.
    Result<> start(const Plan& plan);

    // Nothing when the workload, or an address of that family, is not there.
    [[nodiscard]] std::optional<Endpoint> target(const Case& one) const;
    [[nodiscard]] std::optional<net::Ip> address(std::string_view name, Family family) const;
    // How the agent knows that end: "beeline-test/client", "host".
    [[nodiscard]] std::string known_as(std::string_view from) const;
    [[nodiscard]] std::uint32_t mtu() const { return mtu_; }

    // A process in the network and the cgroup of a workload, or beside this one ("host").
    Result<TestChild> spawn(std::string_view where, const Use& use);

    Result<> apply(const std::string& object);
    Result<> remove(const std::string& object);

private:
    ConnectivityBed(const api::Paths& paths, const api::Client& client, Fd lock)
        : paths_(paths), client_(client), lock_(std::move(lock)) {}
    Result<> load();
    Result<> start_workload(const TestWorkload& workload);
    Result<> wait_listening(const TestWorkload& workload, const std::function<bool()>& interrupted);
    Result<> start_host_server();
    [[nodiscard]] Result<std::string> expand(const TestObject& object) const;
    [[nodiscard]] std::vector<net::Ip> addresses(std::string_view name) const;
    Result<> apply_all(const std::vector<const TestObject*>& objects);

    api::Paths paths_;
    api::Client client_;
    Fd lock_;
    CgroupMounts mounts_;
    std::map<std::string, RunRecord, std::less<>> records_; // by workload
    std::vector<Endpoint> world_;
    std::vector<net::Ip> host_;    // as workloads see it
    std::vector<net::Ip> gateway_; // of the machine
    std::uint16_t host_tcp_ = 0;
    std::uint16_t host_udp_ = 0;
    TestChild host_server_;
    std::uint32_t mtu_ = 1500;
    std::vector<Family> families_;
};

// The machine's own next hops: the gateways of its default routes.
std::vector<net::Ip> default_gateways();

} // namespace beeline::cli
