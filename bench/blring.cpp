// Synthetic load for the flow ring: new connections through the attached packet program at a given rate, by test-run, so that
// nothing but the kernel side of the event path and the agent is measured.
//   blring LINK-PIN IFINDEX SOURCE SOURCE-MAC DESTINATION FIRST RATE SECONDS
// FIRST is the number of the first connection: ranges that do not overlap are connections never seen before. Prints how many it made a second. Run it in the node's network namespace.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "ebpf/link.h"
#include "ebpf/object.h"
#include "net/address.h"

using namespace beeline;

namespace {

double now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Ethernet, IPv4 and UDP headers with 22 bytes of payload; checksums are not looked at on this path.
std::vector<std::uint8_t> frame(const net::Ip& source, const net::Mac& mac,
                                const net::Ip& destination) {
    std::vector<std::uint8_t> out(64);
    std::copy(mac.begin(), mac.end(), out.begin() + 6);
    out[12] = 0x08;
    out[14] = 0x45;
    out[17] = 50;
    out[22] = 64;
    out[23] = 17;
    std::copy(source.bytes.begin() + 12, source.bytes.end(), out.begin() + 26);
    std::copy(destination.bytes.begin() + 12, destination.bytes.end(), out.begin() + 30);
    out[39] = 30;
    return out;
}

Result<> run(char** arguments) {
    const Fd program = TRY(ebpf::pinned_program(arguments[1]));
    const auto ifindex = static_cast<std::uint32_t>(std::atoi(arguments[2]));
    auto packet = frame(TRY(net::Ip::parse(arguments[3])), TRY(net::parse_mac(arguments[4])),
                        TRY(net::Ip::parse(arguments[5])));
    const auto first = static_cast<std::uint32_t>(std::atoll(arguments[6]));
    const double rate = std::atof(arguments[7]);
    const double seconds = std::atof(arguments[8]);
    const double start = now();
    std::uint64_t made = 0;
    double time = start;
    while ((time = now()) - start < seconds) {
        const auto due = static_cast<std::uint64_t>((time - start) * rate);
        for (; made < due; ++made) {
            // Ports count through: every packet is a connection of its own.
            const std::uint32_t ports = (first + static_cast<std::uint32_t>(made)) * 2654435761U;
            std::memcpy(packet.data() + 34, &ports, sizeof ports);
            TRY(ebpf::run_packet(program.get(), packet,
                                 {.ifindex = ifindex, .ingress_ifindex = ifindex}));
        }
    }
    std::printf("%.1f\n", static_cast<double>(made) / (time - start));
    return {};
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 9) {
        std::fprintf(
            stderr,
            "usage: blring LINK-PIN IFINDEX SOURCE SOURCE-MAC DESTINATION FIRST RATE SECONDS\n");
        return 2;
    }
    if (const auto done = run(argv); !done) {
        std::fprintf(stderr, "blring: %s\n", done.error().message.c_str());
        return 1;
    }
    return 0;
}
