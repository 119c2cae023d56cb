#include "observe/history/codec.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "observe/history/bytes.h"

namespace beeline::observe::history {
namespace {

enum class EntryKind : std::uint8_t { text = 1, end, context, process };

// Bits of a flow's first byte.
constexpr std::uint8_t kHasOpened = 1;
constexpr std::uint8_t kHasSourceProcess = 2;
constexpr std::uint8_t kHasDestinationProcess = 4;
constexpr std::uint8_t kHasL7 = 8;
constexpr std::uint8_t kHasIcmp = 16;
constexpr std::uint8_t kSameL7 = 32; // as an earlier flow of the block, but for its numbers

constexpr std::size_t kChecksum = 4;

std::uint32_t checksum(std::string_view bytes) {
    return static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

std::string begin_entry(EntryKind kind) { return std::string(1, static_cast<char>(kind)); }

EntryId intern_text(std::string_view text, const Intern& intern) {
    if (text.empty()) return 0;
    std::string bytes = begin_entry(EntryKind::text);
    bytes += text;
    return intern(bytes);
}

template <typename Texts>
void write_texts(ByteWriter& out, const Texts& texts, const Intern& intern) {
    out.number(texts.size());
    for (const auto& text : texts)
        out.number(intern_text(text, intern));
}

EntryId intern_end(const model::FlowEnd& end, const Intern& intern) {
    std::string bytes = begin_entry(EntryKind::end);
    ByteWriter out(bytes);
    out.byte(static_cast<std::uint8_t>(end.kind));
    out.number(end.identity);
    out.number(end.endpoint);
    out.number(intern_text(end.space, intern));
    out.number(intern_text(end.name, intern));
    out.number(end.labels.size());
    for (const auto& [key, value] : end.labels) {
        out.number(intern_text(key, intern));
        out.number(intern_text(value, intern));
    }
    write_texts(out, end.names, intern);
    return intern(bytes);
}

bool known(model::Flow::Kind kind) {
    return kind >= model::Flow::Kind::opened && kind <= model::Flow::Kind::l7;
}

// Signed differences as small numbers, whatever their sign.
std::uint64_t fold(std::uint64_t difference) {
    return (difference << 1U) ^ (difference >> 63U ? ~0ULL : 0ULL);
}
std::uint64_t unfold(std::uint64_t value) { return (value >> 1U) ^ (value & 1U ? ~0ULL : 0ULL); }
std::int64_t plus(std::int64_t time, std::uint64_t difference) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(time) + difference);
}
std::uint64_t minus(std::int64_t a, std::int64_t b) {
    return static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b);
}

// Messages of a block that its later flows say again.
class Messages {
public:
    using Message = std::shared_ptr<const model::L7>;

    void add_row(std::string_view row) { rows_.push_back(row); }
    // That of an earlier row; null: damaged.
    Message of(std::uint64_t row) {
        if (row >= rows_.size()) return nullptr;
        Message& message = messages_[row];
        if (!message) message = read(rows_[row]);
        return message;
    }

private:
    static Message read(std::string_view row) {
        ByteReader in(row);
        const std::uint8_t parts = in.byte();
        if (!(parts & kHasL7)) return nullptr;
        in.byte();
        in.number();
        in.take(6); // ports, TCP flags
        for (std::size_t i = 0; i < 4; ++i)
            in.number();
        if (parts & kHasOpened) in.number();
        if (parts & kHasIcmp) in.take(2);
        for (const auto part : {kHasSourceProcess, kHasDestinationProcess})
            if (parts & part) in.number();
        auto l7 = decode_l7(in.text());
        return l7 && in.ok() ? std::make_shared<const model::L7>(std::move(*l7)) : nullptr;
    }

    std::vector<std::string_view> rows_;
    std::unordered_map<std::uint64_t, Message> messages_;
};

// The message as the flow's numbers have it, which a flow with a message has no other use for.
void take_numbers(model::Flow& flow, std::shared_ptr<const model::L7> message) {
    RecordView record;
    record.l7 = &message;
    for (std::size_t i = 0; i < 2; ++i) {
        record.packets[i] = std::exchange(flow.packets[i], 0);
        record.bytes[i] = std::exchange(flow.bytes[i], 0);
    }
    flow.l7 = message_of(record);
}

// What a flow has of its own. False: damaged.
bool read_row(std::string_view bytes, const Block& block, Entries& entries, Messages& messages,
              model::Flow& flow) {
    ByteReader in(bytes);
    const std::uint8_t parts = in.byte();
    flow.kind = static_cast<model::Flow::Kind>(in.byte());
    if (!known(flow.kind)) return false;
    flow.verdict = verdict(flow.kind);
    flow.time_ns = plus(block.time_min, in.number());
    flow.source.port = in.u16();
    flow.destination.port = in.u16();
    flow.tcp_flags[0] = in.byte();
    flow.tcp_flags[1] = in.byte();
    for (auto& packets : flow.packets)
        packets = in.number();
    for (auto& count : flow.bytes)
        count = in.number();
    flow.opened_ns = parts & kHasOpened ? plus(flow.time_ns, unfold(in.number())) : 0;
    flow.icmp_type = parts & kHasIcmp ? in.byte() : 0;
    flow.icmp_code = parts & kHasIcmp ? in.byte() : 0;
    const auto process = [&](std::uint8_t part, model::FlowProcess& out) {
        if (!(parts & part)) {
            out = {};
            return true;
        }
        const model::FlowProcess* found = entries.process(block.entries + in.number());
        if (found) out = *found;
        return found != nullptr;
    };
    if (!process(kHasSourceProcess, flow.source.process)) return false;
    if (!process(kHasDestinationProcess, flow.destination.process)) return false;
    flow.l7.reset();
    if (parts & kHasL7) {
        auto l7 = decode_l7(in.text());
        if (!l7) return false;
        take_numbers(flow, std::make_shared<const model::L7>(std::move(*l7)));
    } else if (parts & kSameL7) {
        auto l7 = messages.of(in.number());
        if (!l7) return false;
        take_numbers(flow, std::move(l7));
    }
    if (flow.kind == model::Flow::Kind::lost) {
        flow.lost = flow.packets[0];
        flow.packets[0] = 0;
    }
    return in.at_end();
}

} // namespace

std::string seal(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size() + kChecksum);
    std::uint32_t sum = checksum(bytes);
    for (std::size_t i = 0; i < kChecksum; ++i, sum >>= 8U)
        out += static_cast<char>(sum & 0xffU);
    out += bytes;
    return out;
}

std::optional<std::string_view> unseal(std::string_view sealed) {
    if (sealed.size() < kChecksum) return {};
    std::uint32_t sum = 0;
    for (std::size_t i = kChecksum; i-- > 0;)
        sum = sum << 8U | static_cast<unsigned char>(sealed[i]);
    sealed.remove_prefix(kChecksum);
    if (checksum(sealed) != sum) return {};
    return sealed;
}

EntryId intern_context(const model::Flow& flow, const Intern& intern) {
    std::string bytes = begin_entry(EntryKind::context);
    ByteWriter out(bytes);
    out.byte(flow.kind == model::Flow::Kind::lost ? 1 : 0);
    out.byte(static_cast<std::uint8_t>(flow.protocol));
    out.byte(flow.reason);
    out.ip(flow.source.address);
    out.ip(flow.destination.address);
    out.ip(flow.service_address);
    out.u16(flow.service_port);
    out.number(intern_end(flow.source, intern));
    out.number(intern_end(flow.destination, intern));
    for (const std::string* text : {&flow.egress_rule, &flow.ingress_rule, &flow.denied_direction,
                                    &flow.service, &flow.interface, &flow.lost_where})
        out.number(intern_text(*text, intern));
    write_texts(out, flow.denied_by, intern);
    return intern(bytes);
}

EntryId intern_process(const model::FlowProcess& process, const Intern& intern) {
    if (process.pid == 0) return 0;
    std::string bytes = begin_entry(EntryKind::process);
    ByteWriter out(bytes);
    out.number(process.pid);
    out.number(process.uid);
    out.number(process.start_ns);
    for (const std::string* text :
         {&process.comm, &process.binary, &process.user, &process.container})
        out.number(intern_text(*text, intern));
    write_texts(out, process.ancestry, intern);
    return intern(bytes);
}

void Entries::clear_if_large() {
    if (texts_.size() + ends_.size() + contexts_.size() + processes_.size() < kMost) return;
    texts_.clear();
    ends_.clear();
    contexts_.clear();
    processes_.clear();
}

const std::string* Entries::text(EntryId id) {
    static const std::string kEmpty;
    if (id == 0) return &kEmpty;
    if (const auto found = texts_.find(id); found != texts_.end()) return &found->second;
    auto bytes = load_(id);
    if (!bytes || bytes->empty() || (*bytes)[0] != static_cast<char>(EntryKind::text))
        return nullptr;
    bytes->erase(0, 1);
    return &texts_.emplace(id, std::move(*bytes)).first->second;
}

namespace {

// Reads numbers of texts; what is missing makes the whole invalid.
template <typename Find>
class TextReader {
public:
    TextReader(ByteReader& in, Find find) : in_(in), find_(std::move(find)) {}
    void operator()(std::string& out) {
        if (const std::string* text = find_(in_.number())) {
            out = *text;
        } else {
            in_.refuse();
        }
    }
    void list(std::vector<std::string>& out) {
        const std::size_t count = in_.count();
        for (std::size_t i = 0; i < count && in_.ok(); ++i)
            (*this)(out.emplace_back());
    }

private:
    ByteReader& in_;
    Find find_;
};

} // namespace

const model::FlowEnd* Entries::end(EntryId id) {
    if (const auto found = ends_.find(id); found != ends_.end()) return &found->second;
    const auto bytes = load_(id);
    if (!bytes) return nullptr;
    ByteReader in(*bytes);
    TextReader text(in, [this](EntryId at) { return this->text(at); });
    if (in.byte() != static_cast<std::uint8_t>(EntryKind::end)) return nullptr;
    model::FlowEnd end;
    const std::uint8_t kind = in.byte();
    if (kind > static_cast<std::uint8_t>(model::FlowEnd::Kind::remote)) return nullptr;
    end.kind = static_cast<model::FlowEnd::Kind>(kind);
    end.identity = static_cast<std::uint32_t>(in.number());
    end.endpoint = static_cast<std::uint32_t>(in.number());
    text(end.space);
    text(end.name);
    const std::size_t labels = in.count();
    for (std::size_t i = 0; i < labels && in.ok(); ++i) {
        std::string key;
        text(key);
        text(end.labels[key]);
    }
    text.list(end.names);
    if (!in.at_end()) return nullptr;
    return &ends_.emplace(id, std::move(end)).first->second;
}

Entries::Context* Entries::context(EntryId id) {
    if (const auto found = contexts_.find(id); found != contexts_.end()) return &found->second;
    const auto bytes = load_(id);
    if (!bytes) return nullptr;
    ByteReader in(*bytes);
    TextReader text(in, [this](EntryId at) { return this->text(at); });
    if (in.byte() != static_cast<std::uint8_t>(EntryKind::context)) return nullptr;
    Context context;
    model::Flow& flow = context.flow;
    if (in.byte() != 0) flow.kind = model::Flow::Kind::lost;
    flow.protocol = static_cast<model::Protocol>(in.byte());
    flow.reason = in.byte();
    const net::Ip source = in.ip();
    const net::Ip destination = in.ip();
    flow.service_address = in.ip();
    flow.service_port = in.u16();
    for (auto* end : {&flow.source, &flow.destination}) {
        const model::FlowEnd* found = this->end(in.number());
        if (!found) return nullptr;
        *end = *found;
    }
    flow.source.address = source;
    flow.destination.address = destination;
    for (std::string* out : {&flow.egress_rule, &flow.ingress_rule, &flow.denied_direction,
                             &flow.service, &flow.interface, &flow.lost_where})
        text(*out);
    text.list(flow.denied_by);
    if (!in.at_end()) return nullptr;
    if (wanted_) context.wanted = wanted_(flow);
    return &contexts_.emplace(id, std::move(context)).first->second;
}

const model::FlowProcess* Entries::process(EntryId id) {
    if (const auto found = processes_.find(id); found != processes_.end()) return &found->second;
    const auto bytes = load_(id);
    if (!bytes) return nullptr;
    ByteReader in(*bytes);
    TextReader text(in, [this](EntryId at) { return this->text(at); });
    if (in.byte() != static_cast<std::uint8_t>(EntryKind::process)) return nullptr;
    model::FlowProcess process;
    process.pid = static_cast<std::uint32_t>(in.number());
    process.uid = static_cast<std::uint32_t>(in.number());
    process.start_ns = in.number();
    for (std::string* out : {&process.comm, &process.binary, &process.user, &process.container})
        text(*out);
    text.list(process.ancestry);
    if (!in.at_end()) return nullptr;
    return &processes_.emplace(id, std::move(process)).first->second;
}

void BlockWriter::begin(std::uint64_t number, EntryId entries) {
    block_ = {};
    block_.number = number;
    block_.entries = entries;
    places_.clear();
    contexts_.clear();
    messages_.clear();
    rows_.clear();
    bytes_.clear();
}

void BlockWriter::add(const RecordView& record, EntryId context, std::array<EntryId, 2> process) {
    const auto [place, is_new] =
        places_.emplace(context, static_cast<std::uint16_t>(contexts_.size()));
    if (is_new) contexts_.push_back(context);
    // The time is put in front of it by finish(), when the earliest of the block is known.
    ByteWriter out(bytes_);
    const bool icmp = record.icmp_type != 0 || record.icmp_code != 0;
    std::uint8_t parts = 0;
    if (record.opened_ns != 0) parts |= kHasOpened;
    if (process[0] != 0) parts |= kHasSourceProcess;
    if (process[1] != 0) parts |= kHasDestinationProcess;
    const Said* said = record.l7 ? said_before(*record.l7) : nullptr;
    if (record.l7) parts |= said ? kSameL7 : kHasL7;
    if (icmp) parts |= kHasIcmp;
    out.byte(parts);
    out.byte(static_cast<std::uint8_t>(record.kind));
    out.u16(record.port[0]);
    out.u16(record.port[1]);
    out.byte(record.tcp_flags[0]);
    out.byte(record.tcp_flags[1]);
    for (const auto packets : record.packets)
        out.number(packets);
    for (const auto count : record.bytes)
        out.number(count);
    if (record.opened_ns != 0) out.number(fold(minus(record.opened_ns, record.time_ns)));
    if (icmp) {
        out.byte(record.icmp_type);
        out.byte(record.icmp_code);
    }
    for (const EntryId id : process)
        if (id != 0) out.number(id - block_.entries);
    if (said) {
        out.number(said->row);
    } else if (record.l7) {
        std::string l7;
        append_l7(l7, **record.l7);
        out.text(l7);
    }
    rows_.push_back({place->second, record.time_ns, bytes_.size()});
}

// Null: a message that this block does not have yet.
const BlockWriter::Said* BlockWriter::said_before(const std::shared_ptr<const model::L7>& message) {
    // One that nobody else has is not said again.
    if (message.use_count() == 1) return nullptr;
    const auto [said, is_new] = messages_.try_emplace(message.get());
    if (!is_new) return &said->second;
    said->second = {message, rows_.size()};
    return nullptr;
}

Block BlockWriter::finish() {
    const auto [least, most] =
        std::minmax_element(rows_.begin(), rows_.end(),
                            [](const Row& a, const Row& b) { return a.time_ns < b.time_ns; });
    block_.time_min = least->time_ns;
    block_.time_max = most->time_ns;
    block_.last = block_.number + rows_.size() - 1;

    std::string contexts;
    ByteWriter names(contexts);
    names.number(contexts_.size());
    for (const EntryId id : contexts_)
        names.number(id - block_.entries);
    block_.contexts = seal(contexts);

    // First which context each flow has, so that others are skipped unread; then the flows, each behind its length.
    std::string flows;
    flows.reserve(bytes_.size() + rows_.size() * 8);
    ByteWriter out(flows);
    for (const Row& row : rows_) {
        if (contexts_.size() <= 256) {
            out.byte(static_cast<std::uint8_t>(row.context));
        } else {
            out.u16(row.context);
        }
    }
    std::string time;
    std::size_t begin = 0;
    for (const Row& row : rows_) {
        constexpr std::size_t kHead = 2; // parts and kind come before the time
        time.clear();
        ByteWriter(time).number(minus(row.time_ns, block_.time_min));
        const std::string_view bytes(bytes_.data() + begin, row.end - begin);
        out.number(bytes.size() + time.size());
        flows += bytes.substr(0, kHead);
        flows += time;
        flows += bytes.substr(kHead);
        begin = row.end;
    }
    block_.flows = seal(flows);
    return std::move(block_);
}

bool decode_contexts(const Block& block, std::vector<EntryId>& out) {
    out.clear();
    const auto bytes = unseal(block.contexts);
    if (!bytes) return false;
    ByteReader in(*bytes);
    const std::size_t count = in.count();
    if (count > kBlockFlows) return false;
    for (std::size_t i = 0; i < count; ++i)
        out.push_back(block.entries + in.number());
    return in.at_end();
}

bool decode_flows(const Block& block, const std::vector<EntryId>& contexts, Entries& entries,
                  const std::function<void(const model::Flow&)>& handle) {
    const auto bytes = unseal(block.flows);
    if (!bytes || block.last < block.number || block.last - block.number >= kBlockFlows)
        return false;
    const std::size_t count = block.last - block.number + 1;
    std::vector<Entries::Context*> found;
    found.reserve(contexts.size());
    for (const EntryId id : contexts) {
        found.push_back(entries.context(id));
        if (!found.back()) return false;
    }
    ByteReader in(*bytes);
    const std::size_t width = contexts.size() <= 256 ? 1 : 2;
    ByteReader places(in.take(count * width));
    Messages messages;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t place = width == 1 ? places.byte() : places.u16();
        const std::string_view row = in.text();
        if (place >= found.size() || !in.ok()) return false;
        messages.add_row(row);
        if (!found[place]->wanted) continue;
        model::Flow& flow = found[place]->flow;
        flow.number = block.number + i;
        if (!read_row(row, block, entries, messages, flow)) return false;
        handle(flow);
    }
    return in.at_end();
}

void append_l7(std::string& bytes, const model::L7& l7) {
    ByteWriter out(bytes);
    out.byte(static_cast<std::uint8_t>(l7.protocol));
    out.byte(static_cast<std::uint8_t>(l7.type));
    out.byte(static_cast<std::uint8_t>(l7.status));
    out.byte(l7.tls ? 1 : 0);
    for (const std::uint64_t value : {std::uint64_t{l7.code}, l7.latency_ns, l7.request_bytes,
                                      l7.response_bytes, std::uint64_t{l7.dns.ttl_s}})
        out.number(value);
    for (const std::string* text :
         {&l7.method, &l7.resource, &l7.host, &l7.version, &l7.url, &l7.error, &l7.trace_parent})
        out.text(*text);
    out.number(l7.headers.size());
    for (const auto& [name, value] : l7.headers) {
        out.text(name);
        out.text(value);
    }
    out.number(l7.dns.addresses.size());
    for (const auto& address : l7.dns.addresses)
        out.ip(address);
    out.number(l7.dns.names.size());
    for (const auto& name : l7.dns.names)
        out.text(name);
    for (const auto* types : {&l7.dns.question_types, &l7.dns.answer_types}) {
        out.number(types->size());
        for (const auto type : *types)
            out.u16(type);
    }
}

std::optional<model::L7> decode_l7(std::string_view bytes) {
    ByteReader in(bytes);
    model::L7 l7;
    const std::uint8_t protocol = in.byte();
    const std::uint8_t type = in.byte();
    const std::uint8_t status = in.byte();
    if (protocol >= static_cast<std::uint8_t>(model::L7::Protocol::count) || type > 1 || status > 2)
        return {};
    l7.protocol = static_cast<model::L7::Protocol>(protocol);
    l7.type = static_cast<model::L7::Type>(type);
    l7.status = static_cast<model::L7::Status>(status);
    l7.tls = in.byte() != 0;
    l7.code = static_cast<std::uint32_t>(in.number());
    l7.latency_ns = in.number();
    l7.request_bytes = in.number();
    l7.response_bytes = in.number();
    l7.dns.ttl_s = static_cast<std::uint32_t>(in.number());
    for (std::string* text :
         {&l7.method, &l7.resource, &l7.host, &l7.version, &l7.url, &l7.error, &l7.trace_parent})
        *text = in.text();
    for (std::size_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string name(in.text());
        l7.headers.emplace_back(std::move(name), in.text());
    }
    for (std::size_t left = in.count(); left > 0 && in.ok(); --left)
        l7.dns.addresses.push_back(in.ip());
    for (std::size_t left = in.count(); left > 0 && in.ok(); --left)
        l7.dns.names.emplace_back(in.text());
    for (auto* types : {&l7.dns.question_types, &l7.dns.answer_types})
        for (std::size_t left = in.count(); left > 0 && in.ok(); --left)
            types->push_back(in.u16());
    if (!in.at_end()) return {};
    return l7;
}

} // namespace beeline::observe::history
