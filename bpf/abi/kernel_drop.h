/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets of workloads that the kernel's own stack dropped (bl_kdrop). */
#ifndef BL_ABI_KERNEL_DROP_H
#define BL_ABI_KERNEL_DROP_H

#include "addr.h"

/* The port that is kept is the source's: answers of a server. */
#define BL_KDROP_SOURCE_PORT 0x1

/*
 * Key of bl_kdrop. Of both ports the lower is kept, which is the server's in all but odd cases: one entry for all
 * connections of a pair.
 */
struct bl_kdrop_key {
	union bl_addr src; /* as the packet had them when it was dropped */
	union bl_addr dst;
	__u32 reason; /* enum skb_drop_reason, numbers of the running kernel */
	__u32 netns;  /* inode of the network namespace; 0: not known */
	__be16 port;  /* 0: the protocol has none, or a later fragment */
	__u8 proto;   /* IPPROTO_* */
	__u8 flags;   /* BL_KDROP_* */
	__u32 pad;    /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_kdrop_key) == 48, "bl_kdrop_key");

struct bl_kdrop {
	__u64 count;
	__u64 first_ns; /* CLOCK_MONOTONIC */
	__u64 last_ns;
	__u64 location; /* address of the kernel's code that dropped the last one */
};
BL_STATIC_ASSERT(sizeof(struct bl_kdrop) == 32, "bl_kdrop");

/* Reasons with a larger number (of a subsystem of the kernel) are counted under 0. */
#define BL_KDROP_REASONS 256

/* Read-only data of the object. */
struct bl_kdrop_config {
	__u64 skipped[BL_KDROP_REASONS / 64]; /* bit by reason: not of interest */
	__u32 has_socket;		      /* the tracepoint tells the receiving socket (6.11) */
	__u32 pad;			      /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_kdrop_config) == 40, "bl_kdrop_config");

#endif
