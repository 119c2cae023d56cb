/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who an address belongs to. Maps read: bl_endpoint, bl_ipcache; bl_identity is user space's own
 * book. */
#ifndef BL_LIB_IDENTITY_H
#define BL_LIB_IDENTITY_H

#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, union bl_addr);
	__type(value, struct bl_endpoint);
} bl_endpoint SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bl_prefix);
	__type(value, struct bl_ipcache);
} bl_ipcache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bl_identity);
} bl_identity SEC(".maps");

static __always_inline struct bl_endpoint *endpoint_lookup(const union bl_addr *addr)
{
	union bl_addr key = *addr; /* before 6.2 a key cannot be an argument of a global function */

	return bpf_map_lookup_elem(&bl_endpoint, &key);
}

/* What is known of an address that is no local endpoint. */
static __always_inline struct bl_ipcache *ipcache_lookup(const union bl_addr *addr)
{
	struct bl_prefix key = {.prefixlen = 128, .addr = *addr};

	return bpf_map_lookup_elem(&bl_ipcache, &key);
}

#endif
