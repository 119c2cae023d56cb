/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who did it: the head of every record, and the facts of a process. */
#ifndef BL_LIB_TASK_H
#define BL_LIB_TASK_H

#include "path.h"

#define CAP_DAC_OVERRIDE 1

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bl_name);
} bl_name SEC(".maps");

/* The event's head, of the current task. */
BL_STEP int task_head(struct event_scratch *s)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 ids = bpf_get_current_pid_tgid();
	struct cred *cred;

	if (!s)
		return -1;
	cred = (struct cred *)event_read(task, cred);
	s->head.time_ns = bpf_ktime_get_boot_ns();
	s->head.start_ns = event_read(event_read(task, group_leader), start_boottime);
	s->head.cgroup = bpf_get_current_cgroup_id();
	s->head.pid = ids >> 32;
	s->head.tid = (__u32)ids;
	s->head.uid = event_read(cred, euid.val);
	s->head.gid = event_read(cred, egid.val);
	return 0;
}

/* What is known of the name of a process; NULL: nothing that is sure to be of this very process. */
static __always_inline struct bl_name *task_name_of(__u32 pid, __u64 start_ns)
{
	struct bl_name *name = bpf_map_lookup_elem(&bl_name, &pid);
	__u32 zero = 0;
	struct bl_sensor *sensor = bpf_map_lookup_elem(&bl_sensor, &zero);

	if (!name || !sensor || name->epoch != sensor->epoch)
		return NULL;
	if (name->start_ns == start_ns)
		return name;
	return name->start_ns % BL_TICK_NS == 0 &&
			       name->start_ns / BL_TICK_NS == start_ns / BL_TICK_NS
		       ? name
		       : NULL;
}

static __always_inline void task_name_keep(__u32 pid, __u64 start_ns, const char *comm)
{
	__u32 zero = 0;
	struct bl_sensor *sensor = bpf_map_lookup_elem(&bl_sensor, &zero);
	struct bl_name name = {.start_ns = start_ns};

	if (!sensor)
		return;
	name.epoch = sensor->epoch;
	bpf_probe_read_kernel_str(name.comm, sizeof(name.comm), comm);
	/* Better no name than an old one. */
	if (bpf_map_update_elem(&bl_name, &pid, &name, BPF_ANY))
		bpf_map_delete_elem(&bl_name, &pid);
}

/* The name of the current process is inherited by the one that it made. */
static __always_inline void task_name_inherit(struct task_struct *child)
{
	struct task_struct *leader = event_read(bpf_get_current_task_btf(), group_leader);
	__u32 pid = child->tgid;
	struct bl_name *name =
		task_name_of(bpf_get_current_pid_tgid() >> 32, event_read(leader, start_boottime));

	if (name)
		task_name_keep(pid, child->start_boottime, name->comm);
	else
		bpf_map_delete_elem(&bl_name, &pid);
}

/* Is the name of the current process, as of its last exec, among those wanted for this kind? */
static __always_inline bool task_comm_wanted(struct event_scratch *s)
{
	struct bl_comm_key key = {.kind = s->head.kind};
	struct task_struct *leader;
	struct bl_name *name;
	__u32 *generations;

	if (likely(!(s->want & BL_WANT_COMM)))
		return true;
	leader = event_read(bpf_get_current_task_btf(), group_leader);
	name = task_name_of(bpf_get_current_pid_tgid() >> 32, event_read(leader, start_boottime));
	if (!name)
		return true;
	__builtin_memcpy(key.comm, name->comm, sizeof(key.comm));
	generations = bpf_map_lookup_elem(&bl_comm, &key);
	if (generations && *generations & (1U << (s->generation & 1)))
		return true;
	event_count(BL_SENSOR_STAT_not_comm);
	return false;
}

static __always_inline struct pid *task_pid_of(struct task_struct *task, int type)
{
	struct signal_struct *signal = event_read(task, signal);

	return type == PIDTYPE_PGID ? event_read(signal, pids[PIDTYPE_PGID])
				    : event_read(signal, pids[PIDTYPE_SID]);
}

/* Number of `pid` in the namespace of `level`; 0 when it is not visible there. */
static __always_inline __u32 task_number_at(struct pid *pid, __u32 level)
{
	struct upid *upid;

	if (!pid || level > event_read(pid, level))
		return 0;
	upid = (struct upid *)((__u64)pid + bpf_core_field_offset(struct pid, numbers) +
			       level * (__u64)bpf_core_type_size(struct upid));
	return event_read(upid, nr);
}

static __always_inline __u32 task_tty(struct task_struct *task)
{
	struct tty_struct *tty = event_read(event_read(task, signal), tty);
	struct tty_driver *driver;
	__u32 major, minor;

	if (!tty)
		return 0;
	driver = event_read(tty, driver);
	major = event_read(driver, major);
	minor = event_read(driver, minor_start) + event_read(tty, index);
	return (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12);
}

/* Older kernels keep a set of capabilities as two 32-bit words: 6.3 made it one of 64 bits; both read the same. */
static __always_inline __u64 task_caps(const kernel_cap_t *set)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), set);
	return value;
}

static __always_inline void task_namespaces(struct bl_event_task *facts, struct task_struct *task,
					    struct cred *cred)
{
	struct nsproxy *proxy = event_read(task, nsproxy);
	struct user_namespace *user = event_read(cred, user_ns);

	facts->ns_user = event_read(user, ns.inum);
	if (!proxy)
		return;
	facts->ns_mnt = event_read(event_read(proxy, mnt_ns), ns.inum);
	facts->ns_net = event_read(event_read(proxy, net_ns), ns.inum);
	facts->ns_uts = event_read(event_read(proxy, uts_ns), ns.inum);
	facts->ns_ipc = event_read(event_read(proxy, ipc_ns), ns.inum);
	facts->ns_cgroup = event_read(event_read(proxy, cgroup_ns), ns.inum);
}

static __always_inline void task_numbers(struct bl_event_task *facts, struct task_struct *leader)
{
	struct pid *pid = event_read(leader, thread_pid);
	struct pid *group = task_pid_of(leader, PIDTYPE_PGID),
		   *session = task_pid_of(leader, PIDTYPE_SID);
	struct pid_namespace *space;
	struct upid *upid;
	__u32 level;

	facts->pgid = task_number_at(group, 0);
	facts->sid = task_number_at(session, 0);
	if (!pid)
		return;
	level = event_read(pid, level);
	facts->vpid = task_number_at(pid, level);
	facts->vpgid = task_number_at(group, level);
	facts->vsid = task_number_at(session, level);
	upid = (struct upid *)((__u64)pid + bpf_core_field_offset(struct pid, numbers) +
			       level * (__u64)bpf_core_type_size(struct upid));
	space = event_read(upid, ns);
	facts->ns_pid = event_read(space, ns.inum);
	facts->pidns_start_ns = event_read(event_read(space, child_reaper), start_boottime);
}

/* By owner, group and mode as they are now; supplementary groups and access lists are not looked at. */
static __always_inline bool task_may_write(struct file *file, struct cred *cred)
{
	struct inode *inode = event_read(file, f_inode);
	__u32 mode = event_read(inode, i_mode);

	if (event_read(event_read(inode, i_sb), s_flags) & 1 /* SB_RDONLY */ ||
	    event_read(inode, i_flags) & 8 /* S_IMMUTABLE */)
		return false;
	if (task_caps(&cred->cap_effective) & 1ULL << CAP_DAC_OVERRIDE)
		return true;
	if (event_read(inode, i_uid.val) == event_read(cred, fsuid.val))
		return mode & 0200;
	if (event_read(inode, i_gid.val) == event_read(cred, fsgid.val))
		return mode & 0020;
	return mode & 0002;
}

/* The facts of the process of `address` (a task_struct), with its binary. */
BL_STEP int task_facts(struct event_scratch *s, __u64 address)
{
	struct task_struct *task = (struct task_struct *)address, *leader, *parent;
	struct bl_event_task *facts;
	struct css_set *set;
	struct cgroup *cgroup;
	struct mm_struct *mm;
	struct cred *cred;
	struct file *exe;

	if (!s)
		return -1;
	facts = event_facts(s, bl_event_task);
	if (!facts)
		return -1;
	leader = event_read(task, group_leader);
	parent = event_read(leader, real_parent);
	parent = event_read(parent, group_leader);
	cred = (struct cred *)event_read(task, cred);
	facts->start_ns = event_read(leader, start_boottime);
	facts->parent_start_ns = event_read(parent, start_boottime);
	facts->pid = event_read(leader, tgid);
	facts->ppid = event_read(parent, tgid);
	facts->cap_inheritable = task_caps(&cred->cap_inheritable);
	facts->cap_permitted = task_caps(&cred->cap_permitted);
	facts->cap_effective = task_caps(&cred->cap_effective);
	facts->uid = event_read(cred, euid.val);
	facts->gid = event_read(cred, egid.val);
	set = event_read(task, cgroups);
	cgroup = event_read(set, dfl_cgrp);
	facts->cgroup = event_read(event_read(cgroup, kn), id);
	facts->loginuid = 0xffffffff;
	facts->session = 0xffffffff;
	if (bpf_core_field_exists(task->loginuid)) { /* CONFIG_AUDIT */
		facts->loginuid = event_read(task, loginuid.val);
		facts->session = event_read(task, sessionid);
	}
	facts->tty = task_tty(task);
	task_numbers(facts, leader);
	task_namespaces(facts, task, cred);
	bpf_probe_read_kernel(facts->comm, sizeof(facts->comm), leader->comm);
	mm = event_read(task, mm);
	exe = mm ? (struct file *)event_read(mm, exe_file) : NULL;
	if (exe) {
		path_file_facts(&facts->exe, exe);
		if (task_may_write(exe, cred))
			facts->exe.flags |= BL_FILE_WRITABLE;
	}
	return 0;
}

#endif
