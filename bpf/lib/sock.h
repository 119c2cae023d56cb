/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is known of a socket. Map: bl_sock (socket storage; written by sock.bpf.c, read by the packet path).
 * Accepted sockets have none: a connection learns its server from the SYN-ACK, which the listener sends.
 */
#ifndef BL_LIB_SOCK_H
#define BL_LIB_SOCK_H

#include "common.h"
#include "abi/process.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct bl_sock);
} bl_sock SEC(".maps");

/* The sender's socket record; NULL for forwarded packets and sockets older than the agent. */
static __always_inline struct bl_sock *sock_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct bl_sock *record;

	if (!sk)
		return NULL;
	record = bpf_sk_storage_get(&bl_sock, sk, NULL, 0);
	if (!record) {
		/* A SYN-ACK belongs to a request socket: its listener knows the process. */
		sk = bpf_get_listener_sock(sk);
		if (sk)
			record = bpf_sk_storage_get(&bl_sock, sk, NULL, 0);
	}
	return record;
}

#endif
