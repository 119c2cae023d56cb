/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What programs do through io_uring, which no system call shows.
 * Hook: tp_btf/io_uring_submit_req (before 6.4: io_uring_submit_sqe): a request was taken from the queue and its arguments are in kernel memory, so that they
 * can no longer be changed. Runs in the process that submitted, or in its polling thread (SQPOLL), which is one of its threads.
 * Maps: bl_want, bl_comm, bl_scope, bl_path (read), bl_peer, bl_scratch, bl_sensor_stat, bl_events (written).
 * Events: the kinds of the same system calls with BL_EVENT_URING; the result is not known yet, so it is 0.
 * Sockets that are registered with the ring (fixed files) have no facts here.
 */
#include "lib/match.h"
#include "lib/socket.h"
#include "lib/task.h"

#include <bpf/bpf_tracing.h>

#define O_ACCMODE 3
#define REQ_FIXED_FILE 1

/* Kinds by operation; 0: of no interest. */
static __always_inline __u32 kind_of(__u32 operation)
{
	switch (operation) {
	case IORING_OP_OPENAT:
		return BL_EVENT_openat;
	case IORING_OP_OPENAT2:
		return BL_EVENT_openat2;
	case IORING_OP_RENAMEAT:
		return BL_EVENT_renameat2;
	case IORING_OP_UNLINKAT:
		return BL_EVENT_unlinkat;
	case IORING_OP_MKDIRAT:
		return BL_EVENT_mkdirat;
	case IORING_OP_SYMLINKAT:
		return BL_EVENT_symlinkat;
	case IORING_OP_LINKAT:
		return BL_EVENT_linkat;
	case IORING_OP_SOCKET:
		return BL_EVENT_socket;
	case IORING_OP_CONNECT:
		return BL_EVENT_connect;
	case IORING_OP_BIND:
		return BL_EVENT_bind;
	case IORING_OP_LISTEN:
		return BL_EVENT_listen;
	case IORING_OP_ACCEPT:
		return BL_EVENT_accept4;
	case IORING_OP_SEND:
		return BL_EVENT_sendto;
	case IORING_OP_SENDMSG:
		return BL_EVENT_sendmsg;
	case IORING_OP_RECV:
		return BL_EVENT_recvfrom;
	case IORING_OP_RECVMSG:
		return BL_EVENT_recvmsg;
	}
	return 0;
}

/* From 7.x on a request has its names inside a struct of their own. */
struct delayed_filename___7 {
	struct filename *name;
};
struct io_open___7 {
	struct delayed_filename___7 filename;
} __attribute__((preserve_access_index));
struct io_rename___7 {
	struct delayed_filename___7 oldpath, newpath;
} __attribute__((preserve_access_index));
struct io_link___7 {
	struct delayed_filename___7 oldpath, newpath;
} __attribute__((preserve_access_index));
struct io_unlink___7 {
	struct delayed_filename___7 filename;
} __attribute__((preserve_access_index));
struct io_mkdir___7 {
	struct delayed_filename___7 filename;
} __attribute__((preserve_access_index));

#define name_in(request, type, field)                                                     \
	({                                                                                \
		struct filename *name_ = NULL;                                            \
		if (bpf_core_field_exists((request)->field))                              \
			name_ = event_read(request, field);                               \
		else if (bpf_core_field_exists(((struct type##___7 *)(request))->field))  \
			bpf_probe_read_kernel(                                            \
				&name_, sizeof(name_),                                    \
				(void *)(request) +                                       \
					bpf_core_field_offset(struct type##___7, field)); \
		name_;                                                                    \
	})

static __always_inline void add_named(struct event_scratch *s, struct filename *name, int dirfd,
				      bool second)
{
	__u32 str = second ? BL_STR_PATH2 : BL_STR_PATH;

	/* EMPTY: names that are put off (6.19) have no text yet. */
	if (!name || event_kernel_text(s, str, event_address(s, event_read(name, name))) < 0)
		s->head.flags |= BL_EVENT_UNREAD;
	else
		match_named(s, str, second ? BL_STR_BASE2 : BL_STR_BASE, dirfd);
}

static __always_inline int on_open(struct event_scratch *s, struct io_kiocb *request)
{
	struct io_open *open = (struct io_open *)request;
	__u32 flags = event_read(open, how.flags), mode = flags & O_ACCMODE;

	s->head.num[0] = event_read(open, dfd);
	if (s->head.kind == BL_EVENT_openat2) {
		s->head.num[4] = event_read(open, how.flags);
		s->head.num[5] = event_read(open, how.mode);
	} else {
		s->head.num[2] = event_read(open, how.flags);
		s->head.num[3] = event_read(open, how.mode);
	}
	add_named(s, name_in(open, io_open, filename), event_read(open, dfd), false);
	return match_verdict(
		s, (mode != 1 ? BL_CLASS_READ : 0) | (mode != 0 ? BL_CLASS_WRITE : 0) |
			   (s->head.num[3] & 0111 || s->head.num[5] & 0111 ? BL_CLASS_EXEC : 0));
}

static __always_inline int on_two_paths(struct event_scratch *s, struct io_kiocb *request)
{
	struct io_rename *rename = (struct io_rename *)request;
	struct io_link *link = (struct io_link *)request;

	if (s->head.kind == BL_EVENT_renameat2) {
		s->head.num[0] = event_read(rename, old_dfd);
		s->head.num[2] = event_read(rename, new_dfd);
		s->head.num[4] = event_read(rename, flags);
		add_named(s, name_in(rename, io_rename, oldpath), event_read(rename, old_dfd),
			  false);
		add_named(s, name_in(rename, io_rename, newpath), event_read(rename, new_dfd),
			  true);
	} else if (s->head.kind == BL_EVENT_linkat) {
		s->head.num[0] = event_read(link, old_dfd);
		s->head.num[2] = event_read(link, new_dfd);
		s->head.num[4] = event_read(link, flags);
		add_named(s, name_in(link, io_link, oldpath), event_read(link, old_dfd), false);
		add_named(s, name_in(link, io_link, newpath), event_read(link, new_dfd), true);
	} else { /* symlinkat: the first is a text */
		s->head.num[1] = event_read(link, new_dfd);
		event_kernel_text(
			s, BL_STR_PATH,
			event_address(s, event_read(name_in(link, io_link, oldpath), name)));
		if (s->want & BL_WANT_PATH && !path_is_relative(s, BL_STR_PATH))
			s->found |= match_asked(s, BL_STR_PATH, 1);
		add_named(s, name_in(link, io_link, newpath), event_read(link, new_dfd), true);
	}
	return match_verdict(s, BL_CLASS_OTHER);
}

static __always_inline int on_one_path(struct event_scratch *s, struct io_kiocb *request)
{
	struct io_unlink *unlink = (struct io_unlink *)request;
	struct io_mkdir *mkdir = (struct io_mkdir *)request;

	if (s->head.kind == BL_EVENT_unlinkat) {
		s->head.num[0] = event_read(unlink, dfd);
		s->head.num[2] = event_read(unlink, flags);
		add_named(s, name_in(unlink, io_unlink, filename), event_read(unlink, dfd), false);
	} else {
		s->head.num[0] = event_read(mkdir, dfd);
		s->head.num[2] = event_read(mkdir, mode);
		add_named(s, name_in(mkdir, io_mkdir, filename), event_read(mkdir, dfd), false);
	}
	return match_verdict(s, BL_CLASS_OTHER);
}

/* The address of a connect, bind or send: copied into kernel memory before the request gets here. */
static __always_inline __u32 read_name(struct io_kiocb *request, __u32 kind,
				       union socket_address *name)
{
	struct io_async_msghdr *message = (struct io_async_msghdr *)event_read(request, async_data);
	__u64 length;

	__builtin_memset(name, 0, sizeof(*name));
	if (!message) {
		/* Before 6.10 a connect that need not wait is not copied yet: the program might still change it. */
		if (kind != BL_EVENT_connect)
			return 0;
		length = event_read((struct io_connect *)request, addr_len);
		if (length < 2)
			return 0;
		if (length > sizeof(*name))
			length = sizeof(*name);
		return bpf_probe_read_user(name, length,
					   event_read((struct io_connect *)request, addr))
			       ? 0
			       : length;
	}
	if (kind == BL_EVENT_connect)
		length = event_read((struct io_connect *)request, addr_len);
	else if (kind == BL_EVENT_bind && bpf_core_type_exists(struct io_bind)) /* 6.11 */
		length = event_read((struct io_bind *)request, addr_len);
	else
		length = event_read(message, msg.msg_name) ? event_read(message, msg.msg_namelen)
							   : 0;
	if (length < 2)
		return 0;
	if (length > sizeof(*name))
		length = sizeof(*name);
	/*
	 * connect and bind keep the bare address, or (6.10 and on for a while) a message with the address inside. That begins with
	 * a pointer, whose last bits are no family's.
	 */
	if (kind == BL_EVENT_connect || kind == BL_EVENT_bind) {
		if (bpf_probe_read_kernel(name, length, message))
			return 0;
		if (name->family & 7)
			return length;
	}
	if (bpf_probe_read_kernel(name, length, &message->addr))
		return 0;
	return length;
}

static __always_inline int on_socket(struct event_scratch *s, struct io_kiocb *request)
{
	struct io_socket *made = (struct io_socket *)request;
	int fd = event_read(request, cqe.fd);
	union socket_address name;
	struct bl_event_sock *facts;
	struct sock *sock = NULL;
	__u32 length, kind = s->head.kind;
	__u16 family = 0;
	bool receive;

	if (kind == BL_EVENT_socket) {
		s->head.num[0] = event_read(made, domain);
		s->head.num[1] = event_read(made, type);
		s->head.num[2] = event_read(made, protocol);
		return !(s->want & BL_WANT_INET) || socket_is_inet(s->head.num[0]);
	}
	s->head.num[0] = fd;
	if (!((__u64)event_read(request, flags) & REQ_FIXED_FILE))
		sock = socket_of(path_file_of(fd));
	receive = kind == BL_EVENT_recvfrom || kind == BL_EVENT_recvmsg;
	/* From whom it will receive is not known yet, unless the socket is connected. */
	length = kind == BL_EVENT_listen || kind == BL_EVENT_accept4 || receive
			 ? 0
			 : read_name(request, kind, &name);
	if (sock)
		family = event_read(sock, __sk_common.skc_family);
	else if (length)
		family = name.family;
	if (s->want & BL_WANT_INET && family && !socket_is_inet(family))
		return 0;
	if (sock && s->want & BL_WANT_NOT_TCP && event_read(sock, sk_protocol) == IPPROTO_TCP)
		return 0;
	socket_facts(s, event_address(s, sock));
	facts = socket_facts_of(s);
	if (facts && !facts->family)
		facts->family = family;
	if (length)
		socket_name(s, &name, length, kind == BL_EVENT_bind, true);
	if (!(s->want & BL_WANT_NOT_TCP) || !facts || !sock)
		return 1;
	if (!socket_new_peer(facts, event_address(s, sock), 0, receive))
		return 0;
	s->head.flags |= BL_EVENT_NAME_CHANGED;
	return 1;
}

static __noinline int read_request(struct event_scratch *s, struct io_kiocb *request)
{
	switch (s->head.kind) {
	case BL_EVENT_openat:
	case BL_EVENT_openat2:
		return on_open(s, request);
	case BL_EVENT_renameat2:
	case BL_EVENT_linkat:
	case BL_EVENT_symlinkat:
		return on_two_paths(s, request);
	case BL_EVENT_unlinkat:
	case BL_EVENT_mkdirat:
		return on_one_path(s, request);
	}
	return on_socket(s, request);
}

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(bl_uring, struct io_kiocb *request)
{
	__u32 kind = kind_of(request->opcode);
	struct event_scratch *s;

	if (!kind)
		return 0;
	s = event_begin(kind);
	if (!s)
		return 0;
	if (event_result_wanted(s->want, 0) && event_place_wanted(s->want) && task_comm_wanted(s)) {
		s->head.flags |= BL_EVENT_URING;
		if (read_request(s, request)) {
			task_head(s);
			event_put_other(s);
		}
	}
	event_end(s);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
