/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits of workloads. Maps: bl_limit, bl_fq (both written by the agent, bl_limit's counters here).
 *
 * Two CPUs that meet an idle direction at once both set `due_ns`: then one packet is not paid for. Under load it is only
 * added to, so that the rate stays right.
 */
#ifndef BL_LIB_BANDWIDTH_H
#define BL_LIB_BANDWIDTH_H

#include "identity.h"
#include "lb.h"
#include "parse.h"
#include "abi/limit.h"

#define NSEC_PER_SEC 1000000000ULL

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bl_limit);
} bl_limit SEC(".maps");

/* Devices of the node that send with the fq qdisc, by ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} bl_fq SEC(".maps");

static __always_inline struct bl_limit *limit_lookup(__u32 workload)
{
	return bpf_map_lookup_elem(&bl_limit, &workload);
}

/* Lets `bytes` pass: how long after `now` they are due, in ns; -1 when that is more than `most_ns`. */
static __always_inline __s64 limit_charge(struct bl_limit_way *way, __u64 now, __u32 bytes,
					  __u64 most_ns)
{
	__u64 due = *(volatile __u64 *)&way->due_ns, cost, rate = way->rate;

	if (!rate)
		return 0;
	cost = bytes * NSEC_PER_SEC / rate;
	if (due < now) {
		*(volatile __u64 *)&way->due_ns = now + cost;
		due = now;
	} else if (due - now > most_ns) {
		__sync_fetch_and_add(&way->dropped, 1);
		return -1;
	} else {
		__sync_fetch_and_add(&way->due_ns, cost);
	}
	__sync_fetch_and_add(&way->passed, 1);
	return due - now;
}

/* Will the packet leave the node by a device that can send it later? Local receivers are reached past every qdisc. */
static __always_inline bool limit_can_wait(struct __sk_buff *skb, const struct bl_packet *p)
{
	struct bpf_fib_lookup fib = {};
	__u32 ifindex;
	long found;

	if (endpoint_lookup(&p->key.dst) || lb_service(&p->key.dst, p->key.dport, p->key.proto))
		return false;
	fib.ifindex = skb->ifindex;
	fib.l4_protocol = p->key.proto;
	fib.sport = p->key.sport;
	fib.dport = p->key.dport;
	if (p->flags & PKT_V4) {
		fib.family = AF_INET;
		fib.ipv4_src = p->key.src.word[3];
		fib.ipv4_dst = p->key.dst.word[3];
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &p->key.src, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &p->key.dst, sizeof(fib.ipv6_dst));
	}
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return false;
	ifindex = fib.ifindex;
	return bpf_map_lookup_elem(&bl_fq, &ifindex);
}

#endif
