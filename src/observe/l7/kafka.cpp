// Kafka: requests and answers behind their lengths, paired by correlation id. Topics and error codes are read where the
// place of the first one is known for the version; records and SASL messages never.
#include "observe/l7/lines.h"
#include "observe/l7/parser.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::int32_t kLongest = 128 << 20;
constexpr std::size_t kWanted = 2048;

enum Api : std::int16_t {
    kProduce = 0,
    kFetch = 1,
    kListOffsets = 2,
    kMetadata = 3,
    kOffsetCommit = 8,
    kOffsetFetch = 9,
    kFindCoordinator = 10,
    kJoinGroup = 11,
    kHeartbeat = 12,
    kLeaveGroup = 13,
    kSyncGroup = 14,
    kSaslHandshake = 17,
    kApiVersions = 18,
    kCreateTopics = 19,
    kDeleteTopics = 20,
    kInitProducerId = 22,
    kSaslAuthenticate = 36
};

struct ApiRow {
    std::string_view name;
    std::int16_t flexible = 99; // the first version with compact fields
    std::int16_t newest = 0;    // a later one is not taken for this protocol
};

// By number. New versions appear; `newest` leaves room for a few.
constexpr ApiRow kApis[] = {{"Produce", 9, 15},
                            {"Fetch", 12, 20},
                            {"ListOffsets", 6, 14},
                            {"Metadata", 9, 16},
                            {"LeaderAndIsr", 4, 9},
                            {"StopReplica", 2, 6},
                            {"UpdateMetadata", 6, 10},
                            {"ControlledShutdown", 3, 5},
                            {"OffsetCommit", 8, 12},
                            {"OffsetFetch", 6, 12},
                            {"FindCoordinator", 3, 8},
                            {"JoinGroup", 6, 12},
                            {"Heartbeat", 4, 6},
                            {"LeaveGroup", 4, 7},
                            {"SyncGroup", 4, 7},
                            {"DescribeGroups", 5, 8},
                            {"ListGroups", 3, 7},
                            {"SaslHandshake", 99, 2},
                            {"ApiVersions", 3, 6},
                            {"CreateTopics", 5, 9},
                            {"DeleteTopics", 4, 8},
                            {"DeleteRecords", 2, 4},
                            {"InitProducerId", 2, 7},
                            {"OffsetForLeaderEpoch", 4, 6},
                            {"AddPartitionsToTxn", 3, 7},
                            {"AddOffsetsToTxn", 3, 6},
                            {"EndTxn", 3, 7},
                            {"WriteTxnMarkers", 1, 3},
                            {"TxnOffsetCommit", 3, 7},
                            {"DescribeAcls", 2, 5},
                            {"CreateAcls", 2, 5},
                            {"DeleteAcls", 2, 5},
                            {"DescribeConfigs", 4, 6},
                            {"AlterConfigs", 2, 4},
                            {"AlterReplicaLogDirs", 2, 4},
                            {"DescribeLogDirs", 2, 6},
                            {"SaslAuthenticate", 2, 4},
                            {"CreatePartitions", 2, 5},
                            {"CreateDelegationToken", 2, 5},
                            {"RenewDelegationToken", 2, 4},
                            {"ExpireDelegationToken", 2, 4},
                            {"DescribeDelegationToken", 2, 5},
                            {"DeleteGroups", 2, 4},
                            {"ElectLeaders", 2, 4},
                            {"IncrementalAlterConfigs", 1, 3},
                            {"AlterPartitionReassignments", 0, 3},
                            {"ListPartitionReassignments", 0, 2},
                            {"OffsetDelete", 99, 2},
                            {"DescribeClientQuotas", 1, 3},
                            {"AlterClientQuotas", 1, 3},
                            {"DescribeUserScramCredentials", 0, 2},
                            {"AlterUserScramCredentials", 0, 2}};

std::string_view error_name(std::int16_t code) {
    static constexpr std::string_view kNames[] = {"",
                                                  "OFFSET_OUT_OF_RANGE",
                                                  "CORRUPT_MESSAGE",
                                                  "UNKNOWN_TOPIC_OR_PARTITION",
                                                  "INVALID_FETCH_SIZE",
                                                  "LEADER_NOT_AVAILABLE",
                                                  "NOT_LEADER_OR_FOLLOWER",
                                                  "REQUEST_TIMED_OUT",
                                                  "BROKER_NOT_AVAILABLE",
                                                  "REPLICA_NOT_AVAILABLE",
                                                  "MESSAGE_TOO_LARGE",
                                                  "STALE_CONTROLLER_EPOCH",
                                                  "OFFSET_METADATA_TOO_LARGE",
                                                  "NETWORK_EXCEPTION",
                                                  "COORDINATOR_LOAD_IN_PROGRESS",
                                                  "COORDINATOR_NOT_AVAILABLE",
                                                  "NOT_COORDINATOR",
                                                  "INVALID_TOPIC_EXCEPTION",
                                                  "RECORD_LIST_TOO_LARGE",
                                                  "NOT_ENOUGH_REPLICAS",
                                                  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                                                  "INVALID_REQUIRED_ACKS",
                                                  "ILLEGAL_GENERATION",
                                                  "INCONSISTENT_GROUP_PROTOCOL",
                                                  "INVALID_GROUP_ID",
                                                  "UNKNOWN_MEMBER_ID",
                                                  "INVALID_SESSION_TIMEOUT",
                                                  "REBALANCE_IN_PROGRESS",
                                                  "INVALID_COMMIT_OFFSET_SIZE",
                                                  "TOPIC_AUTHORIZATION_FAILED",
                                                  "GROUP_AUTHORIZATION_FAILED",
                                                  "CLUSTER_AUTHORIZATION_FAILED",
                                                  "INVALID_TIMESTAMP",
                                                  "UNSUPPORTED_SASL_MECHANISM",
                                                  "ILLEGAL_SASL_STATE",
                                                  "UNSUPPORTED_VERSION",
                                                  "TOPIC_ALREADY_EXISTS"};
    if (code == -1) return "UNKNOWN_SERVER_ERROR";
    if (code == 58) return "SASL_AUTHENTICATION_FAILED";
    if (code == 79) return "MEMBER_ID_REQUIRED";
    return code > 0 && static_cast<std::size_t>(code) < std::size(kNames) ? kNames[code] : "error";
}

struct Head {
    std::int16_t api = 0;
    std::int16_t version = 0;
    std::uint32_t correlation = 0;
    bool flexible = false;
    bool named = false; // has a client id
};

// The header behind the length. Not ok() when its end is not there.
std::optional<Head> read_head(Reader& in) {
    Head out;
    out.api = in.i16();
    out.version = in.i16();
    out.correlation = in.u32();
    const std::int16_t length = in.i16();
    if (!in.ok()) return out;
    if (out.api < 0 || static_cast<std::size_t>(out.api) >= std::size(kApis)) return std::nullopt;
    const ApiRow& row = kApis[out.api];
    if (out.version < 0 || out.version > row.newest || length < -1 || length > 255)
        return std::nullopt;
    const std::string_view client = in.text(static_cast<std::size_t>(std::max<int>(length, 0)));
    for (const char c : client)
        if (c < ' ' || static_cast<unsigned char>(c) >= 0x7f) return std::nullopt;
    out.named = length > 0;
    out.flexible = out.version >= row.flexible;
    return out;
}

void skip_tags(Reader& in) {
    for (std::uint32_t count = in.varint(); count != 0 && in.ok(); --count) {
        in.varint();
        in.skip(in.varint());
    }
}

std::string_view read_string(Reader& in, bool flexible) {
    if (flexible) {
        const std::uint32_t length = in.varint();
        return length <= 1 ? std::string_view() : in.text(length - 1);
    }
    const std::int16_t length = in.i16();
    return length <= 0 ? std::string_view() : in.text(static_cast<std::size_t>(length));
}

std::uint32_t read_count(Reader& in, bool flexible) {
    if (flexible) {
        const std::uint32_t count = in.varint();
        return count == 0 ? 0 : count - 1;
    }
    const std::int32_t count = in.i32();
    return count < 0 ? 0 : static_cast<std::uint32_t>(count);
}

// The first topic, or the group. Sets `acks` of Produce.
std::string_view read_resource(Reader& in, const Head& head, std::int16_t& acks) {
    const std::int16_t version = head.version;
    switch (head.api) {
    case kProduce:
        if (version >= 3) read_string(in, head.flexible);
        acks = in.i16();
        in.i32();
        if (version >= 13) return {}; // ids instead of names
        return read_count(in, head.flexible) == 0 ? std::string_view()
                                                  : read_string(in, head.flexible);
    case kFetch:
        if (version >= 13) return {};
        in.skip(12);
        if (version >= 3) in.i32();
        if (version >= 4) in.u8();
        if (version >= 7) in.skip(8);
        return read_count(in, head.flexible) == 0 ? std::string_view()
                                                  : read_string(in, head.flexible);
    case kListOffsets:
        in.i32();
        if (version >= 2) in.u8();
        return read_count(in, head.flexible) == 0 ? std::string_view()
                                                  : read_string(in, head.flexible);
    case kMetadata:
        if (read_count(in, head.flexible) == 0) return {};
        if (version >= 10) in.skip(16);
        return read_string(in, head.flexible);
    case kCreateTopics:
        return read_count(in, head.flexible) == 0 ? std::string_view()
                                                  : read_string(in, head.flexible);
    case kDeleteTopics:
        if (version >= 6 || read_count(in, head.flexible) == 0) return {};
        return read_string(in, head.flexible);
    case kOffsetFetch: return version >= 8 ? std::string_view() : read_string(in, head.flexible);
    case kFindCoordinator:
        return version >= 4 ? std::string_view() : read_string(in, head.flexible);
    case kOffsetCommit:
    case kJoinGroup:
    case kHeartbeat:
    case kLeaveGroup:
    case kSyncGroup: return read_string(in, head.flexible);
    default: return {};
    }
}

// The first error of an answer; none: its place is not known, or was not captured.
std::optional<std::int16_t> read_error(Reader& in, const Head& head) {
    const std::int16_t version = head.version;
    const bool flexible = head.flexible;
    if (flexible && head.api != kApiVersions) skip_tags(in);
    std::int16_t error = 0;
    switch (head.api) {
    case kProduce:
        // Of the first partition of the first topic.
        if (version >= 13 || read_count(in, flexible) == 0) return std::nullopt;
        read_string(in, flexible);
        if (read_count(in, flexible) == 0) return std::nullopt;
        in.i32();
        error = in.i16();
        break;
    case kFetch:
        if (version >= 1) in.i32();
        if (version >= 7) {
            error = in.i16();
            in.i32();
            if (error != 0) break;
        }
        if (read_count(in, flexible) == 0) break;
        if (version >= 13)
            in.skip(16);
        else
            read_string(in, flexible);
        if (read_count(in, flexible) == 0) break;
        in.i32();
        error = in.i16();
        break;
    case kMetadata: {
        if (version >= 3) in.i32();
        const std::uint32_t brokers = read_count(in, flexible);
        for (std::uint32_t i = 0; i < brokers && in.ok(); ++i) {
            in.i32();
            read_string(in, flexible);
            in.i32();
            if (version >= 1) read_string(in, flexible);
            if (flexible) skip_tags(in);
        }
        if (version >= 2) read_string(in, flexible);
        if (version >= 1) in.i32();
        if (read_count(in, flexible) != 0) error = in.i16();
        break;
    }
    case kJoinGroup:
        if (version >= 2) in.i32();
        error = in.i16();
        break;
    case kFindCoordinator:
        if (version >= 4) return std::nullopt;
        [[fallthrough]];
    case kHeartbeat:
    case kLeaveGroup:
    case kSyncGroup:
        if (version >= 1) in.i32();
        error = in.i16();
        break;
    case kInitProducerId:
        in.i32();
        error = in.i16();
        break;
    case kSaslHandshake:
    case kSaslAuthenticate:
    case kApiVersions: error = in.i16(); break;
    default: return std::nullopt;
    }
    return in.ok() ? std::optional(error) : std::nullopt;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    Reader in(start.client);
    if (in.u8() != 0 && in.ok()) return Match::no; // no first request is that long
    in = Reader(start.client);
    const std::int32_t size = in.i32();
    if (in.ok() && (size < 10 || size > 1 << 24)) return Match::no;
    const auto head = read_head(in);
    if (!head) return Match::no;
    if (!in.ok()) return start.middle ? Match::no : Match::more;
    if (in.at() > static_cast<std::size_t>(size) + 4) return Match::no;
    return head->named ? Match::yes : Match::likely;
}

class Kafka final : public Parser {
public:
    explicit Kafka(Context& context) : context_(context), outstanding_(context) {}

    void middle() override { middle_ = true; }
    bool enter(const In& in) override {
        if (in.side == Side::client)
            return detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) ==
                   Match::yes;
        Reader reader(in.data);
        const std::int32_t size = reader.i32();
        return size >= 4 && size <= kLongest && outstanding_.find(reader.u32()) != nullptr &&
               reader.ok();
    }

    Step read(const In& in) override {
        if (in.data.size() < 4) return Step::more();
        Reader reader(in.data);
        const std::int32_t size = reader.i32();
        if (size < 4 || size > kLongest) return Step::give_up(GiveUp::malformed);
        const auto length = static_cast<std::size_t>(size);
        const std::size_t wanted = std::min(length, kWanted);
        if (reader.left() < wanted && !in.cut) return Step::more();
        Reader body(reader.rest().first(std::min(reader.left(), wanted)));
        const auto failure =
            in.side == Side::client ? sent(in, body, length) : answered(in, body, length);
        return failure ? Step::give_up(*failure) : Step::take(4 + length);
    }

private:
    std::optional<GiveUp> sent(const In& in, Reader& body, std::size_t length) {
        const auto head = read_head(body);
        if (!head) return GiveUp::malformed;
        if (!body.ok()) return GiveUp::lost;
        // What follows an old handshake has no header.
        if (head->api == kSaslHandshake && head->version == 0) return GiveUp::unsupported;
        L7 request;
        request.protocol = L7::Protocol::kafka;
        request.method = kApis[head->api].name;
        request.request_bytes = length;
        if (head->flexible) skip_tags(body);
        std::int16_t acks = 1;
        const std::string_view resource = read_resource(body, *head, acks);
        if (body.ok()) request.resource = context_.text(resource);
        if (head->api == kProduce && acks == 0) {
            context_.emit(in.time_ns, std::move(request)); // nobody answers
            return std::nullopt;
        }
        const std::uint64_t note = static_cast<std::uint64_t>(head->api) << 16U |
                                   static_cast<std::uint64_t>(head->version);
        if (!outstanding_.add(in.time_ns, std::move(request), head->correlation, note))
            return GiveUp::outstanding;
        return std::nullopt;
    }

    std::optional<GiveUp> answered(const In& in, Reader& body, std::size_t length) {
        const std::uint32_t correlation = body.u32();
        if (!body.ok()) return GiveUp::lost;
        const auto request = outstanding_.pop(correlation);
        if (!request) return middle_ ? std::nullopt : std::optional(GiveUp::malformed);
        Head head;
        head.api = static_cast<std::int16_t>(request->note >> 16U);
        head.version = static_cast<std::int16_t>(request->note & 0xffffU);
        head.flexible = head.version >= kApis[head.api].flexible;
        L7 answer = Outstanding::answer(*request, in.time_ns);
        answer.response_bytes = length;
        if (const auto error = read_error(body, head)) {
            answer.code = static_cast<std::uint32_t>(std::max<std::int16_t>(*error, 0));
            answer.status = *error == 0 ? L7::Status::ok : L7::Status::error;
            answer.error = *error == 0 ? "" : error_name(*error);
        }
        context_.emit(in.time_ns, std::move(answer));
        return std::nullopt;
    }

    Context& context_;
    Outstanding outstanding_;
    bool middle_ = false;
};

} // namespace

const ProtocolEntry kKafka = {
    L7::Protocol::kafka,
    {9092, 9093, 19092, 29092},
    ProtocolEntry::Middle::any,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Kafka>(context); }};

} // namespace beeline::observe::l7
