/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Security events: a record is put together in a per-CPU scratch, then copied into a ring.
 * Rings: bl_procs (what processes are: exec, clone, end, name) and bl_events (the rest), apart so that
 * a flood of opens cannot push out who did it. Losses are counted in bl_sensor_stat. The reader polls;
 * it is woken only when a ring is a quarter full, because a wake-up costs more than all else here.
 */
#ifndef BL_LIB_EVENT_H
#define BL_LIB_EVENT_H

#include "base.h"
#include "abi/event.h"

const volatile struct bl_sensor_config bl_config SEC(".rodata.config") = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024); /* user space may choose another size */
} bl_procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024); /* user space may choose another size */
} bl_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BL_SENSOR_STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} bl_sensor_stat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bl_sensor);
} bl_sensor SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 512); /* two generations of BL_EVENT_KIND_MAX */
	__type(key, __u32);
	__type(value, struct bl_want);
} bl_want SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bl_comm_key);
	__type(value, __u32);
} bl_comm SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} bl_scope SEC(".maps");

/* Room for the strings of a record; one more of the longest kind fits behind it. */
#define EVENT_ROOM 24576
#define EVENT_SLACK (BL_PATH_LONGEST + 512)

/* A path that is being made from its end (path.h). */
struct path_walk {
	__u64 dentry; /* where the walk is */
	__u64 mount;
	__u64 root_dentry; /* where it ends */
	__u64 root_mount;
	__u32 at; /* the text is text[at .. BL_PATH_LONGEST) */
	__u32 cut;
	char text[BL_PATH_LONGEST + 264];
};

struct event_scratch {
	__u32 busy;
	__u32 used; /* bytes of the record so far */
	__u32 generation;
	__u32 want;	/* BL_WANT_* of this event */
	__u32 path_any; /* BL_CLASS_* */
	__u32 found;	/* classes of the paths seen so far */
	volatile __u64 hold;
	struct path_walk walk[2];
	struct bl_event head; /* the record begins here */
	char data[EVENT_ROOM + EVENT_SLACK];
};

/* bl_scratch: where the record of an event grows, one for each CPU. Per-CPU maps end at 32 KiB a value. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64); /* user space sets the number of CPUs */
	__type(key, __u32);
	__type(value, struct event_scratch);
} bl_scratch SEC(".maps");

/*
 * A field of a kernel struct behind any pointer: a plain load that yields zero on a bad address (6.2: bpf_rdonly_cast),
 * else a call to the copying helper.
 */
#define event_read(pointer, field)                                                             \
	({                                                                                     \
		__auto_type from_ = (pointer);                                                 \
		__typeof_unqual__(from_->field) value_;                                        \
		if (bpf_ksym_exists(bpf_rdonly_cast))                                          \
			value_ = bpf_core_cast((void *)from_, typeof(*from_))->field;          \
		else                                                                           \
			value_ = (__typeof_unqual__(from_->field))BPF_CORE_READ(from_, field); \
		value_;                                                                        \
	})

static __always_inline void event_count(__u32 stat)
{
	__u64 *value = bpf_map_lookup_elem(&bl_sensor_stat, &stat);

	if (value)
		(*value)++;
}

/* Is the current task within the cgroup that this sensor is for? */
static __always_inline bool event_in_scope(void)
{
	if (!bl_config.scope_cgroup)
		return true;
	if (bpf_get_current_ancestor_cgroup_id(bl_config.scope_level) == bl_config.scope_cgroup)
		return true;
	event_count(BL_SENSOR_STAT_not_in_scope);
	return false;
}

/*
 * The scratch for an event of `kind`, or NULL when nobody wants it. Programs of one CPU do not nest today;
 * one that does must not write over the other's record.
 */
static __always_inline struct event_scratch *event_begin(__u32 kind)
{
	__u32 zero = 0, cpu;
	struct bl_sensor *sensor = bpf_map_lookup_elem(&bl_sensor, &zero);
	struct event_scratch *s;
	struct bl_want *want;
	__u32 index;

	if (!sensor)
		return NULL;
	index = (sensor->generation & 1) * BL_EVENT_KIND_MAX + (kind & (BL_EVENT_KIND_MAX - 1));
	want = bpf_map_lookup_elem(&bl_want, &index);
	if (!want || !(want->flags & BL_WANT_ON) || !event_in_scope())
		return NULL;
	cpu = bpf_get_smp_processor_id();
	s = bpf_map_lookup_elem(&bl_scratch, &cpu);
	if (!s)
		return NULL;
	if (s->busy) {
		event_count(BL_SENSOR_STAT_nested);
		return NULL;
	}
	s->busy = 1;
	s->generation = index / BL_EVENT_KIND_MAX;
	s->want = want->flags;
	s->path_any = want->path_any;
	s->found = 0;
	s->used = sizeof(struct bl_event);
	s->head.kind = kind;
	s->head.flags = 0;
	s->head.result = 0;
	__builtin_memset(s->head.num, 0, sizeof(s->head.num));
	__builtin_memset(s->head.str, 0, sizeof(s->head.str));
	return s;
}

/* One more record of the same call: kind, arguments and result stay. */
static __always_inline void event_again(struct event_scratch *s)
{
	s->found = 0;
	s->used = sizeof(struct bl_event);
	s->head.flags &= BL_EVENT_COMPAT;
	__builtin_memset(s->head.str, 0, sizeof(s->head.str));
}

static __always_inline void event_end(struct event_scratch *s)
{
	s->busy = 0;
}

/* A pointer as a plain number, which is what functions that are verified on their own take. */
static __always_inline __u64 event_address(struct event_scratch *s, const volatile void *pointer)
{
	s->hold = (__u64)pointer;
	return s->hold;
}

/* Where the next string goes; NULL when the record is full. */
static __always_inline char *event_room(struct event_scratch *s)
{
	__u32 used = s->used;

	/* Two comparisons of this very register: older verifiers do not see through the one that clang would make of them. */
	barrier_var(used);
	if (used > EVENT_ROOM)
		return NULL;
	barrier_var(used);
	if (used < sizeof(struct bl_event))
		return NULL;
	return (char *)&s->head + used;
}

static __always_inline void event_added(struct event_scratch *s, __u32 index, __u32 length)
{
	s->head.str[index].offset = s->used;
	s->head.str[index].length = length;
	s->used += length;
}

/* The part of the scratch that offsets of event_text count in. */
static __always_inline __u32 event_offset_of(struct event_scratch *s, __u32 index)
{
	return __builtin_offsetof(struct event_scratch, head) + s->head.str[index].offset;
}

/* A text of the program's memory up to its NUL, as string `index`. Returns its length or an error. */
BL_STEP int event_user_text(struct event_scratch *s, __u32 index, __u64 address)
{
	long length;
	char *room;

	if (!s || index >= BL_STR_MAX)
		return -1;
	room = event_room(s);
	if (!room)
		return -1;
	length = bpf_probe_read_user_str(room, BL_PATH_LONGEST + 1, (void *)address);
	if (length <= 0) {
		s->head.flags |= BL_EVENT_UNREAD;
		return -1;
	}
	if (length > BL_PATH_LONGEST)
		s->head.flags |= BL_EVENT_TRUNCATED;
	length--;
	if (length > BL_PATH_LONGEST)
		return -1;
	event_added(s, index, length);
	return length;
}

/* `length` bytes of the program's memory, at most `most` (which is at most BL_PATH_LONGEST). */
BL_STEP int event_user_bytes(struct event_scratch *s, __u32 index, __u64 address, __u64 length,
			     __u32 most)
{
	char *room;

	if (!s || index >= BL_STR_MAX)
		return -1;
	room = event_room(s);
	if (!room)
		return -1;
	if (most > BL_PATH_LONGEST)
		most = BL_PATH_LONGEST;
	if (length > most) {
		length = most;
		s->head.flags |= BL_EVENT_TRUNCATED;
	}
	barrier_var(length); /* before 6.8 a comparison with `most` tells the verifier nothing */
	if (length > BL_PATH_LONGEST)
		return -1;
	if (bpf_probe_read_user(room, length, (void *)address)) {
		s->head.flags |= BL_EVENT_UNREAD;
		return -1;
	}
	event_added(s, index, length);
	return length;
}

/* A text of the kernel's. */
BL_STEP int event_kernel_text(struct event_scratch *s, __u32 index, __u64 address)
{
	long length;
	char *room;

	if (!s || index >= BL_STR_MAX)
		return -1;
	room = event_room(s);
	if (!room)
		return -1;
	length = bpf_probe_read_kernel_str(room, BL_PATH_LONGEST + 1, (void *)address);
	if (length <= 0 || length > BL_PATH_LONGEST + 1)
		return -1;
	event_added(s, index, length - 1);
	return length - 1;
}

/* `length` bytes of the kernel's or of the scratch itself. */
BL_STEP int event_kernel_bytes(struct event_scratch *s, __u32 index, __u64 address, __u64 length)
{
	char *room;

	if (!s || index >= BL_STR_MAX || length > BL_PATH_LONGEST)
		return -1;
	room = event_room(s);
	if (!room || bpf_probe_read_kernel(room, length, (void *)address))
		return -1;
	event_added(s, index, length);
	return length;
}

/* Room for `size` bytes of facts, zeroed; NULL when the record is full. */
#define event_facts(s, type)                                           \
	({                                                             \
		struct type *facts_ = NULL;                            \
		char *room_;                                           \
		(s)->used = ((s)->used + 7) & ~7U;                     \
		room_ = event_room(s);                                 \
		if (room_) {                                           \
			facts_ = (struct type *)room_;                 \
			__builtin_memset(facts_, 0, sizeof(*facts_));  \
			event_added(s, BL_STR_FACTS, sizeof(*facts_)); \
		}                                                      \
		facts_;                                                \
	})

static __always_inline __u32 event_loss(__u32 kind)
{
	switch (kind) {
	case BL_EVENT_execve:
		return BL_SENSOR_STAT_lost_exec;
	case BL_EVENT_clone:
		return BL_SENSOR_STAT_lost_clone;
	case BL_EVENT_procexit:
		return BL_SENSOR_STAT_lost_exit;
	case BL_EVENT_comm:
		return BL_SENSOR_STAT_lost_comm;
	}
	if (kind < BL_EVENT_setuid)
		return BL_SENSOR_STAT_lost_file;
	return kind >= BL_EVENT_socket && kind <= BL_EVENT_shutdown ? BL_SENSOR_STAT_lost_socket
								    : BL_SENSOR_STAT_lost_other;
}

static __always_inline void event_put(struct event_scratch *s, void *ring, __u32 stat)
{
	__u64 size = s->used, wake, capacity;

	if (s->head.flags & BL_EVENT_TRUNCATED)
		event_count(BL_SENSOR_STAT_truncated);
	if (s->head.flags & BL_EVENT_UNREAD)
		event_count(BL_SENSOR_STAT_unread);
	if (s->head.flags & BL_EVENT_TAMPERED)
		event_count(BL_SENSOR_STAT_tampered);
	s->head.size = size;
	if (size < sizeof(struct bl_event) || size > EVENT_ROOM + EVENT_SLACK)
		return;
	capacity = bpf_ringbuf_query(ring, BPF_RB_RING_SIZE);
	wake = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > capacity / 4 ? BPF_RB_FORCE_WAKEUP
									 : BPF_RB_NO_WAKEUP;
	if (bpf_ringbuf_output(ring, &s->head, size, wake))
		event_count(event_loss(s->head.kind));
	else
		event_count(stat);
}

/* Into the ring of processes. */
BL_STEP int event_put_process(struct event_scratch *s)
{
	if (!s)
		return -1;
	event_put(s, &bl_procs, BL_SENSOR_STAT_procs);
	return 0;
}

/* Into the ring of everything else. */
BL_STEP int event_put_other(struct event_scratch *s)
{
	if (!s)
		return -1;
	event_put(s, &bl_events, BL_SENSOR_STAT_events);
	return 0;
}

/* Is the result one that is wanted? */
static __always_inline bool event_result_wanted(__u32 want, long result)
{
	bool failed = result < 0 && result != -115 /* EINPROGRESS: a connect that goes on */;

	if (failed ? want & BL_WANT_SUCCESS : want & BL_WANT_FAILURE) {
		event_count(BL_SENSOR_STAT_not_result);
		return false;
	}
	return true;
}

/* BL_SCOPE_* of the current cgroup; zero: not known. */
static __always_inline __u32 event_place(void)
{
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u32 *place = bpf_map_lookup_elem(&bl_scope, &cgroup);

	return place ? *place : 0;
}

static __always_inline bool event_place_wanted(__u32 want)
{
	__u32 place;

	if (likely(!(want & (BL_WANT_CONTAINER | BL_WANT_HOST))))
		return true;
	place = event_place();
	if (((want & BL_WANT_CONTAINER) && place == BL_SCOPE_HOST) ||
	    ((want & BL_WANT_HOST) && place == BL_SCOPE_CONTAINER)) {
		event_count(BL_SENSOR_STAT_not_place);
		return false;
	}
	return true;
}

#endif
