#include "observe/history/edges.h"

#include <algorithm>
#include <functional>

#include <fmt/ranges.h>

#include "model/objects.h"

namespace beeline::observe::history {
namespace {

constexpr std::int64_t kHour = 3600LL * 1'000'000'000;
constexpr char kSeparator = '\x1f';

std::int64_t hour_of(std::int64_t time_ns) {
    return time_ns / kHour - (time_ns % kHour < 0 ? 1 : 0);
}

bool is_named(const model::FlowEnd& end) {
    return !end.name.empty() &&
           (end.kind == model::FlowEnd::Kind::workload || end.kind == model::FlowEnd::Kind::remote);
}

std::string end_text(model::FlowEnd::Kind kind, std::string_view space, std::string_view name,
                     std::string_view address) {
    std::string out(1, static_cast<char>('0' + static_cast<int>(kind)));
    for (const std::string_view part : {space, name, address}) {
        out += kSeparator;
        out += part;
    }
    return out;
}

std::string end_text(const model::FlowEnd& end) {
    if (is_named(end)) return end_text(end.kind, end.space, end.name, {});
    if (end.kind == model::FlowEnd::Kind::host) return end_text(end.kind, {}, {}, {});
    return end_text(end.kind, {}, end.names.empty() ? std::string() : end.names.front(),
                    end.address.is_zero() ? std::string() : end.address.to_string());
}

// The same without what there may be very many of.
std::string coarse(const std::string& text) {
    EdgeEnd end;
    const char kind = text.empty() ? '2' : text[0];
    if (kind == '0' + static_cast<int>(model::FlowEnd::Kind::workload)) return text;
    return std::string(1, kind) + std::string(3, kSeparator);
}

EdgeEnd parse_end(std::string_view text) {
    EdgeEnd end;
    if (text.empty() || text[0] < '0' || text[0] > '3') return end;
    end.kind = static_cast<model::FlowEnd::Kind>(text[0] - '0');
    text.remove_prefix(std::min<std::size_t>(2, text.size()));
    for (std::string* part : {&end.space, &end.name, &end.address}) {
        const std::size_t size = std::min(text.find(kSeparator), text.size());
        *part = text.substr(0, size);
        text.remove_prefix(std::min(size + 1, text.size()));
    }
    return end;
}

// The rule that decided.
std::string deciding_rule(const model::Flow& flow) {
    if (flow.denied_direction.empty())
        return flow.ingress_rule.empty() ? flow.egress_rule : flow.ingress_rule;
    const std::string& rule =
        flow.denied_direction == "egress" ? flow.egress_rule : flow.ingress_rule;
    return rule.empty() ? fmt::format("{}", fmt::join(flow.denied_by, ", ")) : rule;
}

bool has_ports(model::Protocol protocol) {
    return protocol == model::Protocol::tcp || protocol == model::Protocol::udp ||
           protocol == model::Protocol::sctp;
}

void count(EdgeCounts& counts, const RecordView& record) {
    using Kind = model::Flow::Kind;
    switch (record.kind) {
    case Kind::opened: ++counts.connections; break;
    case Kind::closed:
        ++counts.closed;
        for (std::size_t side = 0; side < 2; ++side) {
            counts.packets[side] += record.packets[side];
            counts.bytes[side] += record.bytes[side];
        }
        break;
    case Kind::dropped:
    case Kind::revoked: ++counts.drops; break;
    case Kind::l7: {
        if (!record.l7) break;
        const model::L7& l7 = **record.l7;
        if (l7.type == model::L7::Type::request) {
            ++counts.requests;
            break;
        }
        ++counts.responses;
        if (l7.status == model::L7::Status::error) ++counts.errors;
        counts.latency_ns += numbers_of(record).latency_ns;
        break;
    }
    case Kind::replied:
    case Kind::lost: break;
    }
}

constexpr std::string_view kUpsert =
    "INSERT INTO edge "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)"
    " ON CONFLICT DO UPDATE SET connections=connections+?10, closed=closed+?11, drops=drops+?12,"
    " packets_out=packets_out+?13, packets_in=packets_in+?14, bytes_out=bytes_out+?15,"
    " bytes_in=bytes_in+?16, requests=requests+?17, responses=responses+?18, errors=errors+?19,"
    " latency_ns=latency_ns+?20";

} // namespace

std::size_t EdgeSums::Hash::operator()(const Key& key) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&key), sizeof key});
}

EdgeSums::Ends EdgeSums::ends(const model::Flow& flow) {
    Ends out;
    out.source = end_text(flow.source);
    out.destination = end_text(flow.destination);
    out.service = flow.service;
    out.rule = deciding_rule(flow);
    out.service_port = flow.service_port;
    out.protocol = flow.protocol;
    out.reason = flow.reason;
    return out;
}

std::uint32_t EdgeSums::local(const std::string& text) {
    const auto [found, is_new] = locals_.emplace(text, static_cast<std::uint32_t>(texts_.size()));
    if (is_new) {
        texts_.push_back(text);
        stored_.push_back(0);
    }
    return found->second;
}

void EdgeSums::add(Ends& ends, const RecordView& record) {
    if (record.kind == model::Flow::Kind::replied) return; // counted when it opened
    if (ends.generation != generation_) {
        ends.ids = {local(ends.source), local(ends.destination), local(ends.service),
                    local(ends.rule)};
        ends.generation = generation_;
    }
    Key key{};
    key.hour = hour_of(record.time_ns);
    key.texts = ends.ids;
    if (has_ports(ends.protocol))
        key.port = ends.service_port != 0 ? ends.service_port : record.port[1];
    key.protocol = static_cast<std::uint8_t>(ends.protocol);
    key.verdict = static_cast<std::uint8_t>(verdict(record.kind));
    key.reason = ends.reason;
    count(sums_[bounded(key, ends)], record);
}

// A scan makes an edge of each port or address: from some number on they are summed up.
EdgeSums::Key EdgeSums::bounded(Key key, const Ends& ends) {
    if (key.hour > newest_hour_) {
        newest_hour_ = key.hour;
        hour_.clear();
    }
    if (key.hour != newest_hour_ || hour_.contains(key)) return key;
    if (hour_.size() >= kEdgesInHour) {
        key.port = 0;
        key.texts[0] = local(coarse(ends.source));
        key.texts[1] = local(coarse(ends.destination));
        return key;
    }
    hour_.insert(key);
    return key;
}

void EdgeSums::add_lost(std::int64_t time_ns, std::uint64_t count) {
    lost_[hour_of(time_ns)] += count;
}

Result<std::int64_t> EdgeSums::stored(std::uint32_t text, Statement& find, Statement& insert) {
    if (stored_[text] != 0) return stored_[text];
    TRY(insert.text(1, texts_[text]).run());
    find.text(1, texts_[text]);
    if (TRY(find.step())) stored_[text] = find.integer(0);
    find.reset();
    return stored_[text];
}

Result<> EdgeSums::write(const Database& database) {
    if (sums_.empty() && lost_.empty()) return {};
    Statement find = TRY(database.prepare("SELECT id FROM text WHERE value=?1"));
    Statement insert = TRY(database.prepare("INSERT OR IGNORE INTO text(value) VALUES(?1)"));
    Statement upsert = TRY(database.prepare(kUpsert));
    for (const auto& [key, counts] : sums_) {
        upsert.bind(1, key.hour);
        for (std::size_t i = 0; i < key.texts.size(); ++i)
            upsert.bind(static_cast<int>(i) + 2, TRY(stored(key.texts[i], find, insert)));
        int at = 6;
        for (const std::uint64_t value :
             {std::uint64_t{key.port}, std::uint64_t{key.protocol}, std::uint64_t{key.verdict},
              std::uint64_t{key.reason}, counts.connections, counts.closed, counts.drops,
              counts.packets[0], counts.packets[1], counts.bytes[0], counts.bytes[1],
              counts.requests, counts.responses, counts.errors, counts.latency_ns})
            upsert.bind(at++, value);
        TRY(upsert.run());
    }
    if (lost_.empty()) return {};
    Statement lost =
        TRY(database.prepare("INSERT INTO hour_lost VALUES(?1,?2) ON CONFLICT DO UPDATE SET "
                             "lost=lost+?2"));
    for (const auto& [hour, count] : lost_)
        TRY(lost.bind(1, hour).bind(2, count).run());
    return {};
}

void EdgeSums::clear() {
    sums_.clear();
    lost_.clear();
    if (texts_.size() < kTexts) return;
    locals_.clear();
    texts_.clear();
    stored_.clear();
    hour_.clear();
    ++generation_;
}

void EdgeSums::forget_texts() { std::fill(stored_.begin(), stored_.end(), 0); }

Result<EdgeList> read_edges(const std::string& path, const EdgeQuery& query) {
    const Database database = TRY(Database::open(path, Database::Mode::read));
    TRY(database.execute("BEGIN")); // one state of the file for all that follows
    constexpr std::int64_t kFar = 1LL << 40;
    const std::int64_t from = query.since_ns ? hour_of(*query.since_ns) : -kFar;
    const std::int64_t to = query.until_ns ? hour_of(*query.until_ns) : kFar;
    EdgeList out;
    Statement lost =
        TRY(database.prepare("SELECT total(lost) FROM hour_lost WHERE hour BETWEEN ?1 AND ?2"));
    if (TRY(lost.bind(1, from).bind(2, to).step())) out.lost = lost.number(0);

    std::unordered_map<std::int64_t, std::string> texts;
    Statement find = TRY(database.prepare("SELECT value FROM text WHERE id=?1"));
    const auto text = [&](std::int64_t id) -> Result<const std::string*> {
        if (const auto found = texts.find(id); found != texts.end()) return &found->second;
        std::string value;
        if (TRY(find.bind(1, id).step())) value = find.bytes(0);
        find.reset();
        return &texts.emplace(id, std::move(value)).first->second;
    };
    const auto wanted = [&](const Edge& edge) {
        if (query.pods.empty()) return true;
        return std::any_of(query.pods.begin(), query.pods.end(), [&](const auto& pod) {
            return model::names_workload(pod, edge.source.space, edge.source.name) ||
                   model::names_workload(pod, edge.destination.space, edge.destination.name);
        });
    };
    Statement rows =
        TRY(database.prepare("SELECT * FROM edge WHERE hour BETWEEN ?1 AND ?2 ORDER BY hour DESC"));
    rows.bind(1, from).bind(2, to);
    while (TRY(rows.step())) {
        Edge edge;
        edge.source = parse_end(*TRY(text(rows.integer(1))));
        edge.destination = parse_end(*TRY(text(rows.integer(2))));
        if (!wanted(edge)) continue;
        if (out.edges.size() >= query.limit) {
            out.truncated = true;
            break;
        }
        edge.hour_ns = rows.integer(0) * kHour;
        edge.service = *TRY(text(rows.integer(3)));
        edge.rule = *TRY(text(rows.integer(4)));
        edge.port = static_cast<std::uint16_t>(rows.integer(5));
        edge.protocol = static_cast<model::Protocol>(rows.integer(6));
        edge.verdict =
            rows.integer(7) == 1 ? model::Flow::Verdict::dropped : model::Flow::Verdict::forwarded;
        edge.reason = static_cast<std::uint8_t>(rows.integer(8));
        EdgeCounts& counts = edge.counts;
        int at = 9;
        for (std::uint64_t* value :
             {&counts.connections, &counts.closed, &counts.drops, &counts.packets[0],
              &counts.packets[1], &counts.bytes[0], &counts.bytes[1], &counts.requests,
              &counts.responses, &counts.errors, &counts.latency_ns})
            *value = rows.number(at++);
        out.edges.push_back(std::move(edge));
    }
    return out;
}

} // namespace beeline::observe::history
