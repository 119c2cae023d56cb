/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets of workloads that the kernel drops behind Beeline's back: no socket, a full buffer, a firewall, a reverse path
 * filter.
 *   bl_on_kfree_skb  tracepoint kfree_skb, whose reason came with 5.17: the agent does not load it on an older kernel
 * Context: any, interrupts included. Reads bl_endpoint bl_kdrop_ns; writes bl_kdrop bl_kdrop_sum. No events: entries are
 * sums, read when somebody asks. The hook is the machine's, so it leaves early: first by reason, then by address, then by
 * network namespace. A packet that cannot be read is not counted.
 */
#include "lib/common.h"
#include "lib/identity.h"
#include "abi/kernel_drop.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct bl_kdrop_config bl_kdrop_config = {};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct bl_kdrop_key);
	__type(value, struct bl_kdrop);
} bl_kdrop SEC(".maps");

/* By reason; what the other map has forgotten stays here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BL_KDROP_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} bl_kdrop_sum SEC(".maps");

/* Network namespaces of this node and of its workloads: other nodes on the machine may use the same addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);   /* inode */
	__type(value, __u32); /* not used */
} bl_kdrop_ns SEC(".maps");

static __always_inline bool kdrop_skipped(__u32 reason)
{
	return reason < BL_KDROP_REASONS &&
	       (bl_kdrop_config.skipped[reason >> 6 & 3] >> (reason & 63) & 1);
}

/* Addresses and protocol. Returns where the ports are, 0 for none, negative when it is no IP packet. */
static __always_inline int kdrop_parse(const unsigned char *head, struct bl_kdrop_key *key)
{
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} ip;

	if (bpf_probe_read_kernel(&ip.v4, sizeof(ip.v4), head))
		return -1;
	if (ip.v4.version == 4) {
		if (ip.v4.ihl < 5)
			return -1;
		addr_set_v4(&key->src, ip.v4.saddr);
		addr_set_v4(&key->dst, ip.v4.daddr);
		key->proto = ip.v4.protocol;
		return ip.v4.frag_off & bpf_htons(0x1fff) ? 0 : ip.v4.ihl * 4;
	}
	if (ip.v4.version != 6 || bpf_probe_read_kernel(&ip.v6, sizeof(ip.v6), head))
		return -1;
	__builtin_memcpy(&key->src, &ip.v6.saddr, sizeof(key->src));
	__builtin_memcpy(&key->dst, &ip.v6.daddr, sizeof(key->dst));
	key->proto = ip.v6.nexthdr;
	return sizeof(ip.v6);
}

static __always_inline void kdrop_ports(const unsigned char *at, struct bl_kdrop_key *key)
{
	__be16 ports[2];

	if (!proto_has_ports(key->proto) || bpf_probe_read_kernel(ports, sizeof(ports), at))
		return;
	key->port = ports[1];
	if (bpf_ntohs(ports[0]) < bpf_ntohs(ports[1])) {
		key->port = ports[0];
		key->flags = BL_KDROP_SOURCE_PORT;
	}
}

static __always_inline bool kdrop_is_workload(const union bl_addr *addr)
{
	struct bl_endpoint *endpoint = bpf_map_lookup_elem(&bl_endpoint, addr);

	return endpoint && !(endpoint->flags & BL_EP_HOST);
}

/*
 * By the receiving socket, the device, the sending socket. The device is read as what it may not be: a UDP socket keeps
 * other things in its place, and then nothing is found there.
 */
static __always_inline __u32 kdrop_netns(const struct sk_buff *skb, const struct sock *receiver)
{
	const struct net_device *dev = BPF_CORE_READ(skb, dev);
	const struct sock *sk = BPF_CORE_READ(skb, sk);
	__u32 inode = 0;

	if (receiver)
		inode = BPF_CORE_READ(receiver, __sk_common.skc_net.net, ns.inum);
	if (!inode && dev)
		inode = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	if (!inode && sk)
		inode = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	return inode;
}

static __always_inline void kdrop_count(const struct bl_kdrop_key *key, __u64 location)
{
	struct bl_kdrop first = {.count = 1, .location = location}, *entry;
	__u32 slot = key->reason < BL_KDROP_REASONS ? key->reason : 0;
	__u64 *sum = bpf_map_lookup_elem(&bl_kdrop_sum, &slot);

	if (sum)
		(*sum)++;
	first.first_ns = first.last_ns = bpf_ktime_get_ns();
	entry = bpf_map_lookup_elem(&bl_kdrop, key);
	if (!entry) {
		if (!bpf_map_update_elem(&bl_kdrop, key, &first, BPF_NOEXIST))
			return;
		entry = bpf_map_lookup_elem(&bl_kdrop, key); /* another CPU was first */
		if (!entry)
			return;
	}
	__sync_fetch_and_add(&entry->count, 1);
	entry->last_ns = first.last_ns;
	entry->location = location;
}

SEC("tp_btf/kfree_skb")
int bl_on_kfree_skb(__u64 *ctx) /* struct sk_buff *, void *location, enum reason, struct sock * */
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct sock *receiver = NULL;
	struct bl_kdrop_key key = {.reason = (__u32)ctx[2]};
	const unsigned char *head;
	int ports;

	if (kdrop_skipped(key.reason))
		return 0;
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	head = skb->head + skb->network_header;
	ports = kdrop_parse(head, &key);
	if (ports < 0 || (!kdrop_is_workload(&key.src) && !kdrop_is_workload(&key.dst)))
		return 0;
	if (bl_kdrop_config.has_socket)
		receiver = (struct sock *)ctx[3];
	key.netns = kdrop_netns(skb, receiver);
	if (key.netns && !bpf_map_lookup_elem(&bl_kdrop_ns, &key.netns))
		return 0;
	if (ports)
		kdrop_ports(head + ports, &key);
	kdrop_count(&key, ctx[1]);
	return 0;
}
