#include "observe/record.h"

#include "abi/drop.h"
#include "model/policy.h"

namespace beeline::observe {
namespace {

template <typename T>
T value_or_empty(const std::shared_ptr<const T>& shared) {
    return shared ? *shared : T{};
}

model::FlowEnd flow_end(const RecordView& record, std::size_t side) {
    const Path& path = record.context->path;
    const Names& names = side == 0 ? *record.context->source : *record.context->destination;
    model::FlowEnd end;
    end.kind = names.kind;
    end.address = side == 0 ? path.source : path.destination;
    end.port = record.port[side];
    end.identity = names.identity;
    end.endpoint = names.endpoint;
    end.space = names.space;
    end.name = names.name;
    end.labels = names.labels;
    end.names = value_or_empty(record.context->names[side]);
    if (const ProcessInfo* info = record.process[side]) {
        end.process.pid = info->key.pid;
        end.process.uid = info->key.uid;
        end.process.start_ns = info->key.start_ns;
        end.process.comm.assign(info->key.comm, ::strnlen(info->key.comm, sizeof info->key.comm));
        const auto facts = info->facts();
        end.process.binary = facts->binary;
        end.process.user = facts->user;
        end.process.container = facts->container;
        end.process.ancestry = facts->ancestry;
    }
    return end;
}

} // namespace

Record lost_record(std::int64_t time_ns, std::uint64_t count) {
    Record record;
    record.kind = model::Flow::Kind::lost;
    record.time_ns = time_ns;
    record.packets[0] = count;
    return record;
}

RecordView view(const Record& record) {
    RecordView out;
    out.time_ns = record.time_ns;
    out.opened_ns = record.opened_ns;
    out.packets = record.packets;
    out.bytes = record.bytes;
    out.context = record.context.get();
    out.owners.context = &record.context;
    for (std::size_t side = 0; side < 2; ++side) {
        out.process[side] = record.process[side].get();
        out.owners.process[side] = &record.process[side];
    }
    out.l7 = record.l7 ? &record.l7 : nullptr;
    out.port = record.port;
    out.kind = record.kind;
    out.tcp_flags = record.tcp_flags;
    out.icmp_type = record.icmp_type;
    out.icmp_code = record.icmp_code;
    return out;
}

std::shared_ptr<const model::L7> message_of(const RecordView& record) {
    if (record.packets[0] == 0 && record.bytes[0] == 0 && record.bytes[1] == 0) return *record.l7;
    auto message = std::make_shared<model::L7>(**record.l7);
    const model::L7Numbers numbers = numbers_of(record);
    message->latency_ns = numbers.latency_ns;
    message->request_bytes = numbers.request_bytes;
    message->response_bytes = numbers.response_bytes;
    return message;
}

model::Flow to_flow(const RecordView& record, std::uint64_t number) {
    model::Flow flow;
    flow.number = number;
    flow.time_ns = record.time_ns;
    flow.kind = record.kind;
    flow.verdict = verdict(record.kind);
    if (record.kind == model::Flow::Kind::lost) {
        flow.lost = record.packets[0];
        flow.lost_where = kLostInRing;
        return flow;
    }
    const Context& context = *record.context;
    flow.opened_ns = record.opened_ns;
    flow.protocol = context.path.protocol;
    flow.source = flow_end(record, 0);
    flow.destination = flow_end(record, 1);
    flow.reason = context.path.reason;
    flow.egress_rule = value_or_empty(context.egress_rule);
    flow.ingress_rule = value_or_empty(context.ingress_rule);
    if (flow.reason == BL_DROP_POLICY_DENIED || flow.reason == BL_DROP_POLICY_DENY)
        flow.denied_direction =
            model::to_string(static_cast<model::Direction>(context.path.direction));
    flow.denied_by = value_or_empty(context.denied_by);
    flow.service = value_or_empty(context.service);
    flow.service_address = context.path.service;
    flow.service_port = context.path.service_port;
    flow.icmp_type = record.icmp_type;
    flow.icmp_code = record.icmp_code;
    for (std::size_t side = 0; side < 2; ++side) {
        flow.tcp_flags[side] = record.tcp_flags[side];
        if (record.l7) continue;
        flow.packets[side] = record.packets[side];
        flow.bytes[side] = record.bytes[side];
    }
    flow.interface = value_or_empty(context.interface);
    if (record.l7) flow.l7 = message_of(record);
    return flow;
}

} // namespace beeline::observe
