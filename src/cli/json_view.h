// Reading answers of the agent without trusting their shape: what is missing or of another type reads as empty.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace beeline::cli {

// A null value when `object` has no such member.
const nlohmann::json& member(const nlohmann::json& object, std::string_view key);
// An empty array when the member is no array.
const nlohmann::json& list(const nlohmann::json& object, std::string_view key);
// Of strings, numbers and booleans; empty for anything else.
std::string text(const nlohmann::json& value);
std::string text(const nlohmann::json& object, std::string_view key);
std::uint64_t number(const nlohmann::json& object, std::string_view key);
bool flag(const nlohmann::json& object, std::string_view key);
// The strings of an array.
std::vector<std::string> texts(const nlohmann::json& object, std::string_view key);
std::string joined(const std::vector<std::string>& parts, std::string_view separator);

// "shop/web", or only the name without a namespace.
std::string object_name(const nlohmann::json& object);
// "10.0.0.1:80", "[fd00::1]:80", the address alone for port 0.
std::string address_port(const std::string& address, std::uint64_t port);
// "350ms", "12s", "3m20s", "5h12m", "2d3h"
std::string duration_text(std::uint64_t milliseconds);

} // namespace beeline::cli
