/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Flow events (ring bl_flows) and conntrack entries (bl_ct). */
#ifndef BL_ABI_FLOW_H
#define BL_ABI_FLOW_H

#include "process.h"

/* X(name, number) */
#define BL_FLOW_KINDS(X)                                                                   \
	X(opened, 1)  /* first packet of a connection, allowed */                          \
	X(replied, 2) /* it was answered: the other end's process is known from here on */ \
	X(closed, 3)  /* end of the connection with its final counters */                  \
	X(dropped, 4) /* one packet was dropped */                                         \
	X(revoked, 5) /* an established connection no longer passes the policy */

enum bl_flow_kind {
#define X(name, number) BL_FLOW_##name = number,
	BL_FLOW_KINDS(X)
#undef X
};

/* Where the packet was seen. */
#define BL_AT_FROM_POD 0
#define BL_AT_TO_POD 1
#define BL_AT_SWEEP 2

#define BL_FLOW_NO_RULE 0 /* not isolated, or reply, or host: no rule had to decide */

/*
 * One event. The key is in the direction of the connection (client first), with addresses as policy
 * saw them: after service translation. Counters count packets and bytes (of L3) since the
 * connection began.
 */
struct bl_flow_event {
	__u64 time_ns;	 /* CLOCK_MONOTONIC */
	__u64 opened_ns; /* same clock; 0 in dropped */
	struct bl_flow_key key;
	union bl_addr svc_addr; /* service address before translation; zero: none */
	__u64 packets[2];	/* [0] of the client, [1] of the server */
	__u64 bytes[2];
	struct bl_process process[2]; /* [0] client, [1] server; zero where not known */
	__u32 identity[2];	      /* [0] client, [1] server */
	__u32 endpoint[2];	      /* bl_endpoint.id; 0: not a workload of this machine */
	__u32 rule[2]; /* [BL_DIR_EGRESS], [BL_DIR_INGRESS]: rule that allowed or denied */
	__u32 ifindex; /* interface of the hook */
	__be16 svc_port;
	__u8 kind;	   /* enum bl_flow_kind */
	__u8 reason;	   /* enum bl_drop_reason; 0 unless dropped or revoked */
	__u8 hook;	   /* BL_AT_* */
	__u8 direction;	   /* BL_DIR_* of the check that dropped; 0 otherwise */
	__u8 tcp_flags[2]; /* seen so far, of client and server */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 pad[2]; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_flow_event) == 224, "bl_flow_event");

/* Connection states. X(name, number, timeout in seconds) */
#define BL_CT_STATES(X)                                       \
	X(syn_sent, 0, 60)                                    \
	X(established, 1, 21600)                              \
	X(closing, 2, 10)                                     \
	X(unreplied, 3, 30) /* not TCP, one direction only */ \
	X(replied, 4, 120)  /* not TCP, both directions */    \
	X(icmp, 5, 30)

enum bl_ct_state {
#define X(name, number, timeout) BL_CT_##name = number,
	BL_CT_STATES(X)
#undef X
		BL_CT_STATE_MAX
};

#define BL_CT_SWAPPED 0x1  /* the client is the second end of the normalised key */
#define BL_CT_FRONTEND 0x2 /* client -> service address: holds the backend only */
#define BL_CT_HAIRPIN \
	0x4 /* the client reaches itself through a service: its source is rewritten too */
#define BL_CT_REPLIED 0x8  /* the first answer was seen */
#define BL_CT_L7 0x10	   /* its payload is wanted */
#define BL_CT_REVOKED 0x20 /* the policy took its permission back; reported once */
#define BL_CT_NAT \
	0x40 /* translated packet by packet: answers get svc_addr back as their source \
			*/
#define BL_CT_FROM_HOST 0x80 /* the client is this node itself: no ingress policy */

/*
 * Value of bl_ct. The key is a struct bl_flow_key normalised so that both directions find the same
 * entry: the numerically smaller (address, port) end comes first. Index 0 of arrays is the client,
 * 1 the server.
 */
struct bl_ct {
	__u64 seen_ns; /* clock_tick_ns() of the last packet */
	__u64 packets[2];
	__u64 bytes[2];
	__u32 epoch;	  /* of bl_state when the policy was judged */
	__u32 ifindex[2]; /* interface by which each end is reached and must send; 0: the host's
			     stack; BL_END_REMOTE | number: another node */
	__u8 state;	  /* enum bl_ct_state */
	__u8 flags;	  /* BL_CT_* */
	__u8 tcp_flags[2];
	/* colder */
	__u64 opened_ns;
	union bl_addr
		svc_addr; /* address to put back in answers; of a frontend: the backend's address */
	__be16 svc_port;
	__u8 mac[2][6]; /* source MAC that each end must use; zero: not a workload */
	__u8 told; /* the first answer was reported; a byte of its own, since the sweep writes it */
	__u8 l7;   /* BL_CT_L7_*, of abi/l7.h */
	__u32 svc_id;
	__u32 backend;
	__u32 identity[2];
	__u32 endpoint[2];
	__u32 rule[2];
	struct bl_process process[2];
};
BL_STATIC_ASSERT(sizeof(struct bl_ct) == 208, "bl_ct");

/* bl_frag (LRU): ports of the first fragment for the later ones. */
struct bl_frag_key {
	union bl_addr src;
	union bl_addr dst;
	__u32 id;
	__u8 proto;
	__u8 pad[3]; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_frag_key) == 40, "bl_frag_key");

struct bl_frag {
	__be16 sport;
	__be16 dport;
};
BL_STATIC_ASSERT(sizeof(struct bl_frag) == 4, "bl_frag");

/* bl_state: array of one, the node's live settings. */
struct bl_state {
	__u32 epoch; /* moves when policy, identities or endpoints change */
	__u32 pad;   /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_state) == 8, "bl_state");

#endif
