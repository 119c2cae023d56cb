/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flow events to user space. Ring: bl_flows. Waking the reader for each event costs more than
 * everything else here, so it polls and is woken only when the ring is a quarter full.
 */
#ifndef BL_LIB_EMIT_H
#define BL_LIB_EMIT_H

#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024); /* user space may choose another size */
} bl_flows SEC(".maps");

static __always_inline struct bl_flow_event *emit_reserve(void)
{
	struct bl_flow_event *event =
		bpf_ringbuf_reserve(&bl_flows, sizeof(struct bl_flow_event), 0);

	if (!event) {
		count(BL_METRIC_flow_lost);
		return NULL;
	}
	count(BL_METRIC_flow_events);
	return event;
}

static __always_inline void emit_submit(struct bl_flow_event *event)
{
	__u64 used = bpf_ringbuf_query(&bl_flows, BPF_RB_AVAIL_DATA);
	__u64 size = bpf_ringbuf_query(&bl_flows, BPF_RB_RING_SIZE);

	bpf_ringbuf_submit(event, used > size / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif
