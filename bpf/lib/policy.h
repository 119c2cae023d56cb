/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy decisions. Map read: bl_policy (layout and precedence in abi/policy.h). */
#ifndef BL_LIB_POLICY_H
#define BL_LIB_POLICY_H

#include "identity.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1048576);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bl_policy_key);
	__type(value, struct bl_policy);
} bl_policy SEC(".maps");

/* 0: allowed; else the drop reason. *rule: what decided, BL_FLOW_NO_RULE for a default deny. */
BL_STEP int policy_check(__u32 subject, __u32 peer, __u32 direction_proto, __be16 port, __u32 *rule)
{
	struct bl_policy_key key = {
		.prefixlen = BL_POLICY_PREFIX_PORT,
		.subject = subject,
		.peer = peer,
		.direction = direction_proto >> 8,
		.proto = direction_proto & 0xff,
		.port = port,
	};
	struct bl_policy *own, *any;

	if (!rule)
		return BL_DROP_POLICY_DENIED;
	own = bpf_map_lookup_elem(&bl_policy, &key);
	key.peer = 0;
	any = bpf_map_lookup_elem(&bl_policy, &key);
	if (own && (own->deny || !any || !any->deny)) {
		*rule = own->rule;
		return own->deny ? BL_DROP_POLICY_DENY : 0;
	}
	if (any) {
		*rule = any->rule;
		return any->deny ? BL_DROP_POLICY_DENY : 0;
	}
	*rule = BL_FLOW_NO_RULE;
	return BL_DROP_POLICY_DENIED;
}

#endif
