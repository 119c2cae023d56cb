/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The facts of a socket, and addresses that programs hand in. Map: bl_peer (the last peer of sockets that are not TCP).
 */
#ifndef BL_LIB_SOCKET_H
#define BL_LIB_SOCKET_H

#include "path.h"

#define SOCKET_AF_UNIX 1
#define SOCKET_AF_INET 2
#define SOCKET_AF_INET6 10
#define SOCKET_TCP_ESTABLISHED 1
#define SOCKET_TCP_LISTEN 10
#define SOCKET_PATH_LONGEST 108

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct bl_peer_key);
	__type(value, struct bl_peer);
} bl_peer SEC(".maps");

/* Any address a program can name. */
union socket_address {
	__u16 family;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
	char bytes[128];
};

static __always_inline void socket_map_v4(union bl_addr *addr, __be32 v4)
{
	addr->half[0] = 0;
	addr->word[2] = bpf_htonl(0xffff);
	addr->word[3] = v4;
}

static __always_inline bool socket_is_zero(const union bl_addr *addr)
{
	return !(addr->half[0] | addr->half[1]);
}

static __always_inline struct sock *socket_of(struct file *file)
{
	struct socket *socket;

	if (!file || (event_read(event_read(file, f_inode), i_mode) & PATH_S_IFMT) != PATH_S_IFSOCK)
		return NULL;
	socket = (struct socket *)event_read(file, private_data);
	return event_read(socket, sk);
}

static __always_inline bool socket_is_inet(__u16 family)
{
	return family == SOCKET_AF_INET || family == SOCKET_AF_INET6;
}

/* Path of a bound unix socket as string `str`; abstract names begin with a NUL, which is written as '@'. */
static __always_inline void socket_unix_path(struct event_scratch *s, __u32 str, struct sock *sk)
{
	struct unix_sock *u = (struct unix_sock *)sk;
	struct unix_address *addr = event_read(u, addr);
	__u64 name;
	__u32 length;

	if (!addr)
		return;
	length = event_read(addr, len);
	if (length <= 2 || length > sizeof(struct sockaddr_un))
		return;
	name = event_address(s, addr) + bpf_core_field_offset(struct unix_address, name) + 2;
	if (event_kernel_text(s, str, name) == 0)
		event_kernel_bytes(s, str, name, length - 2);
}

/* Facts of `address` (a struct sock): 0, or -1 when the record is full. */
BL_STEP int socket_facts(struct event_scratch *s, __u64 address)
{
	struct sock *sk = (struct sock *)address;
	struct bl_event_sock *facts;
	struct sock *peer;

	if (!s)
		return -1;
	facts = event_facts(s, bl_event_sock);
	if (!facts)
		return -1;
	if (!sk)
		return 0;
	facts->family = event_read(sk, __sk_common.skc_family);
	facts->type = event_read(sk, sk_type);
	facts->protocol = event_read(sk, sk_protocol);
	facts->state = event_read(sk, __sk_common.skc_state);
	if (facts->state == SOCKET_TCP_ESTABLISHED)
		facts->flags |= BL_SOCK_CONNECTED;
	if (facts->state == SOCKET_TCP_LISTEN)
		facts->flags |= BL_SOCK_LISTENING;
	if (socket_is_inet(facts->family)) {
		__u32 v4;

		facts->local_port = bpf_htons(event_read(sk, __sk_common.skc_num));
		facts->remote_port = event_read(sk, __sk_common.skc_dport);
		if (facts->family == SOCKET_AF_INET) {
			v4 = event_read(sk, __sk_common.skc_rcv_saddr);
			if (v4)
				socket_map_v4(&facts->local, v4);
			v4 = event_read(sk, __sk_common.skc_daddr);
			if (v4)
				socket_map_v4(&facts->remote, v4);
		} else {
			bpf_probe_read_kernel(&facts->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
			bpf_probe_read_kernel(&facts->remote, 16, &sk->__sk_common.skc_v6_daddr);
		}
	} else if (facts->family == SOCKET_AF_UNIX) {
		socket_unix_path(s, BL_STR_RESOLVED, sk);
		peer = event_read((struct unix_sock *)sk, peer);
		if (peer)
			socket_unix_path(s, BL_STR_PATH, peer);
	}
	return 0;
}

/* The facts of this record, if it has those of a socket. */
static __always_inline struct bl_event_sock *socket_facts_of(struct event_scratch *s)
{
	__u32 offset = s->head.str[BL_STR_FACTS].offset;

	if (s->head.str[BL_STR_FACTS].length != sizeof(struct bl_event_sock) || offset > EVENT_ROOM)
		return NULL;
	return (struct bl_event_sock *)((char *)&s->head + offset);
}

/* Reads `address` of the program; false when there is none. */
static __always_inline bool socket_read_address(union socket_address *out, __u64 address,
						__u64 length)
{
	__builtin_memset(out, 0, sizeof(*out));
	if (!address || length < 2)
		return false;
	if (length > sizeof(*out))
		length = sizeof(*out);
	return !bpf_probe_read_user(out, length, (void *)address);
}

/*
 * The address that a program named becomes the remote end (or the local one, of bind) where the socket has none, and the
 * path of a unix socket.
 */
static __always_inline void socket_name(struct event_scratch *s, const union socket_address *name,
					__u32 length, bool local, bool always)
{
	struct bl_event_sock *facts = socket_facts_of(s);
	union bl_addr *addr;
	__be16 *port;

	if (name->family == SOCKET_AF_UNIX) {
		if (length > sizeof(struct sockaddr_un))
			length = sizeof(struct sockaddr_un);
		if (length <= 2)
			return;
		if (event_kernel_text(s, BL_STR_PATH, event_address(s, &name->local.sun_path)) == 0)
			event_kernel_bytes(s, BL_STR_PATH, event_address(s, &name->local.sun_path),
					   length - 2);
		return;
	}
	if (!facts || !socket_is_inet(name->family))
		return;
	addr = local ? &facts->local : &facts->remote;
	port = local ? &facts->local_port : &facts->remote_port;
	if (!always && !(socket_is_zero(addr) && !*port))
		return;
	*port = name->v4.sin_port;
	if (name->family == SOCKET_AF_INET)
		socket_map_v4(addr, name->v4.sin_addr.s_addr);
	else
		__builtin_memcpy(addr, &name->v6.sin6_addr, 16);
}

/* Has the peer changed since the last time? Remembers it. */
static __always_inline bool socket_new_peer(struct bl_event_sock *facts, __u64 sk, __u64 ino,
					    bool receive)
{
	struct bl_peer_key key = {.sock = sk, .ino = ino, .receive = receive};
	struct bl_peer now = {.addr = facts->remote, .port = facts->remote_port}, *last;

	last = bpf_map_lookup_elem(&bl_peer, &key);
	if (last && last->addr.half[0] == now.addr.half[0] &&
	    last->addr.half[1] == now.addr.half[1] && last->port == now.port)
		return false;
	bpf_map_update_elem(&bl_peer, &key, &now, BPF_ANY);
	return true;
}

#endif
