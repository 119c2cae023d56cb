/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * System calls that name files. Each on_X returns 1 when the event is wanted, 0 when not.
 * Map: bl_entered (what the kernel was given, filled before the call by syscall.bpf.c).
 */
#ifndef BL_SENSOR_ON_PATH_H
#define BL_SENSOR_ON_PATH_H

#include "lib/match.h"

#define O_ACCMODE 3

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct bl_entered);
} bl_entered SEC(".maps");

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

/* O_CREAT and __O_TMPFILE */
#define OPEN_MAKES (0100 | 020000000)

static __always_inline __u32 open_classes(__u32 flags, bool makes_executable)
{
	__u32 mode = flags & O_ACCMODE;

	return (mode != 1 ? BL_CLASS_READ : 0) | (mode != 0 ? BL_CLASS_WRITE : 0) |
	       (makes_executable ? BL_CLASS_EXEC : 0);
}

/* The text, the flags and the mode that open, openat, openat2, creat or open_by_handle_at were called with. */
static __always_inline __u64 open_arguments(struct event_scratch *s, int *dirfd, __u32 *flags,
					    __u32 *mode)
{
	__u64 how[2] = {};

	*dirfd = -100;
	switch (s->head.kind) {
	case BL_EVENT_creat:
		*flags = 1 | OPEN_MAKES;
		*mode = s->head.num[1];
		return s->head.num[0];
	case BL_EVENT_open:
		*flags = s->head.num[1];
		*mode = s->head.num[2];
		return s->head.num[0];
	case BL_EVENT_open_by_handle_at:
		*flags = s->head.num[2];
		return 0;
	case BL_EVENT_openat2:
		bpf_probe_read_user(how, sizeof(how), (void *)s->head.num[2]);
		s->head.num[4] = how[0];
		s->head.num[5] = how[1];
		*flags = how[0];
		*mode = how[1];
		break;
	default:
		*flags = s->head.num[2];
		*mode = s->head.num[3];
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
	__u32 flags = 0, mode = 0, classes;
	bool relative = false, makes;
	__u64 address;
	int dirfd;

	if (!s)
		return 0;
	address = open_arguments(s, &dirfd, &flags, &mode);
	makes = flags & OPEN_MAKES && mode & 0111;
	if (s->head.result >= 0)
		file = path_file_of(s->head.result);
	if (file) {
		flags = event_read(file, f_flags);
		path_walk_file(s, 0, file);
		if (s->want & BL_WANT_PATH)
			s->found |= match_walk(s, 0);
	}
	classes = open_classes(flags, makes);
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

#endif
