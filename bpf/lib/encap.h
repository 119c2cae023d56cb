/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * To and from other nodes: straight out of the device that leads there, past the host's stack, its routing and its
 * firewall. Maps read: bl_node, bl_ipcache.
 */
#ifndef BL_LIB_ENCAP_H
#define BL_LIB_ENCAP_H

#include "identity.h"
#include "parse.h"
#include "abi/node.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BL_NODES);
	__type(key, __u32);
	__type(value, struct bl_node);
} bl_node SEC(".maps");

/* struct bpf_tunnel_key in a fixed form: before 6.0 it ends with `tunnel_label`. */
struct tunnel_key {
	__u32 tunnel_id;
	__u32 remote[4]; /* IPv4: the first word, in host order */
	__u8 tunnel_tos;
	__u8 tunnel_ttl;
	__u16 tunnel_ext;
	__u32 tunnel_label;
	__u32 local[4];
};
#define TUNNEL_KEY_SHORT __builtin_offsetof(struct tunnel_key, local)
#define TUNNEL_V6 1	   /* BPF_F_TUNINFO_IPV6 */
#define TUNNEL_NO_CSUM 2 /* BPF_F_ZERO_CSUM_TX */

static __always_inline struct bl_node *encap_node(__u32 end)
{
	__u32 number = end & ~BL_END_REMOTE;

	return bpf_map_lookup_elem(&bl_node, &number);
}

/* The end of a connection that an address on another node is; 0 for all others. */
static __always_inline __u32 encap_end(const struct bl_ipcache *entry)
{
	return entry && entry->node ? BL_END_REMOTE | entry->node : 0;
}

/* Of a source that sent: a node's own address counts too. */
static __always_inline __u32 encap_sender(const union bl_addr *addr)
{
	return encap_end(ipcache_lookup(addr));
}

/* Speaks for a workload behind a tunnel, and did not come out of it. */
static __always_inline bool encap_bypassed(const union bl_addr *addr)
{
	struct bl_ipcache *entry = ipcache_lookup(addr);
	struct bl_node *node;

	if (!entry || !entry->node || entry->flags & BL_IPC_NODE)
		return false;
	node = encap_node(entry->node);
	return node && node->flags & BL_NODE_TUNNEL;
}

/* Did the node of `end` send what came out of the tunnel? A step, so that its key is on no other's stack. */
BL_STEP int encap_sent_by(struct __sk_buff *skb, __u32 end)
{
	struct bl_node *node = encap_node(end);
	struct tunnel_key key = {};

	if (!node || addr_is_zero(&node->addr))
		return false;
	if (addr_is_v4(&node->addr))
		return !bpf_skb_get_tunnel_key(skb, (void *)&key, TUNNEL_KEY_SHORT, 0) &&
		       key.tunnel_id == node->vni &&
		       key.remote[0] == bpf_ntohl(node->addr.word[3]);
	return !bpf_skb_get_tunnel_key(skb, (void *)&key, TUNNEL_KEY_SHORT, TUNNEL_V6) &&
	       key.tunnel_id == node->vni && key.remote[0] == node->addr.word[0] &&
	       key.remote[1] == node->addr.word[1] && key.remote[2] == node->addr.word[2] &&
	       key.remote[3] == node->addr.word[3];
}

/*
 * What came from another node, at the device where it came in: 0 for a workload here, a drop reason, or -1: for the host's
 * stack (made ready for it).
 */
BL_STEP int encap_arrived(struct __sk_buff *skb, const struct bl_packet *p)
{
	struct bl_endpoint *ep;
	__u32 sender;

	if (!p)
		return BL_DROP_INVALID_SOURCE_IP;
	sender = encap_sender(&p->key.src);
	ep = endpoint_lookup(&p->key.dst);
	if (!(p->flags & PKT_TUNNEL))
		return sender && ep && !(ep->flags & BL_EP_HOST) ? 0 : -1;
	if (!sender)
		return BL_DROP_INVALID_SOURCE_IP;
	if (!encap_sent_by(skb, sender))
		return BL_DROP_TUNNEL_SOURCE;
	if (!ep)
		return BL_DROP_UNKNOWN_ENDPOINT;
	if (!(ep->flags & BL_EP_HOST))
		return 0;
	/* The inner frame was addressed to a gateway of the sender's. */
	bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
	return -1;
}

/* Options are not looked at: of a segment that they make too long the tunnel sends fragments. */
static __always_inline bool encap_too_long(struct __sk_buff *skb, const struct bl_packet *p,
					   __u32 mtu)
{
	__u32 size = skb->gso_size;

	if (likely(!size))
		return p->bytes > mtu;
	return size + p->l4_off - ETH_HLEN + (p->key.proto == IPPROTO_TCP ? 20 : 8) > mtu;
}

static __always_inline int encap_tunnel(struct __sk_buff *skb, const struct bl_node *node)
{
	struct tunnel_key key = {.tunnel_id = node->vni};
	__u32 size = bpf_core_field_exists(struct bpf_tunnel_key, local_ipv4) ? sizeof(key)
									      : TUNNEL_KEY_SHORT;
	__u64 flags = 0;

	if (addr_is_v4(&node->addr)) {
		key.remote[0] = bpf_ntohl(node->addr.word[3]);
		key.local[0] = bpf_ntohl(node->local.word[3]);
		flags = TUNNEL_NO_CSUM;
	} else {
		__builtin_memcpy(key.remote, node->addr.word, sizeof(key.remote));
		__builtin_memcpy(key.local, node->local.word, sizeof(key.local));
		flags = TUNNEL_V6;
	}
	if (bpf_skb_set_tunnel_key(skb, (void *)&key, size, flags)) {
		count_drop(BL_DROP_ERROR_WRITING_TO_PACKET);
		return TC_ACT_SHOT;
	}
	return bpf_redirect(node->ifindex, 0);
}

/*
 * Sends a judged packet to the node of `end`. What is too long for the way there, and what it has no next hop for, goes to
 * the host's stack, whose routes lead to the same node: it fragments, or tells the sender.
 */
BL_STEP int encap_send(struct __sk_buff *skb, const struct bl_packet *p, __u32 end)
{
	struct bpf_redir_neigh hop = {};
	struct bl_node *node = encap_node(end);

	if (!p || !node || addr_is_zero(&node->addr)) {
		count_drop(BL_DROP_ENDPOINT_GONE);
		return TC_ACT_SHOT;
	}
	if (!node->ifindex || encap_too_long(skb, p, node->mtu))
		return TC_ACT_OK;
	if (node->flags & BL_NODE_TUNNEL)
		return encap_tunnel(skb, node);
	if (p->flags & PKT_V4) {
		hop.nh_family = AF_INET;
		hop.ipv4_nh = node->hop4;
		if (!node->hop4)
			return TC_ACT_OK;
	} else {
		hop.nh_family = AF_INET6;
		__builtin_memcpy(hop.ipv6_nh, node->hop6.word, sizeof(hop.ipv6_nh));
		if (addr_is_zero(&node->hop6))
			return TC_ACT_OK;
	}
	return bpf_redirect_neigh(node->ifindex, &hop, sizeof(hop), 0);
}

#endif
