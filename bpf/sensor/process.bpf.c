/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Processes: begin, binary, name, end.
 * Hooks: tp_btf/sched_process_exec, task_newtask (which has the flags, unlike sched_process_fork),
 * sched_process_exit, task_rename.
 * Maps: bl_want, bl_scope (read), bl_name, bl_scratch, bl_sensor_stat, bl_procs (written).
 * Events: execve, clone, procexit, comm. Everything about a new image is in its event: a process that ends at once leaves
 * nothing to look up. On an error the record goes out with what there is, or is counted as lost.
 */
#include "lib/task.h"

#include <bpf/bpf_tracing.h>

#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004

/* The strings of a new image: name asked for, binary, arguments, working directory, environment. */
static __always_inline void exec_strings(struct event_scratch *s, struct task_struct *task,
					 struct linux_binprm *bprm)
{
	struct mm_struct *mm = event_read(task, mm);
	struct file *exe = event_read(mm, exe_file);
	__u64 begin;

	event_kernel_text(s, BL_STR_PATH, event_address(s, event_read(bprm, filename)));
	path_walk_file(s, 0, exe);
	path_add(s, 0, BL_STR_RESOLVED);
	begin = event_read(mm, arg_start);
	event_user_bytes(s, BL_STR_PATH2, begin, event_read(mm, arg_end) - begin, BL_PATH_LONGEST);
	path_walk_base(s, 0, -100);
	path_add(s, 0, BL_STR_BASE);
	if (!(s->want & BL_WANT_ENV))
		return;
	begin = event_read(mm, env_start);
	event_user_bytes(s, BL_STR_BASE2, begin, event_read(mm, env_end) - begin, BL_PATH_LONGEST);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(bl_on_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	struct event_scratch *s;

	/* Nobody else runs in it now, so this is the name that the event has. */
	task_name_keep(task->tgid, task->start_boottime, task->comm);
	s = event_begin(BL_EVENT_execve);
	if (!s)
		return 0;
	/* No filter: whoever follows processes needs every one. */
	task_head(s);
	exec_strings(s, task, bprm);
	task_facts(s, event_address(s, task));
	event_put_process(s);
	event_end(s);
	return 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(bl_on_fork, struct task_struct *child, __u64 flags)
{
	struct event_scratch *s;

	if (child->pid != child->tgid)
		return 0; /* a thread */
	task_name_inherit(child);
	s = event_begin(BL_EVENT_clone);
	if (!s)
		return 0;
	task_head(s);
	s->head.num[0] = flags;
	s->head.result = child->tgid;
	task_facts(s, event_address(s, child));
	event_put_process(s);
	event_end(s);
	return 0;
}

/* The last thread of a process goes. Before 6.16 the hook did not say so, and the count of threads was the only sign. */
static __always_inline bool exit_is_last(unsigned long long *ctx, struct task_struct *task)
{
	if (bpf_core_field_exists(struct trace_event_raw_sched_process_exit, group_dead))
		return ctx[1];
	return !event_read(event_read(task, signal), live.counter);
}

SEC("tp_btf/sched_process_exit")
int bl_on_exit(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0], *leader;
	struct signal_struct *signal;
	struct event_scratch *s;
	__u32 pid;

	if (!exit_is_last(ctx, task))
		return 0;
	pid = event_read(task, tgid);
	bpf_map_delete_elem(&bl_name, &pid);
	s = event_begin(BL_EVENT_procexit);
	if (!s)
		return 0;
	task_head(s);
	signal = event_read(task, signal);
	leader = event_read(task, group_leader);
	s->head.result = event_read(signal, flags) & SIGNAL_GROUP_EXIT
				 ? event_read(signal, group_exit_code)
				 : event_read(leader, exit_code);
	event_put_process(s);
	event_end(s);
	return 0;
}

SEC("tp_btf/task_rename")
int BPF_PROG(bl_on_rename, struct task_struct *task, const char *name)
{
	struct event_scratch *s;

	if (task->flags & PF_KTHREAD || BPF_CORE_READ_BITFIELD_PROBED(task, in_execve))
		return 0;
	s = event_begin(BL_EVENT_comm);
	if (!s)
		return 0;
	task_head(s);
	s->head.num[0] = task->tgid;
	s->head.num[1] = task->pid;
	event_kernel_text(s, BL_STR_PATH, event_address(s, name));
	event_put_process(s);
	event_end(s);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
