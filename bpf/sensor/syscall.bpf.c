/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * System calls, at their end, when the result and the objects they reached are known.
 * Hooks: tp_btf/sys_exit (one dispatcher; a call that nobody wants costs one load), and syscalls/sys_enter_X for the kinds
 * where only the text says what was touched: it is copied before the call, so that a program that changes it meanwhile is
 * found out.
 * Maps: bl_want, bl_comm, bl_scope, bl_path (read), bl_entered, bl_peer, bl_scratch, bl_sensor_stat, bl_events (written).
 * Events: every kind with a syscall number; a failed execve, the successful one is in process.bpf.c.
 * On an error the record goes out with what there is and a flag, or is counted as lost.
 */
#include "lib/match.h"
#include "lib/socket.h"
#include "lib/task.h"

#include <bpf/bpf_tracing.h>

#define TS_COMPAT 0x2
#define X32_BIT 0x40000000
#define SOCKETCALL_MAX 20
#define EINPROGRESS 115
#define DATA_LONGEST 80
#define O_ACCMODE 3
#define PROT_EXEC 4
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

struct bl_syscall_table bl_syscall SEC(".bss");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct bl_entered);
} bl_entered SEC(".maps");

/* Where struct bl_entered is filled: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bl_entered);
} bl_entering SEC(".maps");

/* --- arguments --- */

static __always_inline void read_arguments(__u64 *arg, const struct pt_regs *regs, bool compat)
{
	if (compat) {
		arg[0] = (__u32)event_read(regs, bx);
		arg[1] = (__u32)event_read(regs, cx);
		arg[2] = (__u32)event_read(regs, dx);
		arg[3] = (__u32)event_read(regs, si);
		arg[4] = (__u32)event_read(regs, di);
		arg[5] = (__u32)event_read(regs, bp);
		return;
	}
	arg[0] = event_read(regs, di);
	arg[1] = event_read(regs, si);
	arg[2] = event_read(regs, dx);
	arg[3] = event_read(regs, r10);
	arg[4] = event_read(regs, r8);
	arg[5] = event_read(regs, r9);
}

/* i386 socketcall: the kind and the arguments of the call inside. */
static __always_inline __u32 unwrap_socketcall(__u64 *arg)
{
	__u32 inner[6] = {};
	__u64 call = arg[0];

	if (call > SOCKETCALL_MAX || bpf_probe_read_user(inner, sizeof(inner), (void *)arg[1]))
		return 0;
	arg[0] = inner[0];
	arg[1] = inner[1];
	arg[2] = inner[2];
	arg[3] = inner[3];
	arg[4] = inner[4];
	arg[5] = inner[5];
	return bl_syscall.socketcall[call & 31];
}

/* --- paths --- */

/* A path argument as string `str`: what the kernel was given, also when the program has changed it since. */
BL_STEP int add_path(struct event_scratch *s, __u32 str, __u64 address, __u32 slot)
{
	__u64 key = bpf_get_current_pid_tgid();
	struct bl_entered *entered;
	__u32 from, used;
	int length;

	if (!s || str >= BL_STR_MAX || !address)
		return -1;
	used = s->used;
	length = event_user_text(s, str, address);
	if (!(s->want & BL_WANT_ENTERED) || s->head.flags & BL_EVENT_COMPAT)
		return length;
	entered = bpf_map_lookup_elem(&bl_entered, &key);
	if (!entered || entered->kind != s->head.kind || entered->length[slot & 1] < 0)
		return length;
	if (length >= BL_ENTERED_LONGEST - 1 && entered->length[slot & 1] == BL_ENTERED_LONGEST - 1)
		return length; /* the copy is only a part */
	/* Put the copy behind what was just read, and compare. */
	from = s->used;
	event_kernel_bytes(s, str, event_address(s, entered->text[slot & 1]),
			   entered->length[slot & 1]);
	if (length == entered->length[slot & 1] &&
	    match_same(s, __builtin_offsetof(struct event_scratch, head) + used,
		       __builtin_offsetof(struct event_scratch, head) + from, length)) {
		s->used = from;
		s->head.str[str].offset = used;
		return length;
	}
	s->head.flags &= ~BL_EVENT_UNREAD;
	s->head.flags |= BL_EVENT_TAMPERED;
	return s->head.str[str].length;
}

/*
 * One path that is known only by its text, with the directory it starts at. `slot` 0 and 1: the first and the second of the
 * call.
 */
BL_STEP int add_named(struct event_scratch *s, __u64 address, int dirfd, __u32 slot)
{
	__u32 str = slot ? BL_STR_PATH2 : BL_STR_PATH, base = slot ? BL_STR_BASE2 : BL_STR_BASE;

	if (!s || add_path(s, str, address, slot) < 0)
		return -1;
	match_named(s, str, base, dirfd);
	return 0;
}

/* --- shapes: each returns 1 when the event is wanted, 0 when not --- */

static __always_inline __u32 open_classes(__u32 flags, bool created_executable)
{
	__u32 mode = flags & O_ACCMODE;

	return (mode != 1 ? BL_CLASS_READ : 0) | (mode != 0 ? BL_CLASS_WRITE : 0) |
	       (created_executable ? BL_CLASS_EXEC : 0);
}

/* The text and the flags that open, openat, openat2, creat or open_by_handle_at were called with. */
static __always_inline __u64 open_arguments(struct event_scratch *s, int *dirfd, __u32 *flags)
{
	__u64 how[2] = {};

	*dirfd = -100;
	switch (s->head.kind) {
	case BL_EVENT_creat:
		*flags = 1;
		return s->head.num[0];
	case BL_EVENT_open:
		*flags = s->head.num[1];
		return s->head.num[0];
	case BL_EVENT_open_by_handle_at:
		*flags = s->head.num[2];
		return 0;
	case BL_EVENT_openat2:
		bpf_probe_read_user(how, sizeof(how), (void *)s->head.num[2]);
		s->head.num[4] = how[0];
		s->head.num[5] = how[1];
		*flags = how[0];
		break;
	default:
		*flags = s->head.num[2];
	}
	*dirfd = s->head.num[0];
	return s->head.num[1];
}

/* Does the path as it was asked for differ from the one that was reached (walk 0)? */
static __always_inline bool asked_differs(struct event_scratch *s, bool relative)
{
	__u32 at = s->walk[0].at, length = s->head.str[BL_STR_PATH].length;

	if (relative || at > BL_PATH_LONGEST || BL_PATH_LONGEST - at != length)
		return true;
	return !match_same(s, event_offset_of(s, BL_STR_PATH),
			   __builtin_offsetof(struct event_scratch, walk[0].text) + at, length);
}

BL_STEP int on_open(struct event_scratch *s)
{
	struct bl_event_file *facts;
	struct file *file = NULL;
	__u32 flags = 0, classes;
	bool relative = false, created = false;
	__u64 address;
	int dirfd;

	if (!s)
		return 0;
	address = open_arguments(s, &dirfd, &flags);
	if (s->head.result >= 0)
		file = path_file_of(s->head.result);
	if (file) {
		flags = event_read(file, f_flags);
		created = (__u64)event_read(file, f_mode) & PATH_FMODE_CREATED &&
			  event_read(event_read(file, f_inode), i_mode) & 0111;
		path_walk_file(s, 0, file);
		if (s->want & BL_WANT_PATH)
			s->found |= match_walk(s, 0);
	}
	classes = open_classes(flags, created);
	if (address && event_user_text(s, BL_STR_PATH, address) > 0) {
		relative = path_is_relative(s, BL_STR_PATH);
		if (relative)
			path_walk_base(s, 1, dirfd);
		if (s->want & BL_WANT_PATH) {
			if (!file && match_is_crooked(s, event_offset_of(s, BL_STR_PATH),
						      s->head.str[BL_STR_PATH].length))
				s->found = ~0U;
			else if (!file || asked_differs(s, relative))
				s->found |= match_asked(s, BL_STR_PATH, 1);
		}
	}
	if (!match_verdict(s, classes))
		return 0;
	if (relative)
		path_add(s, 1, BL_STR_BASE);
	if (!file)
		return 1;
	path_add(s, 0, BL_STR_RESOLVED);
	facts = event_facts(s, bl_event_file);
	if (facts)
		path_file_facts(facts, file);
	return 1;
}

/* Texts that are no paths of the tree. */
static __always_inline bool is_only_a_name(__u32 kind)
{
	return kind == BL_EVENT_memfd_create || kind == BL_EVENT_fsopen ||
	       kind == BL_EVENT_delete_module;
}

BL_STEP int on_path(struct event_scratch *s, __u32 shape)
{
	struct fs_struct *fs;
	__u64 *num;

	if (!s)
		return 0;
	num = s->head.num;
	switch (shape) {
	case BL_SHAPE_path:
		if (is_only_a_name(s->head.kind)) {
			add_path(s, BL_STR_PATH, num[0], 0);
			return 1;
		}
		add_named(s, num[0], -100, 0);
		break;
	case BL_SHAPE_at:
		add_named(s, num[1], num[0], 0);
		if (!s->head.str[BL_STR_PATH].length && s->head.result >= 0 && (int)num[0] >= 0) {
			/* AT_EMPTY_PATH: the descriptor itself */
			path_walk_base(s, 0, num[0]);
			if (s->want & BL_WANT_PATH)
				s->found |= match_walk(s, 0);
			path_add(s, 0, BL_STR_RESOLVED);
		}
		break;
	case BL_SHAPE_path2:
		if (s->head.kind == BL_EVENT_symlink)
			add_path(s, BL_STR_PATH, num[0], 0); /* a text, not a place */
		else
			add_named(s, num[0], -100, 0);
		add_named(s, num[1], -100, 1);
		break;
	case BL_SHAPE_at2:
		add_named(s, num[1], num[0], 0);
		add_named(s, num[3], num[2], 1);
		break;
	case BL_SHAPE_symlinkat:
		add_path(s, BL_STR_PATH, num[0], 0);
		add_named(s, num[2], num[1], 1);
		break;
	}
	if (s->head.kind == BL_EVENT_chdir && s->head.result >= 0) {
		fs = event_read(bpf_get_current_task_btf(), fs);
		path_walk(s, 0, event_address(s, event_read(fs, pwd.mnt)),
			  event_address(s, event_read(fs, pwd.dentry)));
		if (s->want & BL_WANT_PATH)
			s->found |= match_walk(s, 0);
		path_add(s, 0, BL_STR_RESOLVED);
	}
	if ((s->head.kind == BL_EVENT_symlink || s->head.kind == BL_EVENT_symlinkat) &&
	    s->want & BL_WANT_PATH && !path_is_relative(s, BL_STR_PATH))
		s->found |= match_asked(s, BL_STR_PATH, 1);
	return match_verdict(s, BL_CLASS_OTHER);
}

/* --- sockets --- */

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
			if (__builtin_memcmp(&name, entered->text[0], 32)) {
				s->head.flags |= BL_EVENT_TAMPERED;
				s->head.flags &= ~BL_EVENT_UNREAD;
				__builtin_memcpy(&name, entered->text[0], sizeof(name));
			}
		}
	}
	socket_name(s, &name, s->head.num[2], s->head.kind == BL_EVENT_bind, s->head.result < 0);
	return 1;
}

/* The peer and the data of a send or receive. */
static __always_inline void message_of(struct event_scratch *s, bool compat, __u64 *address,
				       __u64 *length, __u64 *data, __u64 *size)
{
	__u64 *num = s->head.num, message[4] = {}, vector[2] = {};

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

		bpf_probe_read_user(small, sizeof(small), (void *)num[1]);
		*address = small[0];
		*length = small[1];
		bpf_probe_read_user(pair, sizeof(pair), (void *)(__u64)small[2]);
		*data = pair[0];
		if (*size > pair[1])
			*size = pair[1];
		return;
	}
	/* sendmmsg and recvmmsg: the first message stands for all; the result counts messages. */
	bpf_probe_read_user(message, sizeof(message), (void *)num[1]);
	bpf_probe_read_user(vector, sizeof(vector), (void *)message[2]);
	*address = message[0];
	*length = (__u32)message[1];
	*data = vector[0];
	if (*size > vector[1] || s->head.kind == BL_EVENT_sendmmsg ||
	    s->head.kind == BL_EVENT_recvmmsg)
		*size = vector[1];
}

BL_STEP int on_message(struct event_scratch *s, __u32 shape)
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
	message_of(s, s->head.flags & BL_EVENT_COMPAT, &address, &length, &data, &size);
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

/* --- descriptors --- */

BL_STEP int on_descriptor(struct event_scratch *s, __u32 shape)
{
	struct bl_event_file *facts;
	struct file *file;
	__u64 sk = 0, size;

	if (!s)
		return 0;
	file = path_file_of(s->head.num[0]);
	if (file && socket_of(file)) {
		if (!add_socket(s, s->head.num[0], &sk) || !match_verdict(s, BL_CLASS_OTHER))
			return 0;
	} else {
		if (s->want & BL_WANT_INET) {
			event_count(BL_SENSOR_STAT_not_socket);
			return 0;
		}
		if (file) {
			path_walk_file(s, 0, file);
			if (s->want & BL_WANT_PATH)
				s->found |= match_walk(s, 0);
		}
		if (!match_verdict(s, BL_CLASS_OTHER))
			return 0;
		if (file) {
			path_add(s, 0, BL_STR_RESOLVED);
			facts = event_facts(s, bl_event_file);
			if (facts)
				path_file_facts(facts, file);
		}
	}
	if (shape == BL_SHAPE_io && s->want & BL_WANT_DATA && s->head.result > 0) {
		size = s->head.result;
		event_user_bytes(s, BL_STR_PATH2, s->head.num[1],
				 size < DATA_LONGEST ? size : DATA_LONGEST, DATA_LONGEST);
	}
	return 1;
}

/* A failed execve or execveat. */
BL_STEP int on_exec_failed(struct event_scratch *s)
{
	bool at;

	if (!s || s->head.result >= 0)
		return 0;
	at = s->head.kind == BL_EVENT_execveat;
	add_named(s, at ? s->head.num[1] : s->head.num[0], at ? (int)s->head.num[0] : -100, 0);
	return match_verdict(s, BL_CLASS_OTHER);
}

/* --- the dispatcher --- */

/* Kinds of which only some calls are of interest at all. */
static __always_inline bool is_dull(__u32 kind, const __u64 *arg)
{
	switch (kind) {
	case BL_EVENT_fcntl:
		return arg[1] != F_DUPFD && arg[1] != F_DUPFD_CLOEXEC;
	case BL_EVENT_mmap:
	case BL_EVENT_mprotect:
		return !(arg[2] & PROT_EXEC);
	}
	return false;
}

static __always_inline int read_shape(struct event_scratch *s)
{
	__u32 shape = s->want >> BL_WANT_SHAPE_SHIFT & 0xff;

	switch (shape) {
	case BL_SHAPE_open:
		return on_open(s);
	case BL_SHAPE_path:
	case BL_SHAPE_at:
	case BL_SHAPE_path2:
	case BL_SHAPE_at2:
	case BL_SHAPE_symlinkat:
		return on_path(s, shape);
	case BL_SHAPE_fd:
	case BL_SHAPE_io:
		return on_descriptor(s, shape);
	case BL_SHAPE_sock:
	case BL_SHAPE_sock_addr:
	case BL_SHAPE_sock_result:
		return on_socket(s, shape);
	case BL_SHAPE_sock_send:
	case BL_SHAPE_sock_recv:
		return on_message(s, shape);
	case BL_SHAPE_exec:
		return on_exec_failed(s);
	}
	return 1;
}

static __noinline int syscall_end(const struct pt_regs *regs, long result, __u32 kinds)
{
	struct task_struct *task = bpf_get_current_task_btf();
	bool compat = event_read(task, thread_info.status) & TS_COMPAT;
	__u32 kind = compat ? kinds >> 8 : kinds & 0xff;
	struct event_scratch *s;
	__u64 arg[6];

	if (!kind)
		return 0;
	read_arguments(arg, regs, compat);
	if (compat && kind == BL_SYSCALL_SOCKETCALL)
		kind = unwrap_socketcall(arg);
	if (!kind || is_dull(kind, arg))
		return 0;
	s = event_begin(kind);
	if (!s)
		return 0;
	if (event_result_wanted(s->want, result) && event_place_wanted(s->want) &&
	    task_comm_wanted(s)) {
		s->head.result = result;
		__builtin_memcpy(s->head.num, arg, sizeof(arg));
		if (compat)
			s->head.flags |= BL_EVENT_COMPAT;
		if (read_shape(s)) {
			task_head(s);
			event_put_other(s);
		}
	}
	event_end(s);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(bl_sys_exit, struct pt_regs *regs, long result)
{
	__u64 number = regs->orig_ax & ~(__u64)X32_BIT;
	__u32 kinds;

	if (number >= BL_SYSCALL_MAX)
		return 0;
	kinds = bl_syscall.kinds[number];
	if (likely(!kinds))
		return 0;
	return syscall_end(regs, result, kinds);
}

/* --- what was given to the kernel --- */

/* Where the texts of this shape are among the arguments; -1: nowhere. */
static __always_inline void text_arguments(__u32 shape, int *first, int *second)
{
	*first = -1;
	*second = -1;
	switch (shape) {
	case BL_SHAPE_path:
		*first = 0;
		break;
	case BL_SHAPE_at:
		*first = 1;
		break;
	case BL_SHAPE_path2:
		*first = 0;
		*second = 1;
		break;
	case BL_SHAPE_at2:
		*first = 1;
		*second = 3;
		break;
	case BL_SHAPE_symlinkat:
		*first = 0;
		*second = 2;
		break;
	}
}

static __always_inline __u64 pick(const __u64 *arg, int index)
{
	switch (index) {
	case 0:
		return arg[0];
	case 1:
		return arg[1];
	case 2:
		return arg[2];
	case 3:
		return arg[3];
	}
	return 0;
}

/* One program for every syscalls/sys_enter_X: these fire for 64-bit calls only. */
SEC("tracepoint")
int bl_sys_enter(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	__u64 number = event_read(regs, orig_ax) & ~(__u64)X32_BIT,
	      key = bpf_get_current_pid_tgid(), arg[6];
	struct bl_sensor *sensor;
	struct bl_entered *entered;
	__u32 zero = 0, kind, index, shape;
	struct bl_want *want;
	int first, second;

	if (number >= BL_SYSCALL_MAX)
		return 0;
	kind = bl_syscall.kinds[number] & 0xff;
	sensor = bpf_map_lookup_elem(&bl_sensor, &zero);
	if (!kind || !sensor)
		return 0;
	index = (sensor->generation & 1) * BL_EVENT_KIND_MAX + kind;
	want = bpf_map_lookup_elem(&bl_want, &index);
	entered = bpf_map_lookup_elem(&bl_entering, &zero);
	if (!want || !entered || !event_in_scope())
		return 0;
	read_arguments(arg, regs, false);
	shape = want->flags >> BL_WANT_SHAPE_SHIFT & 0xff;
	entered->kind = kind;
	entered->length[0] = -1;
	entered->length[1] = -1;
	if (shape == BL_SHAPE_sock_addr) {
		if (socket_read_address((union socket_address *)entered->text[0], arg[1],
					(__u32)arg[2]))
			entered->length[0] = sizeof(union socket_address);
	} else {
		text_arguments(shape, &first, &second);
		if (first >= 0)
			entered->length[0] =
				bpf_probe_read_user_str(entered->text[0], BL_ENTERED_LONGEST,
							(void *)pick(arg, first)) -
				1;
		if (second >= 0)
			entered->length[1] =
				bpf_probe_read_user_str(entered->text[1], BL_ENTERED_LONGEST,
							(void *)pick(arg, second)) -
				1;
	}
	bpf_map_update_elem(&bl_entered, &key, entered, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
