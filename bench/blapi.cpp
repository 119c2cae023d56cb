// A client of Hubble's API that reads as fast as it can and parses everything.
//   blapi TARGET all             the flows that are there, once
//   blapi TARGET follow SECONDS  flows to come, for so long; says "ready" first
// Prints: flows, losses told, seconds between the first and the last flow, own CPU seconds.
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <grpcpp/grpcpp.h>
#include <observer/observer.grpc.pb.h>

namespace {

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

} // namespace

int main(int count, char** arguments) {
    using Clock = std::chrono::steady_clock;
    if (count < 3) return 2;
    const bool follow = std::strcmp(arguments[2], "follow") == 0;
    grpc::ChannelArguments options;
    options.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    const auto stub = observer::Observer::NewStub(
        grpc::CreateCustomChannel(arguments[1], grpc::InsecureChannelCredentials(), options));
    grpc::ClientContext context;
    if (follow)
        context.set_deadline(std::chrono::system_clock::now() +
                             std::chrono::seconds(count > 3 ? std::atoi(arguments[3]) : 1));
    observer::GetFlowsRequest request;
    request.set_follow(follow);
    const auto reader = stub->GetFlows(&context, request);
    reader->WaitForInitialMetadata();
    if (follow) {
        std::puts("ready");
        std::fflush(stdout);
    }
    const double before = cpu_seconds();
    std::uint64_t flows = 0;
    std::uint64_t lost = 0;
    Clock::time_point first;
    Clock::time_point last;
    observer::GetFlowsResponse response;
    while (reader->Read(&response)) {
        last = Clock::now();
        if (flows == 0) first = last;
        flows += response.has_flow() ? 1 : 0;
        lost += response.lost_events().num_events_lost();
    }
    const auto status = reader->Finish();
    if (!status.ok() && !(follow && status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)) {
        std::fprintf(stderr, "blapi: %s\n", status.error_message().c_str());
        return 1;
    }
    std::printf("%llu %llu %.6f %.6f\n", static_cast<unsigned long long>(flows),
                static_cast<unsigned long long>(lost),
                std::chrono::duration<double>(last - first).count(), cpu_seconds() - before);
    return 0;
}
