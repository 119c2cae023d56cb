/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rewriting of one end of a packet, checksums included. SCTP ports are never changed (its checksum
 * is a CRC). */
#ifndef BL_LIB_NAT_H
#define BL_LIB_NAT_H

#include "parse.h"

#define NAT_SOURCE 0
#define NAT_DESTINATION 1

struct nat_end {
	union bl_addr addr;
	__be16 port;
};

static __always_inline int nat_checksum_offset(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	case IPPROTO_ICMPV6:
		return offsetof(struct icmp6hdr, icmp6_cksum);
	}
	return -1;
}

/*
 * Puts `to` in place of the source or destination of `p` in the packet and in p->key.
 * 0, or BL_DROP_ERROR_WRITING_TO_PACKET. Invalidates packet pointers.
 */
BL_STEP int nat_rewrite(struct __sk_buff *skb, struct bl_packet *p, struct nat_end *to, int which)
{
	union bl_addr from;
	__be16 from_port;
	bool v4, has_l4;
	long error = 0;
	__u64 udp;
	int check;

	if (!p || !to)
		return BL_DROP_ERROR_WRITING_TO_PACKET;
	from = which == NAT_SOURCE ? p->key.src : p->key.dst;
	from_port = which == NAT_SOURCE ? p->key.sport : p->key.dport;
	v4 = p->flags & PKT_V4;
	has_l4 = !(p->flags & PKT_LATER_FRAGMENT);
	check = nat_checksum_offset(p->key.proto);
	udp = p->key.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	if (has_l4 && check >= 0) {
		__u32 at = p->l4_off + check;

		if (v4) {
			error |= bpf_l4_csum_replace(skb, at, from.word[3], to->addr.word[3],
						     BPF_F_PSEUDO_HDR | udp | 4);
		} else {
			__s64 diff = bpf_csum_diff((__be32 *)&from, sizeof(from),
						   (__be32 *)&to->addr, sizeof(to->addr), 0);

			error |= bpf_l4_csum_replace(skb, at, 0, diff, BPF_F_PSEUDO_HDR | udp);
		}
		if (from_port != to->port && p->key.proto != IPPROTO_ICMPV6)
			error |= bpf_l4_csum_replace(skb, at, from_port, to->port, udp | 2);
	}
	if (has_l4 && from_port != to->port &&
	    (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP))
		error |= bpf_skb_store_bytes(skb, p->l4_off + (which == NAT_SOURCE ? 0 : 2),
					     &to->port, 2, 0);
	if (v4) {
		__u32 at = ETH_HLEN + (which == NAT_SOURCE ? offsetof(struct iphdr, saddr)
							   : offsetof(struct iphdr, daddr));

		error |= bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check),
					     from.word[3], to->addr.word[3], 4);
		error |= bpf_skb_store_bytes(skb, at, &to->addr.word[3], 4, 0);
	} else {
		__u32 at = ETH_HLEN + (which == NAT_SOURCE ? offsetof(struct ipv6hdr, saddr)
							   : offsetof(struct ipv6hdr, daddr));

		error |= bpf_skb_store_bytes(skb, at, &to->addr, 16, 0);
	}
	if (error)
		return BL_DROP_ERROR_WRITING_TO_PACKET;
	if (which == NAT_SOURCE) {
		p->key.src = to->addr;
		p->key.sport = to->port;
	} else {
		p->key.dst = to->addr;
		p->key.dport = to->port;
	}
	return 0;
}

/*
 * The same for the packet that an ICMP error quotes: one end gets the name by which the error's receiver
 * knows it, so that its stack recognises its connection. IPv4's inner header checksum makes up for the
 * address by itself; nobody looks at the checksum of the quoted payload.
 */
BL_STEP int nat_rewrite_quoted(struct __sk_buff *skb, const struct bl_packet *outer,
			       struct bl_packet *inner, const struct nat_end *to, int which)
{
	union bl_addr from, addr;
	__be16 from_port;
	long error = 0;

	if (!outer || !inner || !to)
		return BL_DROP_ERROR_WRITING_TO_PACKET;
	from = which == NAT_SOURCE ? inner->key.src : inner->key.dst;
	from_port = which == NAT_SOURCE ? inner->key.sport : inner->key.dport;
	addr = to->addr;
	if (addr_equal(&from, &addr)) {
		/* nothing to do for the address */
	} else if (outer->flags & PKT_V4) {
		__u32 ip = outer->inner_off;
		__u32 at = ip + (which == NAT_SOURCE ? offsetof(struct iphdr, saddr)
						     : offsetof(struct iphdr, daddr));

		error |= bpf_l3_csum_replace(skb, ip + offsetof(struct iphdr, check), from.word[3],
					     addr.word[3], 4);
		error |= bpf_skb_store_bytes(skb, at, &addr.word[3], 4, 0);
	} else {
		__s64 diff = bpf_csum_diff((__be32 *)&from, sizeof(from), (__be32 *)&addr,
					   sizeof(addr), 0);
		__u32 at =
			outer->inner_off + (which == NAT_SOURCE ? offsetof(struct ipv6hdr, saddr)
								: offsetof(struct ipv6hdr, daddr));

		error |= bpf_l4_csum_replace(
			skb, outer->l4_off + offsetof(struct icmp6hdr, icmp6_cksum), 0, diff, 0);
		error |= bpf_skb_store_bytes(skb, at, &addr, 16, 0);
	}
	if (from_port != to->port && !(inner->flags & PKT_LATER_FRAGMENT) &&
	    (inner->key.proto == IPPROTO_TCP || inner->key.proto == IPPROTO_UDP)) {
		/* checksum is at the same offset (2) in ICMP and ICMPv6 */
		error |= bpf_l4_csum_replace(skb, outer->l4_off + 2, from_port, to->port, 2);
		error |= bpf_skb_store_bytes(skb, inner->l4_off + (which == NAT_SOURCE ? 0 : 2),
					     &to->port, 2, 0);
	}
	if (error)
		return BL_DROP_ERROR_WRITING_TO_PACKET;
	if (which == NAT_SOURCE) {
		inner->key.src = addr;
		inner->key.sport = to->port;
	} else {
		inner->key.dst = addr;
		inner->key.dport = to->port;
	}
	return 0;
}

#endif
