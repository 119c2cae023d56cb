/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One parse of a packet into an address-family-blind key. Nothing behind this header looks at
 * headers to decide. Maps: bl_frag (ports of first fragments).
 */
#ifndef BL_LIB_PARSE_H
#define BL_LIB_PARSE_H

#include "common.h"

/* Results of parse_packet besides 0 and drop reasons (which are below 256). */
#define PARSE_LINK 256 /* ARP or IPv6 neighbour discovery: belongs to the link, not to a flow */

/* bl_packet.flags */
#define PKT_V4 0x1
#define PKT_ICMP_ERROR \
	0x2 /* `key` has the outer addresses; the quoted packet starts at inner_off */
#define PKT_LATER_FRAGMENT 0x4 /* has no L4 header: ports came from bl_frag */
#define PKT_NEW 0x8	       /* its connection was looked for and is not known */
#define PKT_TO_POD 0x10	       /* seen at the hook towards the workload */
#define PKT_FROM_NODE 0x20     /* from another node, where it came in */
#define PKT_TUNNEL 0x40	       /* out of the tunnel */

struct bl_packet {
	struct bl_flow_key key;
	__u32 bytes;  /* length from the IP header on */
	__u16 l4_off; /* from the start of the frame */
	__u16 inner_off;
	__u8 flags; /* PKT_* */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct bl_frag_key);
	__type(value, struct bl_frag);
} bl_frag SEC(".maps");

#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define NEXTHDR_DEST 60
#define MAX_EXTENSION_HEADERS 8

#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_ERROR_LAST 127
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_MLD_FIRST 130
#define ICMPV6_MLD_LAST 132
#define NDISC_ROUTER_SOLICITATION 133
#define NDISC_NEIGHBOUR_SOLICITATION 135
#define NDISC_NEIGHBOUR_ADVERTISEMENT 136
#define ICMPV6_MLD2_REPORT 143

static __always_inline int parse_icmp4(struct __sk_buff *skb, struct bl_packet *p)
{
	struct icmphdr icmp;

	if (bpf_skb_load_bytes(skb, p->l4_off, &icmp, sizeof(icmp)))
		return BL_DROP_INVALID_PACKET_DROPPED;
	p->icmp_type = icmp.type;
	p->icmp_code = icmp.code;
	switch (icmp.type) {
	case ICMP_ECHO:
	case ICMP_ECHOREPLY:
		p->key.sport = p->key.dport = icmp.un.echo.id;
		break;
	case ICMP_DEST_UNREACH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		p->flags |= PKT_ICMP_ERROR;
		p->inner_off = p->l4_off + sizeof(icmp);
		break;
	}
	return 0;
}

static __always_inline int parse_icmp6(struct __sk_buff *skb, struct bl_packet *p)
{
	struct icmp6hdr icmp;

	if (bpf_skb_load_bytes(skb, p->l4_off, &icmp, sizeof(icmp)))
		return BL_DROP_INVALID_PACKET_DROPPED;
	p->icmp_type = icmp.icmp6_type;
	p->icmp_code = icmp.icmp6_code;
	if (icmp.icmp6_type <= ICMPV6_ERROR_LAST) {
		p->flags |= PKT_ICMP_ERROR;
		p->inner_off = p->l4_off + sizeof(icmp);
		return 0;
	}
	switch (icmp.icmp6_type) {
	case ICMPV6_ECHO_REQUEST:
	case ICMPV6_ECHO_REPLY:
		p->key.sport = p->key.dport = icmp.icmp6_dataun.u_echo.identifier;
		break;
	case ICMPV6_MLD_FIRST ... ICMPV6_MLD_LAST:
	case NDISC_ROUTER_SOLICITATION:
	case NDISC_NEIGHBOUR_SOLICITATION:
	case NDISC_NEIGHBOUR_ADVERTISEMENT:
	case ICMPV6_MLD2_REPORT:
		return PARSE_LINK;
	}
	return 0;
}

/* Fills ports and flags from the L4 header; not for later fragments. */
static __always_inline int parse_l4(struct __sk_buff *skb, struct bl_packet *p, void *l4, void *end)
{
	switch (p->key.proto) {
	case IPPROTO_TCP: {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return BL_DROP_INVALID_PACKET_DROPPED;
		p->key.sport = tcp->source;
		p->key.dport = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13];
		return 0;
	}
	case IPPROTO_UDP:
	case IPPROTO_SCTP: {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return BL_DROP_INVALID_PACKET_DROPPED;
		p->key.sport = udp->source;
		p->key.dport = udp->dest;
		return 0;
	}
	case IPPROTO_ICMP:
		return parse_icmp4(skb, p);
	case IPPROTO_ICMPV6:
		return parse_icmp6(skb, p);
	}
	return 0;
}

/* Remembers the ports of a first fragment, or finds them for a later one. */
BL_STEP int parse_fragment(struct bl_packet *p, __u32 id)
{
	if (!p)
		return BL_DROP_INVALID_PACKET_DROPPED;
	struct bl_frag_key key = {
		.src = p->key.src, .dst = p->key.dst, .id = id, .proto = p->key.proto};

	if (p->flags & PKT_LATER_FRAGMENT) {
		struct bl_frag *frag = bpf_map_lookup_elem(&bl_frag, &key);

		if (!frag)
			return BL_DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND;
		p->key.sport = frag->sport;
		p->key.dport = frag->dport;
	} else {
		struct bl_frag frag = {.sport = p->key.sport, .dport = p->key.dport};

		if (bpf_map_update_elem(&bl_frag, &key, &frag, BPF_ANY))
			count(BL_METRIC_frag_failed);
	}
	return 0;
}

static __always_inline int parse_v4(struct __sk_buff *skb, struct bl_packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u16 frag;
	__u32 id;
	int reason;

	if ((void *)(ip + 1) > end)
		return BL_DROP_INVALID_PACKET_DROPPED;
	if (ip->version != 4 || ip->ihl < 5)
		return BL_DROP_INVALID_PACKET_DROPPED;
	addr_set_v4(&p->key.src, ip->saddr);
	addr_set_v4(&p->key.dst, ip->daddr);
	p->key.proto = ip->protocol;
	p->flags = PKT_V4;
	p->l4_off = ETH_HLEN + ip->ihl * 4;
	id = ip->id;
	frag = bpf_ntohs(ip->frag_off);
	if (unlikely(frag & IP_OFFSET)) {
		p->flags |= PKT_LATER_FRAGMENT;
		return parse_fragment(p, id);
	}
	reason = parse_l4(skb, p, data + p->l4_off, end);
	if (unlikely(frag & IP_MF) && !reason)
		return parse_fragment(p, id);
	return reason;
}

struct frag_hdr6 {
	__u8 nexthdr;
	__u8 reserved;
	__be16 frag_off;
	__be32 identification;
};

/*
 * Walks IPv6 extension headers to the transport header. Sets key.proto and l4_off.
 * Returns 0, a drop reason, or -1 when a fragment header was met (then *id is set).
 */
BL_STEP int parse_extensions(struct __sk_buff *skb, struct bl_packet *p, __u32 *id)
{
	bool fragment = false;
	__u32 off;
	__u8 next;

	if (!p || !id)
		return BL_DROP_INVALID_PACKET_DROPPED;
	next = p->key.proto;
	off = p->l4_off;

	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		struct frag_hdr6 hdr; /* the longest of the fixed parts */

		switch (next) {
		case NEXTHDR_HOP:
		case NEXTHDR_ROUTING:
		case NEXTHDR_DEST:
			if (bpf_skb_load_bytes(skb, off, &hdr, sizeof(hdr)))
				return BL_DROP_INVALID_PACKET_DROPPED;
			off += (hdr.reserved + 1) * 8;
			break;
		case NEXTHDR_AUTH:
			if (bpf_skb_load_bytes(skb, off, &hdr, sizeof(hdr)))
				return BL_DROP_INVALID_PACKET_DROPPED;
			off += (hdr.reserved + 2) * 4;
			break;
		case NEXTHDR_FRAGMENT:
			if (bpf_skb_load_bytes(skb, off, &hdr, sizeof(hdr)))
				return BL_DROP_INVALID_PACKET_DROPPED;
			/* An "atomic" fragment (no offset, no more) is a whole packet. */
			if (hdr.frag_off & bpf_htons(0xfff9))
				fragment = true;
			if (hdr.frag_off & bpf_htons(0xfff8))
				p->flags |= PKT_LATER_FRAGMENT;
			*id = hdr.identification;
			off += 8;
			break;
		default:
			p->key.proto = next;
			p->l4_off = off;
			return fragment ? -1 : 0;
		}
		next = hdr.nexthdr;
		if (off > 1024)
			break;
	}
	return BL_DROP_INVALID_PACKET_DROPPED;
}

static __always_inline bool is_extension(__u8 next)
{
	return next == NEXTHDR_HOP || next == NEXTHDR_ROUTING || next == NEXTHDR_DEST ||
	       next == NEXTHDR_AUTH || next == NEXTHDR_FRAGMENT;
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct bl_packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u32 id = 0;
	void *l4 = ip + 1;
	int extra = 0, reason;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return BL_DROP_INVALID_PACKET_DROPPED;
	__builtin_memcpy(&p->key.src, &ip->saddr, sizeof(p->key.src));
	__builtin_memcpy(&p->key.dst, &ip->daddr, sizeof(p->key.dst));
	/* A v4-mapped address on the wire would pass for the IPv4 host of that number. */
	if (addr_is_v4(&p->key.src) || addr_is_v4(&p->key.dst))
		return BL_DROP_INVALID_SOURCE_IP;
	p->key.proto = ip->nexthdr;
	p->flags = 0;
	p->l4_off = ETH_HLEN + sizeof(*ip);
	if (unlikely(is_extension(ip->nexthdr))) {
		extra = parse_extensions(skb, p, &id);
		if (extra > 0)
			return extra;
		if (p->flags & PKT_LATER_FRAGMENT)
			return parse_fragment(p, id);
		if (p->l4_off > 1024)
			return BL_DROP_INVALID_PACKET_DROPPED;
		l4 = data + p->l4_off;
	}
	reason = parse_l4(skb, p, l4, end);
	if (unlikely(extra < 0) && !reason)
		return parse_fragment(p, id);
	return reason;
}

static __always_inline int parse_linear(struct __sk_buff *skb, struct bl_packet *p)
{
	__builtin_memset(p, 0, sizeof(*p));
	p->bytes = skb->len - ETH_HLEN;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return parse_v4(skb, p);
	case bpf_htons(ETH_P_IPV6):
		return parse_v6(skb, p);
	case bpf_htons(ETH_P_ARP):
		return PARSE_LINK;
	}
	return BL_DROP_UNSUPPORTED_L3_PROTOCOL;
}

/* Longest headers that are read in place: Ethernet, IPv4 with options, TCP's fixed part. */
#define PARSE_PULL (ETH_HLEN + 60 + 20)

BL_STEP int parse_pulled(struct __sk_buff *skb, struct bl_packet *p)
{
	if (!p)
		return BL_DROP_INVALID_PACKET_DROPPED;
	bpf_skb_pull_data(skb, skb->len < PARSE_PULL ? skb->len : PARSE_PULL);
	return parse_linear(skb, p);
}

/* 0 and *p filled; PARSE_LINK; or the reason to drop. */
static __always_inline int parse_packet(struct __sk_buff *skb, struct bl_packet *p)
{
	int reason = parse_linear(skb, p);

	/* Headers are nearly always linear; making them so copies, so it is done only for those that are not. */
	if (unlikely(reason == BL_DROP_INVALID_PACKET_DROPPED))
		return parse_pulled(skb, p);
	return reason;
}

/*
 * The quoted packet of an ICMP error, in its own direction (as the receiver of the error had sent
 * it). Fills *inner: key, l4_off, flags. 0 or a drop reason.
 */
BL_STEP int parse_quoted(struct __sk_buff *skb, __u32 off, bool v4, struct bl_packet *inner)
{
	__u8 ports[4];

	if (!inner)
		return BL_DROP_INVALID_PACKET_DROPPED;
	__builtin_memset(inner, 0, sizeof(*inner));
	if (v4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return BL_DROP_INVALID_PACKET_DROPPED;
		addr_set_v4(&inner->key.src, ip.saddr);
		addr_set_v4(&inner->key.dst, ip.daddr);
		inner->key.proto = ip.protocol;
		inner->flags = PKT_V4;
		inner->l4_off = off + ip.ihl * 4;
		if (ip.frag_off & bpf_htons(IP_OFFSET)) {
			inner->flags |= PKT_LATER_FRAGMENT;
			return parse_fragment(inner, ip.id);
		}
	} else {
		struct ipv6hdr ip;
		__u32 id = 0;
		int extra;

		if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)) || ip.version != 6)
			return BL_DROP_INVALID_PACKET_DROPPED;
		__builtin_memcpy(&inner->key.src, &ip.saddr, sizeof(inner->key.src));
		__builtin_memcpy(&inner->key.dst, &ip.daddr, sizeof(inner->key.dst));
		inner->key.proto = ip.nexthdr;
		inner->l4_off = off + sizeof(ip);
		extra = parse_extensions(skb, inner, &id);
		if (extra > 0)
			return extra;
		if (inner->flags & PKT_LATER_FRAGMENT)
			return parse_fragment(inner, id);
	}
	if (proto_has_ports(inner->key.proto)) {
		if (bpf_skb_load_bytes(skb, inner->l4_off, ports, sizeof(ports)))
			return BL_DROP_INVALID_PACKET_DROPPED;
		__builtin_memcpy(&inner->key.sport, ports, 2);
		__builtin_memcpy(&inner->key.dport, ports + 2, 2);
	} else if (inner->key.proto == IPPROTO_ICMP || inner->key.proto == IPPROTO_ICMPV6) {
		/* The echo identifier is at the same place in both. */
		if (bpf_skb_load_bytes(skb, inner->l4_off + 4, ports, 2))
			return BL_DROP_INVALID_PACKET_DROPPED;
		__builtin_memcpy(&inner->key.sport, ports, 2);
		__builtin_memcpy(&inner->key.dport, ports, 2);
	}
	return 0;
}

#endif
