/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * System calls, at their end, when the result and the objects they reached are known.
 * Hooks: tp_btf/sys_exit (one dispatcher; a call that nobody wants costs one load), and syscalls/sys_enter_X for the kinds
 * where only the text says what was touched: it is copied before the call, so that a program that changes it meanwhile is
 * found out.
 * Maps: bl_want, bl_comm, bl_name, bl_scope, bl_path (read), bl_entered, bl_peer, bl_scratch, bl_sensor_stat, bl_events (written).
 * Events: every kind with a syscall number; a failed execve, the successful one is in process.bpf.c.
 * On an error the record goes out with what there is and a flag, or is counted as lost.
 */
#include "sensor/on_path.h"
#include "sensor/on_socket.h"
#include "sensor/on_descriptor.h"
#include "lib/task.h"

#include <bpf/bpf_tracing.h>

#define TS_COMPAT 0x2
#define X32_BIT 0x40000000
#define SOCKETCALL_MAX 20
#define EINPROGRESS 115
#define PROT_EXEC 4
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

struct bl_syscall_table bl_syscall SEC(".bss");

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
		return on_message(s, shape, 0);
	case BL_SHAPE_exec:
		return on_exec_failed(s);
	}
	return 1;
}

/* What a process may do has changed: all that is in force now, which the arguments do not tell. */
static __always_inline void add_credentials(struct event_scratch *s, struct task_struct *task)
{
	if (s->head.result < 0)
		return;
	switch (s->head.kind) {
	case BL_EVENT_setuid:
	case BL_EVENT_setreuid:
	case BL_EVENT_setresuid:
	case BL_EVENT_setfsuid:
	case BL_EVENT_capset:
		task_facts(s, event_address(s, task));
	}
}

/* The messages of sendmmsg and recvmmsg after the first: each is an event. */
static __always_inline void put_more_messages(struct event_scratch *s)
{
	__u32 shape = s->want >> BL_WANT_SHAPE_SHIFT & 0xff, i;

	if (s->head.kind != BL_EVENT_sendmmsg && s->head.kind != BL_EVENT_recvmmsg)
		return;
	for (i = 1; i < MESSAGES_MOST && i < s->head.result; i++) {
		event_again(s);
		if (!on_message(s, shape, i))
			continue;
		task_head(s);
		event_put_other(s);
	}
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
			add_credentials(s, task);
			event_put_other(s);
		}
		put_more_messages(s);
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
