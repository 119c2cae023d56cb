/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Workloads with limits; others have none of these programs and pay nothing.
 *   bl_limit_out  tcx/clsact ingress of the host side of the veth pair, before bl_from_pod: what the workload sends. What
 *                 leaves the node by a device with fq gets the time at which it is due (EDT) and waits there; of the rest,
 *                 what is more than the limit is dropped.
 *   bl_limit_in   tcx/clsact ingress of the workload's own interface, in its namespace: what reaches it, redirected by
 *                 bl_from_pod or sent by the host's stack.
 * Reads bl_endpoint bl_ct bl_svc bl_fq; writes bl_limit bl_drop bl_metric; drops go to bl_flows, at most one in 100 ms for
 * each workload and direction, all are counted. What cannot be parsed passes: bl_from_pod or the stack drops it.
 */
#include "lib/common.h"
#include "lib/bandwidth.h"
#include "lib/conntrack.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC: the next program decides */
#define TOLD_EVERY_NS 100000000ULL

/* What is known of the drop: reason, direction, and the device at the host's side. */
struct excess {
	__u64 now;
	__u32 reason;
	__u32 direction; /* BL_DIR_* */
	__u32 ifindex;
};

BL_STEP int drop_excess(const struct bl_packet *p, struct bl_limit_way *way,
			const struct excess *why)
{
	struct bl_flow_event *event;
	struct bl_flow_key key;
	int dir = CT_CLIENT;
	struct bl_ct *ct;

	if (!p || !way || !why)
		return TC_ACT_SHOT;
	count_drop(why->reason);
	if (why->now - way->told_ns < TOLD_EVERY_NS)
		return TC_ACT_SHOT;
	way->told_ns = why->now;
	ct = ct_lookup(&p->key, &dir);
	event = emit_reserve();
	if (!event)
		return TC_ACT_SHOT;
	if (ct && !(ct->flags & BL_CT_FRONTEND)) {
		flow_of_client(&p->key, dir, &key);
		ct_event(event, ct, &key, BL_FLOW_dropped);
		event->opened_ns = 0;
	} else {
		dir = CT_CLIENT;
		__builtin_memset(event, 0, sizeof(*event));
		event->time_ns = bpf_ktime_get_ns();
		event->key = p->key;
		event->kind = BL_FLOW_dropped;
	}
	event->packets[0] = event->packets[1] = 0;
	event->bytes[0] = event->bytes[1] = 0;
	event->tcp_flags[0] = event->tcp_flags[1] = 0;
	if (dir == CT_CLIENT) {
		event->packets[CT_CLIENT] = 1;
		event->bytes[CT_CLIENT] = p->bytes;
		event->tcp_flags[CT_CLIENT] = p->tcp_flags;
	} else {
		event->packets[CT_SERVER] = 1;
		event->bytes[CT_SERVER] = p->bytes;
		event->tcp_flags[CT_SERVER] = p->tcp_flags;
	}
	event->reason = why->reason;
	event->direction = why->direction;
	event->ifindex = why->ifindex;
	event->hook = why->direction == BL_DIR_INGRESS ? BL_AT_TO_POD : BL_AT_FROM_POD;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
	emit_submit(event);
	return TC_ACT_SHOT;
}

SEC("tcx/ingress")
int bl_limit_out(struct __sk_buff *skb)
{
	struct excess why = {.direction = BL_DIR_EGRESS, .ifindex = skb->ifindex};
	struct bl_limit_way *way;
	struct bl_endpoint *src;
	struct bl_limit *limit;
	struct bl_packet p;
	__s64 wait;

	if (parse_packet(skb, &p))
		return NEXT;
	src = endpoint_lookup(&p.key.src);
	if (!src || src->ifindex != skb->ifindex)
		return NEXT;
	limit = limit_lookup(src->id);
	if (!limit || !limit->way[BL_DIR_EGRESS].rate)
		return NEXT;
	way = &limit->way[BL_DIR_EGRESS];
	why.now = bpf_ktime_get_ns();
	if (limit_can_wait(skb, &p)) {
		wait = limit_charge(way, why.now, p.bytes, BL_LIMIT_HORIZON_NS);
		why.reason = BL_DROP_REACHED_EDT_RATE_LIMITING_DROP_HORIZON;
		if (wait > 0) {
			/* The forwarding path clears a time stamp that is not said to be one of delivery (5.18). */
			if (bpf_skb_set_tstamp(skb, why.now + wait, BPF_SKB_TSTAMP_DELIVERY_MONO))
				return NEXT;
			__sync_fetch_and_add(&way->delayed, 1);
		}
	} else {
		wait = limit_charge(way, why.now, p.bytes, way->burst_ns);
		why.reason = BL_DROP_DROP_RATE_LIMITED;
	}
	return wait < 0 ? drop_excess(&p, way, &why) : NEXT;
}

SEC("tcx/ingress")
int bl_limit_in(struct __sk_buff *skb)
{
	struct excess why = {.reason = BL_DROP_DROP_RATE_LIMITED, .direction = BL_DIR_INGRESS};
	struct bl_limit_way *way;
	struct bl_endpoint *dst;
	struct bl_limit *limit;
	struct bl_packet p;

	if (parse_packet(skb, &p))
		return NEXT;
	dst = endpoint_lookup(&p.key.dst);
	if (!dst)
		return NEXT;
	why.ifindex = dst->ifindex;
	limit = limit_lookup(dst->id);
	if (!limit)
		return NEXT;
	way = &limit->way[BL_DIR_INGRESS];
	why.now = bpf_ktime_get_ns();
	if (limit_charge(way, why.now, p.bytes, way->burst_ns) < 0)
		return drop_excess(&p, way, &why);
	return NEXT;
}
