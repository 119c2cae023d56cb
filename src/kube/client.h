// Requests to a Kubernetes API server, one after the other, each waited for. For the command line and for the start.
//   auto client = kube::Client(TRY(kube::find_access({})));
//   const auto node = TRY(client.get("/api/v1/nodes/n1"));
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "kube/access.h"
#include "kube/request.h"

namespace beeline::kube {

// One thread at a time. Connections are kept.
class Client {
public:
    explicit Client(Access access);
    ~Client();
    Client(Client&&) noexcept;
    Client& operator=(Client&&) = delete;

    [[nodiscard]] const Access& access() const { return access_; }

    // Any status; an error when there was no answer.
    Result<Response> send(Request request);
    // The body of a good answer; every other one is an error that says what the server said.
    Result<std::string> good(Request request);
    Result<std::string> get(const std::string& path);

private:
    Access access_;
    struct Pool;
    std::unique_ptr<Pool> pool_;
};

} // namespace beeline::kube
