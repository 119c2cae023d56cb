/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * System calls on sockets. Each on_X returns 1 when the event is wanted, 0 when not.
 */
#ifndef BL_SENSOR_ON_SOCKET_H
#define BL_SENSOR_ON_SOCKET_H

#include "sensor/on_path.h"
#include "lib/socket.h"

#define DATA_LONGEST 80	 /* of what is sent, received, read or written */
#define MESSAGES_MOST 16 /* of one sendmmsg or recvmmsg */
#define MESSAGE_SIZE 64	 /* struct mmsghdr */
#define MESSAGE_SIZE_COMPAT 32

/* Facts of the socket of `fd`; the file in *file. Returns 0 when this event is not wanted. */
static __always_inline int add_socket(struct event_scratch *s, int fd, __u64 *sk)
{
	struct file *file = path_file_of(fd);
	struct sock *sock = file ? socket_of(file) : NULL;
	__u16 family = sock ? event_read(sock, __sk_common.skc_family) : 0;

	*sk = event_address(s, sock);
	if (s->want & BL_WANT_INET && !socket_is_inet(family)) {
		event_count(BL_SENSOR_STAT_not_socket);
		return 0;
	}
	if (sock)
		socket_facts(s, *sk);
	return 1;
}

BL_STEP int on_socket(struct event_scratch *s, __u32 shape)
{
	union socket_address name;
	struct bl_entered *entered;
	struct bl_event_sock *facts;
	__u64 key, sk;
	int fd;

	if (!s)
		return 0;
	fd = shape == BL_SHAPE_sock_result ? s->head.result : s->head.num[0];
	if (!add_socket(s, fd, &sk))
		return 0;
	if (shape == BL_SHAPE_sock_result) {
		facts = socket_facts_of(s);
		if (facts && s->head.kind != BL_EVENT_socket)
			facts->flags |= BL_SOCK_ACCEPTED;
		return 1;
	}
	if (shape != BL_SHAPE_sock_addr)
		return 1;
	if (!socket_read_address(&name, s->head.num[1], s->head.num[2]))
		s->head.flags |= BL_EVENT_UNREAD;
	if (s->want & BL_WANT_ENTERED && !(s->head.flags & BL_EVENT_COMPAT)) {
		key = bpf_get_current_pid_tgid();
		entered = bpf_map_lookup_elem(&bl_entered, &key);
		if (entered && entered->kind == s->head.kind &&
		    entered->length[0] >= (int)sizeof(name)) {
			if (__builtin_memcmp(&name, entered->text[0], sizeof(name))) {
				s->head.flags |= BL_EVENT_TAMPERED;
				s->head.flags &= ~BL_EVENT_UNREAD;
				__builtin_memcpy(&name, entered->text[0], sizeof(name));
			}
		}
	}
	socket_name(s, &name, s->head.num[2], s->head.kind == BL_EVENT_bind, s->head.result < 0);
	return 1;
}

/* The peer and the data of a send or receive; `index`: which of several messages. */
static __always_inline void message_of(struct event_scratch *s, __u32 index, __u64 *address,
				       __u64 *length, __u64 *data, __u64 *size)
{
	bool compat = s->head.flags & BL_EVENT_COMPAT,
	     several = s->head.kind == BL_EVENT_sendmmsg || s->head.kind == BL_EVENT_recvmmsg;
	__u64 *num = s->head.num, message[4] = {}, vector[2] = {}, at = num[1];

	if (several)
		at += index * (compat ? MESSAGE_SIZE_COMPAT : MESSAGE_SIZE);

	*size = s->head.result > 0 ? s->head.result : 0;
	if (s->head.kind == BL_EVENT_sendto || s->head.kind == BL_EVENT_recvfrom) {
		__u32 filled = 0;

		*address = num[4];
		*length = num[5];
		*data = num[1];
		if (s->head.kind == BL_EVENT_recvfrom) {
			if (num[5])
				bpf_probe_read_user(&filled, sizeof(filled), (void *)num[5]);
			*length = filled;
		}
		return;
	}
	if (compat) {
		__u32 small[4] = {}, pair[2] = {};

		bpf_probe_read_user(small, sizeof(small), (void *)at);
		*address = small[0];
		*length = small[1];
		bpf_probe_read_user(pair, sizeof(pair), (void *)(__u64)small[2]);
		*data = pair[0];
		if (*size > pair[1] || several)
			*size = pair[1];
		return;
	}
	bpf_probe_read_user(message, sizeof(message), (void *)at);
	bpf_probe_read_user(vector, sizeof(vector), (void *)message[2]);
	*address = message[0];
	*length = (__u32)message[1];
	*data = vector[0];
	/* The result of several counts messages. */
	if (*size > vector[1] || several)
		*size = vector[1];
}

BL_STEP int on_message(struct event_scratch *s, __u32 shape, __u32 index)
{
	__u64 sk, address = 0, length = 0, data = 0, size = 0;
	union socket_address name;
	struct bl_event_sock *facts;
	struct file *file;
	bool receive = shape == BL_SHAPE_sock_recv, changed;

	if (!s)
		return 0;
	file = path_file_of(s->head.num[0]);
	if (s->want & BL_WANT_NOT_TCP && file) {
		struct sock *sock = socket_of(file);

		/* The common case first: nothing is copied for it. */
		if (sock && event_read(sock, sk_protocol) == IPPROTO_TCP) {
			event_count(BL_SENSOR_STAT_not_socket);
			return 0;
		}
	}
	if (!add_socket(s, s->head.num[0], &sk))
		return 0;
	message_of(s, index, &address, &length, &data, &size);
	if (socket_read_address(&name, address, length))
		socket_name(s, &name, length, false, true);
	facts = socket_facts_of(s);
	if (facts && socket_is_inet(facts->family)) {
		changed = socket_new_peer(facts, sk,
					  file ? event_read(event_read(file, f_inode), i_ino) : 0,
					  receive);
		if (changed)
			s->head.flags |= BL_EVENT_NAME_CHANGED;
		else if (s->want & BL_WANT_NOT_TCP) {
			event_count(BL_SENSOR_STAT_not_socket);
			return 0;
		}
	}
	if (s->want & BL_WANT_DATA && size && data)
		event_user_bytes(s, BL_STR_PATH2, data, size < DATA_LONGEST ? size : DATA_LONGEST,
				 DATA_LONGEST);
	return 1;
}

#endif
