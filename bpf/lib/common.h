/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every object of the datapath needs: the constants that vmlinux.h lacks, and counters. */
#ifndef BL_LIB_COMMON_H
#define BL_LIB_COMMON_H

#include "base.h"

#include "abi/drop.h"
#include "abi/flow.h"
#include "abi/identity.h"
#include "abi/policy.h"
#include "abi/service.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_ARP 0x0806
#define ETH_HLEN 14
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define IPPROTO_ICMPV6 58
#define AF_INET 2
#define AF_INET6 10

/* bl_metric: per-CPU counters, index enum bl_metric. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BL_METRIC_MAX);
	__type(key, __u32);
	__type(value, __u64);
} bl_metric SEC(".maps");

/* bl_drop: per-CPU counters of dropped packets, index enum bl_drop_reason + BL_DROP_INGRESS. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BL_DROP_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} bl_drop SEC(".maps");

static __always_inline void count(__u32 metric)
{
	__u64 *value = bpf_map_lookup_elem(&bl_metric, &metric);

	if (value)
		(*value)++;
}

/* `counter`: the reason, with BL_DROP_INGRESS for what was on its way into a workload. */
static __always_inline void count_drop(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&bl_drop, &counter);

	if (value)
		(*value)++;
}

static __always_inline bool addr_equal(const union bl_addr *a, const union bl_addr *b)
{
	return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

static __always_inline bool addr_is_zero(const union bl_addr *a)
{
	return !(a->half[0] | a->half[1]);
}

static __always_inline bool addr_is_v4(const union bl_addr *a)
{
	return a->half[0] == 0 && a->word[2] == bpf_htonl(0xffff);
}

static __always_inline void addr_set_v4(union bl_addr *a, __be32 v4)
{
	a->half[0] = 0;
	a->word[2] = bpf_htonl(0xffff);
	a->word[3] = v4;
}

static __always_inline bool proto_has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

#endif
