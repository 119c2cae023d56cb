// Label values in the words of Hubble.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/flow.h"
#include "observe/event_type.h"

namespace beeline::observe::metrics {

std::string protocol_word(const model::Flow& flow, const Event& event); // "TCP", "DNS"
std::string_view l7_word(model::L7::Protocol protocol); // "HTTP" of HTTP/2 and gRPC too
std::string_view type_word(EventType type);             // "Trace"
std::string subtype_word(const model::Flow& flow, const Event& event);
std::string_view verdict_word(model::Flow::Verdict verdict); // "FORWARDED"
std::string_view reporter_word(TrafficDirection direction);  // "client"
std::string_view direction_word(TrafficDirection direction); // "traffic_direction_unknown"
std::string_view family_word(const model::Flow& flow);       // "IPv4"
std::string rcode_word(std::uint32_t rcode);                 // "No Error"
std::string qtype_word(std::uint16_t type);                  // "A"
std::string qtypes_word(std::span<const std::uint16_t> types);

// Text that came over the wire, as a label value: valid UTF-8 without control characters, of bounded length.
std::string label_text(std::string_view text);

} // namespace beeline::observe::metrics
