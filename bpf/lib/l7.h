/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Payload of the packets of chosen connections, copied to user space (l7_ring.h).
 *
 * A connection is chosen when it is judged (l7_choose), so a packet of one that is not costs the test of a flag that its
 * hook has loaded anyway. What is copied is paid for by the workload's account; what it cannot pay for is counted there.
 */
#ifndef BL_LIB_L7_H
#define BL_LIB_L7_H

#include "conntrack.h"
#include "l7_ring.h"

#define L7_DNS_PORT 53

/* Is the payload of a connection whose ends have these BL_EP_* wanted? */
static __always_inline void l7_choose(struct bl_ct *ct, const struct bl_flow_key *key, __u32 flags)
{
	bool dns = key->dport == bpf_htons(L7_DNS_PORT);

	if ((key->proto == IPPROTO_TCP && flags & BL_EP_L7 && !dns) ||
	    (dns && flags & BL_EP_DNS &&
	     (key->proto == IPPROTO_TCP || key->proto == IPPROTO_UDP))) {
		ct->flags |= BL_CT_L7;
		return;
	}
	ct->flags &= ~BL_CT_L7;
	ct->l7 = 0;
}

/* Who the ends are, before the first payload of either: the server's process is known when it answers. */
BL_STEP int l7_tell(struct __sk_buff *skb, struct bl_ct *ct, const struct bl_packet *p, int dir)
{
	struct bl_l7_connection *told;

	if (!ct || !p)
		return 0;
	told = bpf_ringbuf_reserve(&bl_l7, sizeof(*told), 0);
	if (!told) {
		count(BL_METRIC_l7_lost);
		return 0;
	}
	*(__u64 *)&told->kind = 0;
	told->time_ns = bpf_ktime_get_ns();
	told->kind = BL_L7_CONNECTION;
	ct_event(&told->event, ct, &p->key, BL_FLOW_opened);
	flow_of_client(&p->key, dir, &told->event.key);
	if (dir == CT_SERVER && !told->event.process[CT_SERVER].pid) {
		struct bl_sock *record = sock_of(skb);

		if (record)
			told->event.process[CT_SERVER] = record->process;
	}
	told->event.hook = p->flags & PKT_TO_POD ? BL_AT_TO_POD : BL_AT_FROM_POD;
	told->event.ifindex = skb->ifindex;
	l7_submit(told);
	ct->l7 |= BL_CT_L7_TOLD << (dir & 1);
	return 0;
}

static __always_inline void l7_head(struct bl_l7_chunk *chunk, const struct bl_ct *ct,
				    const struct bl_packet *p, int dir)
{
	chunk->time_ns = bpf_ktime_get_ns();
	chunk->kind = BL_L7_PAYLOAD;
	chunk->side = dir & 1;
	chunk->flags = ct->l7 & BL_CT_L7_FIRST ? BL_L7_FIRST : 0;
	chunk->tcp_flags = p->tcp_flags;
	chunk->opened_ns = ct->opened_ns;
	flow_of_client(&p->key, dir, &chunk->key);
	chunk->pad = 0;
}

/*
 * Where in a packet a record's payload is, and how much of it is copied: words of skb->cb. On the stack they would be too
 * much for kernel 6.1, which counts that of all calls together.
 */
enum { L7_FROM, L7_SEQ, L7_LENGTH, L7_TAKE, L7_SIDE };

/* Reserves a record, fills it and submits it; leaves the function when there is no room. */
#define L7_WRITE(type, room)                                                                      \
	do {                                                                                      \
		struct type *record = bpf_ringbuf_reserve(&bl_l7, sizeof(*record), 0);            \
		if (!record)                                                                      \
			return 1;                                                                 \
		l7_head(&record->chunk, ct, p, skb->cb[L7_SIDE]);                                 \
		record->chunk.seq = skb->cb[L7_SEQ];                                              \
		record->chunk.length = skb->cb[L7_LENGTH];                                        \
		if (take > room)                                                                  \
			take = room;                                                              \
		if (take &&                                                                       \
		    bpf_skb_load_bytes(skb, skb->cb[L7_FROM], record->data, L7_SIZE(take, room))) \
			take = 0;                                                                 \
		record->chunk.captured = take;                                                    \
		l7_submit(record);                                                                \
	} while (0)

/* 1: the ring is full. */
BL_STEP int l7_write(struct __sk_buff *skb, struct bl_ct *ct, const struct bl_packet *p)
{
	__u32 take = skb->cb[L7_TAKE];

	if (!ct || !p)
		return 0;
	if (take <= BL_L7_SMALL)
		L7_WRITE(l7_small, BL_L7_SMALL);
	else if (take <= BL_L7_HALF)
		L7_WRITE(l7_half, BL_L7_HALF);
	else if (take <= BL_L7_MEDIUM)
		L7_WRITE(l7_medium, BL_L7_MEDIUM);
	else
		L7_WRITE(l7_most, BL_L7_MOST);
	return 0;
}

/*
 * The payload of a packet that `dir` sent; called only for connections with BL_CT_L7, before anything of the packet is
 * rewritten. TCP packets that begin or end a connection are told of without payload too, also when it was stopped.
 */
BL_STEP int l7_capture(struct __sk_buff *skb, struct bl_ct *ct, const struct bl_packet *p, int dir)
{
	__u32 from, length, take;
	__u64 word = 0; /* of the packet; little endian, as every machine that is built for */
	struct bl_l7_account *account;
	bool stopped, whole;

	if (!ct || !p)
		return 0;
	stopped = ct->l7 & BL_CT_L7_STOP;
	if ((stopped && !(p->tcp_flags & (TCP_FIN | TCP_RST))) || p->flags & PKT_LATER_FRAGMENT)
		return 0;
	from = p->l4_off;
	if (p->key.proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, from + 4, &word, 4))
			return 0;
		skb->cb[L7_SEQ] = bpf_ntohl(word) + !!(p->tcp_flags & TCP_SYN);
		if (bpf_skb_load_bytes(skb, from + 12, &word, 1))
			return 0;
		from += ((__u8)word >> 4) * 4;
	} else {
		from += sizeof(struct udphdr);
		skb->cb[L7_SEQ] = 0;
	}
	skb->cb[L7_FROM] = from;
	length = p->bytes + ETH_HLEN;
	length = length > from ? length - from : 0;
	if (!length && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return 0;
	account = l7_account(ct->endpoint[CT_CLIENT], ct->endpoint[CT_SERVER]);
	if (!account)
		return 0;
	take = stopped ? 0 : dir == CT_CLIENT ? account->most[0] : account->most[1];
	if (p->key.proto == IPPROTO_UDP && take)
		take = BL_L7_MEDIUM;
	/* Does HTTP/2 begin here? */
	if (take && dir == CT_CLIENT && !(ct->l7 & BL_CT_L7_TOLD) && length >= 24 &&
	    !bpf_skb_load_bytes(skb, skb->cb[L7_FROM], &word, sizeof(word)) &&
	    word == L7_HTTP2_PREFACE)
		ct->l7 |= BL_CT_L7_WHOLE;
	whole = take && ct->l7 & BL_CT_L7_WHOLE;
	if (whole || take > length)
		take = length;
	if (!l7_pay(account, take + sizeof(struct bl_l7_chunk)))
		return 0;
	if (take && !(ct->l7 & BL_CT_L7_TOLD << (dir & 1)))
		l7_tell(skb, ct, p, dir);
	skb->cb[L7_SIDE] = dir;
	for (int i = 0; i < L7_PIECES; i++) {
		__u32 size = whole && length > BL_L7_MOST ? BL_L7_MOST : length;

		if (take > size)
			take = size;
		skb->cb[L7_LENGTH] = size;
		skb->cb[L7_TAKE] = take;
		if (l7_write(skb, ct, p)) {
			l7_lost(account);
			return 0;
		}
		l7_written(account, take);
		length -= size;
		if (!length)
			break;
		take = length;
		skb->cb[L7_FROM] += size;
		skb->cb[L7_SEQ] += size;
	}
	return 0;
}

#endif
