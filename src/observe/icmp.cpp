#include "observe/icmp.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include <fmt/format.h>

namespace beeline::observe {
namespace {

struct Message {
    std::uint8_t type;
    std::string_view name;
    std::span<const std::string_view> codes; // by number; empty: the type has none
};

constexpr std::span<const std::string_view> kNone{};
constexpr auto kUnreachable4 = std::to_array<std::string_view>(
    {"Net", "Host", "Protocol", "Port", "FragmentationNeeded", "SourceRoutingFailed", "NetUnknown",
     "HostUnknown", "SourceIsolated", "NetAdminProhibited", "HostAdminProhibited", "NetTOS",
     "HostTOS", "CommAdminProhibited", "HostPrecedence", "PrecedenceCutoff"});
constexpr auto kRedirect4 = std::to_array<std::string_view>({"Net", "Host", "TOS+Net", "TOS+Host"});
constexpr auto kExceeded4 =
    std::to_array<std::string_view>({"TTLExceeded", "FragmentReassemblyTimeExceeded"});
constexpr auto kProblem4 =
    std::to_array<std::string_view>({"PointerIndicatesError", "MissingOption", "BadLength"});
constexpr Message kV4[] = {
    {0, "EchoReply", kNone},
    {3, "DestinationUnreachable", kUnreachable4},
    {4, "SourceQuench", kNone},
    {5, "Redirect", kRedirect4},
    {8, "EchoRequest", kNone},
    {9, "RouterAdvertisement", kNone},
    {10, "RouterSolicitation", kNone},
    {11, "TimeExceeded", kExceeded4},
    {12, "ParameterProblem", kProblem4},
    {13, "TimestampRequest", kNone},
    {14, "TimestampReply", kNone},
    {15, "InfoRequest", kNone},
    {16, "InfoReply", kNone},
    {17, "AddressMaskRequest", kNone},
    {18, "AddressMaskReply", kNone},
};

constexpr auto kUnreachable6 = std::to_array<std::string_view>(
    {"NoRouteToDst", "AdminProhibited", "BeyondScopeOfSrc", "AddressUnreachable", "PortUnreachable",
     "SrcAddressFailedPolicy", "RejectRouteToDst"});
constexpr auto kExceeded6 =
    std::to_array<std::string_view>({"HopLimitExceeded", "FragmentReassemblyTimeExceeded"});
constexpr auto kProblem6 = std::to_array<std::string_view>(
    {"ErroneousHeader", "UnrecognizedNextHeader", "UnrecognizedIPv6Option"});
constexpr Message kV6[] = {
    {1, "DestinationUnreachable", kUnreachable6},
    {2, "PacketTooBig", kNone},
    {3, "TimeExceeded", kExceeded6},
    {4, "ParameterProblem", kProblem6},
    {128, "EchoRequest", kNone},
    {129, "EchoReply", kNone},
    {133, "RouterSolicitation", kNone},
    {134, "RouterAdvertisement", kNone},
    {135, "NeighborSolicitation", kNone},
    {136, "NeighborAdvertisement", kNone},
    {137, "Redirect", kNone},
};

template <typename List>
std::string name_in(const List& messages, std::uint8_t type, std::uint8_t code) {
    const auto found = std::find_if(std::begin(messages), std::end(messages),
                                    [&](const Message& message) { return message.type == type; });
    if (found == std::end(messages)) return fmt::format("{}({})", type, code);
    if (code < found->codes.size()) return fmt::format("{}({})", found->name, found->codes[code]);
    if (code == 0) return std::string(found->name);
    return fmt::format("{}(Code: {})", found->name, code);
}

} // namespace

std::string icmp_name(model::Protocol protocol, std::uint8_t type, std::uint8_t code) {
    return protocol == model::Protocol::icmpv6 ? name_in(kV6, type, code)
                                               : name_in(kV4, type, code);
}

} // namespace beeline::observe
