/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontend -> slot -> backend, client affinity, and the way back at the socket. */
#ifndef BL_ABI_SERVICE_H
#define BL_ABI_SERVICE_H

#include "addr.h"

struct bl_svc_key {
	union bl_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad[5]; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_svc_key) == 24, "bl_svc_key");

#define BL_SVC_MOVED \
	0x1 /* not a service address: a vanished UDP backend whose sockets move to the service */

#define BL_SVC_NODE_ONLY \
	0x2 /* for sockets of the node's own network namespace: loopback addresses of host ports */

struct bl_svc {
	__u32 id;	  /* number of the service port, stable over restarts */
	__u32 generation; /* which set of slots is in force */
	__u32 count;	  /* usable backends; 0: refuse */
	__u32 affinity_s; /* ClientIP affinity timeout; 0: none */
	__u32 flags;	  /* BL_SVC_* */
};
BL_STATIC_ASSERT(sizeof(struct bl_svc) == 20, "bl_svc");

/* bl_slot: (service, generation, slot) -> backend id. */
struct bl_slot_key {
	__u32 service;
	__u32 generation;
	__u32 slot; /* 0 .. count-1 */
};
BL_STATIC_ASSERT(sizeof(struct bl_slot_key) == 12, "bl_slot_key");

/* bl_backend: backend id -> where it is. Ids are never reused while a connection may name them. */
struct bl_backend {
	union bl_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;      /* zero */
	__u32 service; /* the service port that it belongs to */
};
BL_STATIC_ASSERT(sizeof(struct bl_backend) == 24, "bl_backend");

/* bl_affinity (LRU): which backend a client got last. */
struct bl_affinity_key {
	union bl_addr client; /* the address; at the socket: the network namespace cookie in
				 half[0], half[1] zero */
	__u32 service;
	__u32 pad; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_affinity_key) == 24, "bl_affinity_key");

struct bl_affinity {
	__u64 used_ns; /* clock_tick_ns(), refreshed by each new connection */
	__u32 backend;
	__u32 pad; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_affinity) == 16, "bl_affinity");

/* bl_sock_rev (LRU): what an unconnected UDP socket must see as the sender of a backend's answer.
 */
struct bl_sock_rev_key {
	__u64 cookie;	    /* socket cookie */
	union bl_addr addr; /* backend */
	__be16 port;
	__u16 pad[3]; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_sock_rev_key) == 32, "bl_sock_rev_key");

struct bl_sock_rev {
	union bl_addr addr; /* service */
	__be16 port;
	__u16 pad; /* zero */
	__u32 backend;
};
BL_STATIC_ASSERT(sizeof(struct bl_sock_rev) == 24, "bl_sock_rev");

#endif
