/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bl_policy: what an isolated subject may exchange with a peer.
 *
 * The map is an LPM trie. Subject, direction and peer are always matched exactly; protocol and port
 * may be wildcards by prefix length: BL_POLICY_PREFIX_PEER               any protocol, any port
 *   BL_POLICY_PREFIX_PROTO              one protocol, any port
 *   BL_POLICY_PREFIX_PROTO + 1..16      one protocol, a port prefix (ranges are split into
 * prefixes) Peer 0 means any peer. Both the peer's own entry and peer 0's are looked up: a deny in
 * either wins, an allow in either passes, none drops.
 */
#ifndef BL_ABI_POLICY_H
#define BL_ABI_POLICY_H

#include "addr.h"

#define BL_DIR_EGRESS 0
#define BL_DIR_INGRESS 1

struct bl_policy_key {
	__u32 prefixlen;
	__u32 subject;	/* identity of the isolated workload */
	__u32 peer;	/* identity of the other side; 0: any */
	__u8 direction; /* BL_DIR_* */
	__u8 proto;	/* IPPROTO_* */
	__be16 port;	/* destination port */
};
BL_STATIC_ASSERT(sizeof(struct bl_policy_key) == 16, "bl_policy_key");

#define BL_POLICY_PREFIX_PEER 72 /* subject + peer + direction */
#define BL_POLICY_PREFIX_PROTO 80
#define BL_POLICY_PREFIX_PORT 96

struct bl_policy {
	__u32 rule; /* id of the rule that decides, resolved to a name by user space */
	__u32 deny; /* 1: deny */
};
BL_STATIC_ASSERT(sizeof(struct bl_policy) == 8, "bl_policy");

#endif
