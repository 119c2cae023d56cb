/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Settings that are fixed when the objects are loaded (read-only data, so that the verifier removes
 * dead code). */
#ifndef BL_ABI_CONFIG_H
#define BL_ABI_CONFIG_H

#include "flow.h"

/* Packets that the host's firewall must refuse (TCP reset, ICMP port unreachable) instead of
 * forwarding. */
#define BL_MARK_REFUSE 0xbee11e00

struct bl_config {
	union bl_addr
		gateway4; /* the node's address for workloads; source of hairpin connections */
	union bl_addr gateway6;
	__u32 timeout_s[BL_CT_STATE_MAX]; /* idle seconds by enum bl_ct_state */
};
BL_STATIC_ASSERT(sizeof(struct bl_config) == 32 + 4 * BL_CT_STATE_MAX, "bl_config");

/* In and out of bl_ct_sweep (BPF_PROG_TEST_RUN). */
struct bl_sweep {
	__u64 now_ns;	/* in: CLOCK_MONOTONIC */
	__u32 pressure; /* in: 1 when the table is (nearly) full: half-open and closing entries go
			   early */
	__u32 seen;	/* out: entries looked at */
	__u32 removed;	/* out */
	__u32 pad;	/* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_sweep) == 24, "bl_sweep");

#endif
