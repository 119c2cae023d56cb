/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontend -> backend. Maps read: bl_svc, bl_slot, bl_backend; written: bl_affinity. */
#ifndef BL_LIB_LB_H
#define BL_LIB_LB_H

#include "compat.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bl_svc_key);
	__type(value, struct bl_svc);
} bl_svc SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1048576);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bl_slot_key);
	__type(value, __u32);
} bl_slot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1048576);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bl_backend);
} bl_backend SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct bl_affinity_key);
	__type(value, struct bl_affinity);
} bl_affinity SEC(".maps");

static __always_inline struct bl_svc *lb_service(const union bl_addr *addr, __be16 port, __u8 proto)
{
	struct bl_svc_key key = {.addr = *addr, .port = port, .proto = proto};

	return bpf_map_lookup_elem(&bl_svc, &key);
}

static __always_inline struct bl_backend *lb_backend(__u32 id)
{
	return bpf_map_lookup_elem(&bl_backend, &id);
}

static __always_inline __u32 lb_pick(const struct bl_svc *svc)
{
	struct bl_slot_key key = {.service = svc->id, .generation = svc->generation};
	__u32 *id;

	key.slot = bpf_get_prandom_u32() % svc->count;
	id = bpf_map_lookup_elem(&bl_slot, &key);
	return id ? *id : 0;
}

/*
 * Chooses a backend for a new connection of `client` (abi/service.h says what that is) and
 * remembers it when the service has affinity. NULL when there is none.
 */
BL_STEP __u32 lb_select(const struct bl_svc *svc, const union bl_addr *client)
{
	struct bl_affinity_key key = {};
	struct bl_affinity entry = {};
	struct bl_backend *backend;
	struct bl_affinity *last;
	__u64 now;

	if (!svc || !client || !svc->count)
		return 0;
	if (!svc->affinity_s)
		return lb_pick(svc);
	key.client = *client;
	key.service = svc->id;
	now = clock_tick_ns();
	last = bpf_map_lookup_elem(&bl_affinity, &key);
	if (last && now - last->used_ns < svc->affinity_s * 1000000000ULL) {
		backend = lb_backend(last->backend);
		/* A backend id may outlive its place in the service: then the client gets another one. */
		if (backend && backend->service == svc->id) {
			last->used_ns = now;
			return last->backend;
		}
	}
	entry.used_ns = now;
	entry.backend = lb_pick(svc);
	if (entry.backend && bpf_map_update_elem(&bl_affinity, &key, &entry, BPF_ANY))
		count(BL_METRIC_affinity_failed);
	return entry.backend;
}

#endif
