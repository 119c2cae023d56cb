/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How much a workload may send and receive (bl_limit). */
#ifndef BL_ABI_LIMIT_H
#define BL_ABI_LIMIT_H

#include "policy.h"

/* One direction. What has passed is paid for at `rate`; `due_ns` is when it will be. */
struct bl_limit_way {
	__u64 rate;	/* bytes of L3 a second; 0: no limit */
	__u64 burst_ns; /* how far `due_ns` may be ahead of now */
	__u64 due_ns;	/* CLOCK_MONOTONIC; written by the kernel side, like all below */
	__u64 passed;	/* packets */
	__u64 delayed;	/* of these, those that left later than they came */
	__u64 dropped;
	__u64 told_ns; /* when a drop was reported last */
};
BL_STATIC_ASSERT(sizeof(struct bl_limit_way) == 56, "bl_limit_way");

/* Key: number of the workload (bl_endpoint.id). */
struct bl_limit {
	struct bl_limit_way way[2]; /* by BL_DIR_* */
};
BL_STATIC_ASSERT(sizeof(struct bl_limit) == 112, "bl_limit");

/* A packet that would wait longer at a device with fq is dropped. */
#define BL_LIMIT_HORIZON_NS 200000000ULL

#endif
