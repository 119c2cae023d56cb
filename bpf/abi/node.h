/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The other machines of the cluster: how packets get there. */
#ifndef BL_ABI_NODE_H
#define BL_ABI_NODE_H

#include "addr.h"

/* Numbers of nodes are local, from 1; 0 is no node. */
#define BL_NODES 4096

/* Where a connection's end is (bl_ct.ifindex): on the node of this number, not behind an interface here. */
#define BL_END_REMOTE 0x80000000U

#define BL_NODE_TUNNEL 0x1 /* packets travel inside VXLAN; else as they are */

/*
 * Value of bl_node; key: __u32 number. Array, so that the path of an established connection pays no hash.
 * An entry without `addr` is no node: what is sent there is dropped.
 */
struct bl_node {
	union bl_addr addr;  /* the node's; with a tunnel: outer destination, and the only outer
				source that is believed */
	union bl_addr local; /* tunnel: own outer source */
	union bl_addr hop6;  /* no tunnel: next hop of IPv6 packets; zero: the host's stack knows */
	__be32 hop4;	     /* the same of IPv4 packets */
	__u32 ifindex; /* the tunnel's device, or the one towards the next hop; 0: the host's stack */
	__u32 vni;
	__u16 mtu;  /* longest packet, from its IP header on; longer ones go to the host's stack */
	__u8 flags; /* BL_NODE_* */
	__u8 pad;   /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_node) == 64, "bl_node");

#endif
