/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Payload of chosen connections (ring bl_l7), and what each workload may spend on it (bl_l7_account). */
#ifndef BL_ABI_L7_H
#define BL_ABI_L7_H

#include "flow.h"

/* Most payload bytes of one chunk. The ring has records of three sizes: what a chunk does not fill stays unused. */
#define BL_L7_SMALL 184
#define BL_L7_HALF 440
#define BL_L7_MEDIUM 952
#define BL_L7_MOST 4024

enum bl_l7_kind {
	BL_L7_CONNECTION =
		1, /* struct bl_l7_connection: who the ends are; before an end's first payload */
	BL_L7_PAYLOAD = 2, /* struct bl_l7_chunk: a packet with payload, or with SYN, FIN or RST */
	BL_L7_TLS = 3,	   /* struct bl_l7_chunk: plain text that a TLS library was given or gave */
};

/* bl_l7_chunk.flags */
#define BL_L7_FIRST 0x1 /* the connection was seen from its first packet on */
#define BL_L7_FROM_REMOTE \
	0x2 /* of BL_L7_TLS: read by `key`'s source, thus sent by its destination */

/* Every record begins with the time and the kind. */
struct bl_l7_chunk {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 kind;     /* enum bl_l7_kind */
	__u8 side;     /* 0: sent by the client, 1: by the server; 0 of BL_L7_TLS */
	__u8 flags;    /* BL_L7_* */
	__u8 tcp_flags;
	__u32 seq; /* sequence number of the first payload byte, host order; of BL_L7_TLS: its offset in the stream */
	__u64 opened_ns; /* bl_ct.opened_ns; 0 of BL_L7_TLS */
	struct bl_flow_key
		key; /* in the direction of the client; of BL_L7_TLS: from the process that called */
	__u32 length;	/* payload bytes of the packet, or of the call */
	__u16 captured; /* the head of them, which follows */
	__u16 pad;	/* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_l7_chunk) == 72, "bl_l7_chunk");

/* What the connection is: `event` is a whole one, of kind `opened` with the counters of this moment. */
struct bl_l7_connection {
	__u64 time_ns;
	__u8 kind;   /* BL_L7_CONNECTION */
	__u8 pad[7]; /* zero */
	struct bl_flow_event event;
};
BL_STATIC_ASSERT(sizeof(struct bl_l7_connection) == 240, "bl_l7_connection");

/* Where a TLS library keeps a session's socket: cookie of the attachment. */
enum bl_tls_layout {
	BL_TLS_UNKNOWN = 0, /* found by what the call uses */
	BL_TLS_OPENSSL_1_1 = 1,
	BL_TLS_OPENSSL_3_0 = 2, /* to 3.1 */
	BL_TLS_OPENSSL_3_2 = 3, /* from 3.2 on */
	BL_TLS_GO = 4,
};

/* bl_ct.l7: what became of a connection with BL_CT_L7. */
#define BL_CT_L7_FIRST 0x1 /* chosen at its first packet */
#define BL_CT_L7_TOLD 0x2  /* << side: its bl_l7_connection was written */
#define BL_CT_L7_STOP 0x10 /* user space wants no more of it */
#define BL_CT_L7_WHOLE \
	0x20 /* HTTP/2: every header block is needed, so packets are copied whole, in records of BL_L7_MOST */

/*
 * Value of bl_l7_account; key: __u32, bl_endpoint.id of a chosen workload. The first part is user space's, the rest the
 * kernel's, which refills `tokens`, in bytes.
 */
struct bl_l7_account {
	__u64 rate;  /* bytes a second */
	__u64 burst; /* most tokens */
	__u32 most
		[2]; /* payload bytes of one packet of the client, of the server; at most BL_L7_MOST */
	__s64 tokens;
	__u64 filled_ns; /* clock_tick_ns() of the last refill */
	__u64 chunks;	 /* written to the ring */
	__u64 bytes;
	__u64 over; /* chunks that the budget did not allow */
	__u64 over_bytes;
	__u64 lost; /* chunks that found no room in the ring */
};
BL_STATIC_ASSERT(sizeof(struct bl_l7_account) == 80, "bl_l7_account");

/* In and out of bl_l7_stop (BPF_PROG_TEST_RUN). */
struct bl_l7_stop {
	struct bl_flow_key key; /* any direction */
	__u64 opened_ns;
	__u32 found; /* out */
	__u32 pad;   /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_l7_stop) == 56, "bl_l7_stop");

#endif
