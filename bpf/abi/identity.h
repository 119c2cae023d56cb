/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Identities and endpoints: who an address belongs to. */
#ifndef BL_ABI_IDENTITY_H
#define BL_ABI_IDENTITY_H

#include "addr.h"

/* Reserved identities keep the numbers that Hubble's users know. X(name, number) */
#define BL_RESERVED_IDENTITIES(X) \
	X(unknown, 0)             \
	X(host, 1)                \
	X(world, 2)               \
	X(unmanaged, 3)           \
	X(health, 4)              \
	X(init, 5)                \
	X(remote_node, 6)         \
	X(kube_apiserver, 7)      \
	X(ingress, 8)

enum bl_reserved_identity {
#define X(name, number) BL_ID_##name = number,
	BL_RESERVED_IDENTITIES(X)
#undef X
};

/* First number given to label sets; numbers are local to the node. */
#define BL_ID_FIRST_LOCAL 256

/* Endpoint flags. */
#define BL_EP_HOST 0x1	  /* an address of this node itself: no interface, no policy */
#define BL_EP_INGRESS 0x2 /* isolated for ingress: bl_policy decides */
#define BL_EP_EGRESS 0x4  /* isolated for egress */
#define BL_EP_L7 0x8	  /* the payload of its TCP connections is wanted */
#define BL_EP_DNS 0x10	  /* that of its DNS queries is */

/* Value of bl_endpoint; key: union bl_addr (one entry for each address of a local endpoint). */
struct bl_endpoint {
	__u32 ifindex; /* host side of the veth pair; 0 for the host */
	__u32 identity;
	__u32 id;    /* stable number of the workload on this node, 0 for the host */
	__u16 flags; /* BL_EP_* */
	__u8 mac[6]; /* of the workload's own interface */
	__u32 pad;   /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_endpoint) == 24, "bl_endpoint");

#define BL_IPC_NODE 0x1 /* an address of the node itself: reached without the tunnel */

/* Value of bl_ipcache; key: struct bl_prefix: identities of everything that is not a local
 * endpoint. */
struct bl_ipcache {
	__u32 identity;
	__u16 node;  /* number of the other node that it is on (abi/node.h); 0: none */
	__u16 flags; /* BL_IPC_* */
};
BL_STATIC_ASSERT(sizeof(struct bl_ipcache) == 8, "bl_ipcache");

/*
 * Value of bl_identity; key: __u32 identity. Written by user space only, so that a restarted agent
 * gives the same label set the same number: the first 128 bits of the digest of the identity's
 * canonical text.
 */
struct bl_identity {
	__u64 digest[2];
};
BL_STATIC_ASSERT(sizeof(struct bl_identity) == 16, "bl_identity");

#endif
