/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is known of a socket. Maps: bl_sock (socket storage) and bl_owner, written by sock.bpf.c, read by the packet path.
 * TCP clients that went to no service have no storage, which would cost more than everything else of a short connection
 * (docs/adr/0009-owners-of-tcp-clients-in-slots.md). Accepted sockets have none: a connection learns its server from the SYN-ACK, which the listener sends.
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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BL_OWNER_SLOTS);
	__type(key, __u32);
	__type(value, struct bl_owner);
} bl_owner SEC(".maps");

static __always_inline struct bl_owner *owner_slot(__u64 cookie)
{
	__u32 slot = cookie % BL_OWNER_SLOTS;

	return bpf_map_lookup_elem(&bl_owner, &slot);
}

/* The slot of a TCP client that the hook at connect() saw, and left as it was: what it named is no service. Else NULL. */
static __always_inline struct bl_owner *owner_find(struct __sk_buff *skb, __u64 *cookie)
{
	struct bl_owner *owner;

	if (!skb->sk)
		return NULL;
	*cookie = bpf_get_socket_cookie(skb);
	owner = owner_slot(*cookie);
	return owner && *(volatile __u64 *)&owner->cookie == *cookie ? owner : NULL;
}

static __always_inline bool owner_known(struct __sk_buff *skb)
{
	__u64 cookie;

	return owner_find(skb, &cookie) != NULL;
}

/* The process behind a TCP client without a record; false if its slot has been taken since. */
static __always_inline bool owner_of(struct __sk_buff *skb, struct bl_process *process)
{
	__u64 cookie;
	struct bl_owner *owner = owner_find(skb, &cookie);

	if (!owner)
		return false;
	*process = owner->process;
	barrier();
	if (*(volatile __u64 *)&owner->cookie == cookie)
		return true;
	__builtin_memset(process, 0, sizeof(*process));
	return false;
}

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
