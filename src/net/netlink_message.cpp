#include "net/netlink_message.h"

#include <linux/netlink.h>

namespace beeline::net {
namespace {

constexpr std::size_t align4(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

} // namespace

MessageBuilder::MessageBuilder(std::uint16_t type, std::uint16_t flags) {
    const nlmsghdr head{
        .nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = 0, .nlmsg_pid = 0};
    append(&head, sizeof head);
}

void MessageBuilder::append(const void* data, std::size_t size) {
    const auto* first = static_cast<const std::uint8_t*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
    bytes_.resize(align4(bytes_.size()));
}

void MessageBuilder::attribute(std::uint16_t type, const void* data, std::size_t size) {
    const nlattr head{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + size),
                      .nla_type = type};
    append(&head, sizeof head);
    append(data, size);
}

void MessageBuilder::attribute_text(std::uint16_t type, std::string_view text) {
    const std::string copy(text);
    attribute(type, copy.c_str(), copy.size() + 1);
}

void MessageBuilder::attribute_ip(std::uint16_t type, const Ip& ip) {
    if (ip.is_v4()) {
        attribute(type, ip.bytes.data() + 12, 4);
    } else {
        attribute(type, ip.bytes.data(), 16);
    }
}

std::size_t MessageBuilder::begin(std::uint16_t type) {
    const std::size_t mark = bytes_.size();
    attribute(type, nullptr, 0);
    return mark;
}

void MessageBuilder::end(std::size_t mark) {
    const auto length = static_cast<std::uint16_t>(bytes_.size() - mark);
    std::memcpy(bytes_.data() + mark + offsetof(nlattr, nla_len), &length, sizeof length);
}

NetlinkRequest MessageBuilder::finish(std::string what) {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
    return {std::move(what), std::move(bytes_)};
}

Attributes::Attributes(Bytes bytes) {
    while (bytes.size() >= sizeof(nlattr)) {
        nlattr head{};
        std::memcpy(&head, bytes.data(), sizeof head);
        if (head.nla_len < sizeof head || head.nla_len > bytes.size()) return;
        values_[head.nla_type & NLA_TYPE_MASK] =
            bytes.subspan(sizeof head, head.nla_len - sizeof head);
        bytes = bytes.subspan(std::min(align4(head.nla_len), bytes.size()));
    }
}

std::optional<Bytes> Attributes::get(std::uint16_t type) const {
    const auto found = values_.find(type);
    if (found == values_.end()) return {};
    return found->second;
}

std::optional<std::uint32_t> Attributes::u32(std::uint16_t type) const {
    const auto value = get(type);
    std::uint32_t number = 0;
    if (!value || value->size() != sizeof number) return {};
    std::memcpy(&number, value->data(), sizeof number);
    return number;
}

std::optional<std::string> Attributes::text(std::uint16_t type) const {
    const auto value = get(type);
    if (!value) return {};
    const auto* first = reinterpret_cast<const char*>(value->data());
    return std::string(first, strnlen(first, value->size()));
}

std::optional<Ip> Attributes::ip(std::uint16_t type) const {
    const auto value = get(type);
    if (!value) return {};
    if (value->size() == 4) {
        const auto& b = *value;
        return Ip::v4(std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 |
                      std::uint32_t{b[2]} << 8 | b[3]);
    }
    Ip ip;
    if (value->size() != ip.bytes.size()) return {};
    std::memcpy(ip.bytes.data(), value->data(), ip.bytes.size());
    return ip;
}

std::optional<Mac> Attributes::mac(std::uint16_t type) const {
    const auto value = get(type);
    Mac mac{};
    if (!value || value->size() != mac.size()) return {};
    std::memcpy(mac.data(), value->data(), mac.size());
    return mac;
}

bool for_each_message(Bytes datagram, const std::function<bool(const NetlinkMessage&)>& use) {
    while (datagram.size() >= sizeof(nlmsghdr)) {
        nlmsghdr head{};
        std::memcpy(&head, datagram.data(), sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > datagram.size()) return false;
        const NetlinkMessage message{
            .type = head.nlmsg_type,
            .flags = head.nlmsg_flags,
            .sequence = head.nlmsg_seq,
            .payload = datagram.subspan(sizeof head, head.nlmsg_len - sizeof head)};
        if (!use(message)) return false;
        datagram = datagram.subspan(std::min(align4(head.nlmsg_len), datagram.size()));
    }
    return datagram.empty();
}

std::optional<NetlinkAck> parse_ack(const NetlinkMessage& message) {
    const auto head = message.header<nlmsgerr>();
    if (!head) return {};
    NetlinkAck ack{.number = -head->error, .text = {}};
    if ((message.flags & NLM_F_ACK_TLVS) != 0) {
        // The request's own bytes come back first unless they are capped.
        std::size_t skip = sizeof(nlmsgerr);
        if ((message.flags & NLM_F_CAPPED) == 0 && head->msg.nlmsg_len > sizeof(nlmsghdr)) {
            skip += align4(head->msg.nlmsg_len - sizeof(nlmsghdr));
        }
        if (skip < message.payload.size()) {
            ack.text =
                Attributes(message.payload.subspan(skip)).text(NLMSGERR_ATTR_MSG).value_or("");
        }
    }
    return ack;
}

} // namespace beeline::net
