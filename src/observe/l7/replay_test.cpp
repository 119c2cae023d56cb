#include "observe/l7/test_replay.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace beeline::observe::l7::testing {
namespace {

std::string unescape(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            out += text[i];
            continue;
        }
        switch (const char c = text[++i]; c) {
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'x':
            out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
            break;
        default: out += c;
        }
    }
    return out;
}

} // namespace

Conversation read_conversation(const std::string& path) {
    Conversation out;
    const std::filesystem::path where(path);
    out.name = where.parent_path().filename().string() + "/" + where.stem().string();
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("port "))
            out.port = static_cast<std::uint16_t>(std::stoi(line.substr(5)));
        if (line == "udp") out.udp = true;
        if (line.starts_with("= ")) out.expected.push_back(line.substr(2));
        if (line.size() >= 4 && (line[0] == '>' || line[0] == '<'))
            out.segments.push_back({static_cast<std::uint8_t>(line[0] == '>' ? 0 : 1),
                                    unescape(std::string_view(line).substr(3, line.size() - 4))});
    }
    return out;
}

std::vector<Conversation> conversations() {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(BEELINE_TEST_DATA "/l7"))
        if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
    std::sort(paths.begin(), paths.end());
    std::vector<Conversation> out;
    for (const std::string& path : paths)
        out.push_back(read_conversation(path));
    return out;
}

std::string describe(const model::L7& m) {
    const bool request = m.type == model::L7::Type::request;
    std::string out =
        fmt::format("{} {}", request ? "request" : "response", model::to_string(m.protocol));
    if (!request)
        out += fmt::format(" {} {}", m.code,
                           m.status == model::L7::Status::ok      ? "ok"
                           : m.status == model::L7::Status::error ? "error"
                                                                  : "unknown");
    out += fmt::format(" [{}] [{}]", m.method, m.resource);
    const auto text = [&out](std::string_view name, const std::string& value) {
        if (!value.empty()) out += fmt::format(" {}=[{}]", name, value);
    };
    const auto number = [&out](std::string_view name, std::uint64_t value) {
        if (value != 0) out += fmt::format(" {}={}", name, value);
    };
    text("host", m.host);
    text("version", m.version);
    if (m.url != m.resource) text("url", m.url);
    text("error", m.error);
    text("trace", m.trace_parent);
    for (const auto& [name, value] : m.headers)
        out += fmt::format(" {}:[{}]", name, value);
    number("in", m.request_bytes);
    number("out", m.response_bytes);
    if (!request && m.latency_ns == 0) out += " no latency";
    for (const auto& address : m.dns.addresses)
        text("address", address.to_string());
    for (const auto& name : m.dns.names)
        text("cname", name);
    number("ttl", m.dns.ttl_s);
    return out;
}

void Recorder::message(std::uint64_t, std::uint64_t, std::shared_ptr<const model::L7> message) {
    lines.push_back(describe(*message));
    messages.push_back(std::move(message));
}

void Recorder::give_up(std::uint64_t, GiveUp reason) {
    lines.push_back(fmt::format("give up {}", name_of(reason)));
}

std::vector<Piece> pieces_of(const Conversation& conversation) {
    std::vector<Piece> out;
    std::uint64_t offset[2] = {0, 0};
    for (const Segment& segment : conversation.segments) {
        out.push_back({segment.side, offset[segment.side], segment.data,
                       static_cast<std::uint32_t>(segment.data.size())});
        offset[segment.side] += segment.data.size();
    }
    return out;
}

std::vector<Piece> split(const std::vector<Piece>& pieces, std::size_t size) {
    std::vector<Piece> out;
    for (const Piece& piece : pieces)
        for (std::size_t at = 0; at < piece.data.size(); at += size) {
            const std::string part = piece.data.substr(at, size);
            out.push_back(
                {piece.side, piece.offset + at, part, static_cast<std::uint32_t>(part.size())});
        }
    return out;
}

std::vector<std::string> replay(const Conversation& conversation, const std::vector<Piece>& pieces,
                                bool first, const Options& options) {
    Recorder recorder;
    Tracker tracker(options, recorder);
    std::uint64_t time_ns = 1'000'000'000;
    for (const Piece& piece : pieces) {
        time_ns += 1'000'000;
        tracker.chunk({.connection = 7,
                       .side = piece.side,
                       .tls = false,
                       .transport = conversation.udp ? model::Protocol::udp : model::Protocol::tcp,
                       .server_port = conversation.port,
                       .offset = piece.offset,
                       .length = piece.length,
                       .data = std::as_bytes(std::span(piece.data)),
                       .time_ns = time_ns,
                       .first = first});
    }
    tracker.closed(7);
    return recorder.lines;
}

std::vector<std::string> replay(const std::vector<Segment>& segments, std::uint16_t port) {
    const Conversation conversation{
        .name = {}, .port = port, .udp = false, .segments = segments, .expected = {}};
    return replay(conversation, pieces_of(conversation));
}

} // namespace beeline::observe::l7::testing
