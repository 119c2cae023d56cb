/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Connections. One entry serves both directions (normalised key, abi/flow.h). Maps: bl_ct,
 * bl_state.
 *
 * Races: two CPUs may see the first packets of one connection at once; the second insert finds the
 * entry of the first (BPF_NOEXIST) and uses it. Counters are atomic; state changes are monotone
 * within a connection, so a lost update only delays them by a packet.
 */
#ifndef BL_LIB_CONNTRACK_H
#define BL_LIB_CONNTRACK_H

#include "compat.h"
#include "parse.h"
#include "emit.h"
#include "sock.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 524288);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bl_flow_key);
	__type(value, struct bl_ct);
} bl_ct SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bl_state);
} bl_state SEC(".maps");

/* A connection being made: too big for the stack of the functions that fill it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bl_ct);
} bl_ct_scratch SEC(".maps");

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define CT_CLIENT 0
#define CT_SERVER 1

static __always_inline __u32 ct_epoch(void)
{
	__u32 zero = 0;
	struct bl_state *state = bpf_map_lookup_elem(&bl_state, &zero);

	return state ? state->epoch : 0;
}

/* Normalises; true when the packet's source became the second end. */
static __always_inline bool ct_key(const struct bl_flow_key *flow, struct bl_flow_key *key)
{
	bool swap;

	if (flow->src.half[1] != flow->dst.half[1])
		swap = flow->src.half[1] > flow->dst.half[1];
	else if (flow->src.half[0] != flow->dst.half[0])
		swap = flow->src.half[0] > flow->dst.half[0];
	else
		swap = flow->sport > flow->dport;
	if (swap) {
		key->src = flow->dst;
		key->dst = flow->src;
		key->sport = flow->dport;
		key->dport = flow->sport;
	} else {
		key->src = flow->src;
		key->dst = flow->dst;
		key->sport = flow->sport;
		key->dport = flow->dport;
	}
	*(__u32 *)&key->proto = *(const __u32 *)&flow->proto;
	return swap;
}

/* The connection of a packet and who sent it (*dir: CT_CLIENT or CT_SERVER). */
static __always_inline struct bl_ct *ct_lookup(const struct bl_flow_key *flow, int *dir)
{
	struct bl_flow_key key;
	bool swapped = ct_key(flow, &key);
	struct bl_ct *ct = bpf_map_lookup_elem(&bl_ct, &key);

	if (ct)
		*dir = swapped == !!(ct->flags & BL_CT_SWAPPED) ? CT_CLIENT : CT_SERVER;
	return ct;
}

static __always_inline void ct_count(struct bl_ct *ct, int dir, __u32 bytes)
{
	ct->seen_ns = clock_tick_ns();
	if (dir == CT_CLIENT) {
		__sync_fetch_and_add(&ct->packets[0], 1);
		__sync_fetch_and_add(&ct->bytes[0], bytes);
	} else {
		__sync_fetch_and_add(&ct->packets[1], 1);
		__sync_fetch_and_add(&ct->bytes[1], bytes);
	}
}

/* Copies what a connection knows into an event. `key` is in the direction of the client. */
static __always_inline void ct_event(struct bl_flow_event *event, const struct bl_ct *ct,
				     const struct bl_flow_key *key, __u32 kind)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = kind == BL_FLOW_opened ? ct->opened_ns : bpf_ktime_get_ns();
	event->opened_ns = ct->opened_ns;
	event->key = *key;
	event->svc_addr = ct->svc_addr;
	event->svc_port = ct->svc_port;
	event->packets[0] = ct->packets[0];
	event->packets[1] = ct->packets[1];
	event->bytes[0] = ct->bytes[0];
	event->bytes[1] = ct->bytes[1];
	event->process[0] = ct->process[0];
	event->process[1] = ct->process[1];
	event->identity[0] = ct->identity[0];
	event->identity[1] = ct->identity[1];
	event->endpoint[0] = ct->endpoint[0];
	event->endpoint[1] = ct->endpoint[1];
	event->rule[0] = ct->rule[0];
	event->rule[1] = ct->rule[1];
	event->tcp_flags[0] = ct->tcp_flags[0];
	event->tcp_flags[1] = ct->tcp_flags[1];
	event->kind = kind;
}

/* The key of a connection in the direction of its client. */
static __always_inline void ct_client_key(const struct bl_flow_key *stored, const struct bl_ct *ct,
					  struct bl_flow_key *key)
{
	if (ct->flags & BL_CT_SWAPPED) {
		key->src = stored->dst;
		key->dst = stored->src;
		key->sport = stored->dport;
		key->dport = stored->sport;
	} else {
		key->src = stored->src;
		key->dst = stored->dst;
		key->sport = stored->sport;
		key->dport = stored->dport;
	}
	*(__u32 *)&key->proto = *(const __u32 *)&stored->proto;
}

/* The key in the direction of the client, for a packet that `dir` sent. */
static __always_inline void flow_of_client(const struct bl_flow_key *flow, int dir,
					   struct bl_flow_key *key)
{
	*key = *flow;
	if (dir == CT_SERVER) {
		key->src = flow->dst;
		key->dst = flow->src;
		key->sport = flow->dport;
		key->dport = flow->sport;
	}
}

BL_STEP int ct_report(struct __sk_buff *skb, struct bl_ct *ct, const struct bl_packet *p,
		      __u32 kind_dir)
{
	struct bl_flow_event *event;
	struct bl_flow_key key;

	if (!ct || !p)
		return 0;
	event = emit_reserve();
	if (!event)
		return 0;
	flow_of_client(&p->key, kind_dir & 1, &key);
	ct_event(event, ct, &key, kind_dir >> 1);
	event->ifindex = skb->ifindex;
	event->hook = p->flags & PKT_TO_POD ? BL_AT_TO_POD : BL_AT_FROM_POD;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
	emit_submit(event);
	return 0;
}

/*
 * Follows the state of an accepted packet of a known connection; called only when ct_quiet() says
 * that something changes. Reports the first answer and the end; of TCP connections the first answer is
 * reported by the sweep, since most end before it comes and then say everything at once. A TCP connection that ended is
 * forgotten at once, with the last ACK or the reset: under many short connections the table stays
 * as small as what is alive, and in the cache.
 */
BL_STEP int ct_advance(struct __sk_buff *skb, struct bl_ct *ct, const struct bl_packet *p, int dir)
{
	struct bl_flow_key key;
	bool ended = false;
	__u8 flags;

	if (!ct || !p)
		return 0;
	flags = p->tcp_flags;
	if (p->key.proto == IPPROTO_TCP) {
		ended = flags & TCP_RST ||
			(ct->state == BL_CT_closing && !(flags & (TCP_FIN | TCP_SYN)));
		ct->tcp_flags[dir & 1] |= flags;
		if (ct->state == BL_CT_syn_sent && dir == CT_SERVER)
			ct->state = BL_CT_established;
		if (flags & TCP_RST || ((ct->tcp_flags[0] & ct->tcp_flags[1]) & TCP_FIN))
			ct->state = BL_CT_closing;
	} else if (dir == CT_SERVER && ct->state == BL_CT_unreplied) {
		ct->state = BL_CT_replied;
	}
	if (dir == CT_SERVER && !(ct->flags & BL_CT_REPLIED)) {
		struct bl_sock *record = sock_of(skb);

		ct->flags |= BL_CT_REPLIED;
		if (record)
			ct->process[CT_SERVER] = record->process;
		if (p->key.proto != IPPROTO_TCP) {
			ct->told = 1;
			ct_report(skb, ct, p, BL_FLOW_replied << 1 | CT_SERVER);
		}
	}
	if (ended) {
		ct_report(skb, ct, p, BL_FLOW_closed << 1 | (dir & 1));
		ct_key(&p->key, &key);
		bpf_map_delete_elem(&bl_ct, &key);
	}
	return 0;
}

/* Nothing to follow: a plain packet in the middle of an answered connection. */
static __always_inline bool ct_quiet(const struct bl_ct *ct, const struct bl_packet *p)
{
	return (ct->flags & BL_CT_REPLIED) && ct->state != BL_CT_closing &&
	       !(p->tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST));
}

/* The entry may be gone afterwards: read from it before what is needed. */
static __always_inline void ct_accept(struct __sk_buff *skb, struct bl_ct *ct,
				      const struct bl_packet *p, int dir)
{
	ct_count(ct, dir, p->bytes);
	if (unlikely(!ct_quiet(ct, p)) && !(p->flags & PKT_LATER_FRAGMENT))
		ct_advance(skb, ct, p, dir);
}

/* A TCP packet of no known connection that begins none: a late ACK, FIN or reset. */
static __always_inline bool ct_stray(struct __sk_buff *skb, const struct bl_packet *p)
{
	__u8 offset = 0;

	if (p->key.proto != IPPROTO_TCP || p->tcp_flags & TCP_SYN)
		return false;
	if (p->tcp_flags & (TCP_FIN | TCP_RST) || p->flags & PKT_LATER_FRAGMENT)
		return true;
	bpf_skb_load_bytes(skb, p->l4_off + 12, &offset, 1);
	return p->bytes + ETH_HLEN <= p->l4_off + (__u32)(offset >> 4) * 4;
}

/* A SYN that begins a new connection on the tuple of one that ended (or never got an answer). */
static __always_inline bool ct_reopens(const struct bl_ct *ct, const struct bl_packet *p)
{
	return p->key.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	       (ct->state == BL_CT_closing || ct->flags & BL_CT_REVOKED);
}

static __always_inline __u8 ct_first_state(__u8 proto)
{
	if (proto == IPPROTO_TCP)
		return BL_CT_syn_sent;
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6)
		return BL_CT_icmp;
	return BL_CT_unreplied;
}

/* The connection that this CPU made last. */
static __always_inline struct bl_ct *ct_made(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bl_ct_scratch, &zero);
}

/* An entry to fill before ct_insert; valid until the next one. */
static __always_inline struct bl_ct *ct_new(void)
{
	struct bl_ct *ct = ct_made();

	if (ct)
		__builtin_memset(ct, 0, sizeof(*ct));
	return ct;
}

/* Stores what ct_new() gave, for a connection whose client sends `flow`. 0, or the reason to drop. */
BL_STEP int ct_insert(const struct bl_flow_key *flow, __u64 flags)
{
	struct bl_ct *ct = ct_made();
	struct bl_flow_key key;
	long error;

	if (!flow || !ct)
		return BL_DROP_CT_MAP_INSERTION_FAILED;
	if (ct_key(flow, &key))
		ct->flags |= BL_CT_SWAPPED;
	error = bpf_map_update_elem(&bl_ct, &key, ct, flags);
	if (error == -17) /* EEXIST: another CPU was first with the same decision */
		return 0;
	if (error) {
		count(BL_METRIC_ct_full);
		return BL_DROP_CT_MAP_INSERTION_FAILED;
	}
	count(BL_METRIC_ct_created);
	return 0;
}

#endif
