#include "support/kernel_model.h"

#include <arpa/inet.h>

namespace beeline::test {
namespace {

using datapath::Tables;

const bl_endpoint* endpoint_of(const Tables& tables, const net::Ip& address) {
    const auto found = tables.endpoints.find(datapath::to_abi(address));
    return found == tables.endpoints.end() ? nullptr : &found->second;
}

// Clears the bits after the first `length` of `size` bytes.
void keep_bits(std::uint8_t* bytes, unsigned size, unsigned length) {
    for (unsigned i = 0; i < size; ++i) {
        const unsigned kept = length > 8 * i ? std::min(length - 8 * i, 8U) : 0;
        bytes[i] &= static_cast<std::uint8_t>(0xff00U >> kept);
    }
}

const bl_policy* policy_lookup(const Tables& tables, const bl_policy_key& wanted) {
    for (unsigned length = BL_POLICY_PREFIX_PORT; length >= BL_POLICY_PREFIX_PEER; --length) {
        bl_policy_key key = wanted;
        key.prefixlen = length;
        keep_bits(reinterpret_cast<std::uint8_t*>(&key.subject), sizeof key - sizeof key.prefixlen,
                  length);
        if (const auto found = tables.policy.find(key); found != tables.policy.end())
            return &found->second;
    }
    return nullptr;
}

KernelCheck policy_check(const Tables& tables, std::uint32_t subject, std::uint32_t peer,
                         std::uint8_t direction, model::Protocol protocol, std::uint16_t port) {
    bl_policy_key key{};
    key.subject = subject;
    key.peer = peer;
    key.direction = direction;
    key.proto = static_cast<std::uint8_t>(protocol);
    key.port = htons(port);
    const bl_policy* own = policy_lookup(tables, key);
    key.peer = 0;
    const bl_policy* any = policy_lookup(tables, key);
    if (own && (own->deny || !any || !any->deny)) return {!own->deny, own->rule};
    if (any) return {!any->deny, any->rule};
    return {false, 0};
}

} // namespace

std::uint32_t kernel_identity(const Tables& tables, const net::Ip& address) {
    if (const bl_endpoint* endpoint = endpoint_of(tables, address)) return endpoint->identity;
    for (unsigned length = 129; length-- > 0;) {
        bl_prefix key{length, datapath::to_abi(address)};
        keep_bits(key.addr.byte, sizeof key.addr.byte, length);
        if (const auto found = tables.ipcache.find(key); found != tables.ipcache.end())
            return found->second.identity;
    }
    return BL_ID_world;
}

KernelVerdict kernel_verdict(const Tables& tables, const net::Ip& source,
                             const net::Ip& destination, model::Protocol protocol,
                             std::uint16_t port) {
    const bl_endpoint* client = endpoint_of(tables, source);
    const bl_endpoint* server = endpoint_of(tables, destination);
    const std::uint32_t client_identity = kernel_identity(tables, source);
    const std::uint32_t server_identity = kernel_identity(tables, destination);
    KernelVerdict verdict;
    // A pod's own addresses are reached inside its namespace.
    if (client && server && client->id != 0 && client->id == server->id) return verdict;
    if (client && client->flags & BL_EP_EGRESS) {
        verdict.egress =
            policy_check(tables, client_identity, server_identity, BL_DIR_EGRESS, protocol, port);
    }
    if (server && server->flags & BL_EP_INGRESS && !(client && client->flags & BL_EP_HOST)) {
        verdict.ingress =
            policy_check(tables, server_identity, client_identity, BL_DIR_INGRESS, protocol, port);
    }
    return verdict;
}

} // namespace beeline::test
