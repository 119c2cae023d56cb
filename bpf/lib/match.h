/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Does anybody want this path? Paths pass the automaton of wanted texts.
 * Map: bl_path (the automaton, two generations; written by user space through its memory).
 */
#ifndef BL_LIB_MATCH_H
#define BL_LIB_MATCH_H

#include "path.h"

#define MATCH_STEP 64 /* bytes that one verified loop looks at */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bl_path_table);
} bl_path SEC(".maps");

/*
 * One step of the automaton: up to MATCH_STEP bytes of the scratch from `from` on. `state` is the row, with the classes found so far
 * in the upper half; so is the result.
 */
BL_STEP __u64 match_some(struct event_scratch *s, __u32 from, __u32 length, __u64 state)
{
	__u32 row = (__u32)state, found = state >> 32, i, zero = s ? s->generation & 1 : 0;
	struct bl_path_table *table = bpf_map_lookup_elem(&bl_path, &zero);
	const char *text, *cells;

	if (!s || !table || from > sizeof(*s) - MATCH_STEP)
		return state;
	text = (const char *)s + from;
	cells = (const char *)table->cell;
	for (i = 0; i < MATCH_STEP && i < length; i++) {
		__u32 column = table->symbol[(__u8)text[i]] & BL_PATH_COLUMN_MASK;

		row = *(const __u32 *)(cells + (row & BL_PATH_ROW_MASK) + column);
		if (unlikely(row & BL_PATH_HIT))
			found |= *(const __u32 *)(cells + (row & BL_PATH_ROW_MASK));
	}
	return (__u64)found << 32 | row;
}

static __always_inline __u64 match_start(struct event_scratch *s)
{
	__u32 generation = s->generation & 1;
	struct bl_path_table *table = bpf_map_lookup_elem(&bl_path, &generation);

	return table ? table->start & ~BL_PATH_HIT : 0;
}

static __always_inline __u64 match_on(struct event_scratch *s, __u32 from, __u32 length,
				      __u64 state)
{
	__u32 i;

	for (i = 0; i < BL_PATH_LONGEST / MATCH_STEP; i++) {
		state = match_some(s, from, length, state);
		if (length <= MATCH_STEP)
			break;
		from += MATCH_STEP;
		length -= MATCH_STEP;
	}
	return state;
}

/* Classes of a path that ends in `state`. */
static __always_inline __u32 match_end(struct event_scratch *s, __u64 state)
{
	__u32 generation = s->generation & 1;
	struct bl_path_table *table = bpf_map_lookup_elem(&bl_path, &generation);
	const char *cells;
	__u32 row;

	if (!table)
		return ~0U;
	cells = (const char *)table->cell;
	row = *(const __u32 *)(cells + ((__u32)state & BL_PATH_ROW_MASK) +
			       (table->end & BL_PATH_COLUMN_MASK));
	if (row & BL_PATH_HIT)
		state |= (__u64) * (const __u32 *)(cells + (row & BL_PATH_ROW_MASK)) << 32;
	return state >> 32;
}

/* Classes of the path in walk `index`. */
BL_STEP __u32 match_walk(struct event_scratch *s, __u32 index)
{
	__u32 at, offset;

	if (!s)
		return ~0U;
	at = index ? s->walk[1].at : s->walk[0].at;
	if (at > BL_PATH_LONGEST)
		return ~0U;
	if (s->head.flags & BL_EVENT_TRUNCATED)
		return ~0U; /* what is not there cannot be judged here */
	offset = (index ? __builtin_offsetof(struct event_scratch, walk[1].text)
			: __builtin_offsetof(struct event_scratch, walk[0].text)) +
		 at;
	return match_end(s, match_on(s, offset, BL_PATH_LONGEST - at, match_start(s)));
}

#define MATCH_CROOKED 0x10000

/* One step of match_is_crooked: up to MATCH_STEP bytes; `state` is the last byte, the one before, and the verdict. */
BL_STEP __u32 match_crooked_some(struct event_scratch *s, __u32 from, __u32 length, __u32 state)
{
	__u32 i, last = state & 0xff, before = state >> 8 & 0xff;

	if (!s || from > sizeof(*s) - MATCH_STEP)
		return MATCH_CROOKED;
	for (i = 0; i < MATCH_STEP && i < length; i++) {
		__u32 here = (__u8)((const char *)s)[from + i];

		if (here == '/' && last == '/')
			return MATCH_CROOKED;
		if (last == '.' && before == '/' && (here == '/' || here == '.'))
			return MATCH_CROOKED;
		before = last;
		last = here;
	}
	return before << 8 | last;
}

/* Names that do not say where they lead by themselves: with `//`, `/./` or `/../`; and very long ones. */
BL_STEP int match_is_crooked(struct event_scratch *s, __u32 from, __u32 length)
{
	__u32 i, state = 0;

	if (!s || from > sizeof(*s) - BL_PATH_LONGEST || length > 8 * MATCH_STEP)
		return 1;
	if (length && ((const char *)s)[from] != '/')
		state = '/';
	for (i = 0; i < 8; i++) {
		state = match_crooked_some(s, from, length, state);
		if (state & MATCH_CROOKED)
			return 1;
		if (length <= MATCH_STEP)
			break;
		from += MATCH_STEP;
		length -= MATCH_STEP;
	}
	return state == ('/' << 8 | '.');
}

/* Are `length` bytes of the scratch at `a` and at `b` the same? Only up to 512 bytes: longer ones count as different. */
BL_STEP int match_same(struct event_scratch *s, __u32 a, __u32 b, __u32 length)
{
	const char *x, *y;
	__u64 differ = 0;
	__u32 i, rest;

	if (!s || a > sizeof(*s) - 520 || b > sizeof(*s) - 520 || length > 512)
		return 0;
	x = (const char *)s + a;
	y = (const char *)s + b;
	for (i = 0; i < 64 && i < length / 8; i++)
		differ |= *(const __u64 *)(x + i * 8) ^ *(const __u64 *)(y + i * 8);
	rest = length & 7;
	if (rest) {
		i = length & 504;
		differ |= (*(const __u64 *)(x + i) ^ *(const __u64 *)(y + i)) << (64 - rest * 8);
	}
	return !differ;
}

/*
 * Classes of string `str` as it was asked for; a relative one is continued from the base in walk `index`.
 */
BL_STEP __u32 match_asked(struct event_scratch *s, __u32 str, __u32 index)
{
	__u32 from, length, at, base;
	__u64 state;

	if (!s || str >= BL_STR_MAX)
		return ~0U;
	length = s->head.str[str].length;
	from = event_offset_of(s, str);
	if (!length)
		return 0;
	if (s->head.flags & BL_EVENT_TRUNCATED || length > BL_PATH_LONGEST ||
	    from > sizeof(*s) - BL_PATH_LONGEST)
		return ~0U;
	state = match_start(s);
	if (((const char *)s)[from] != '/') {
		at = index ? s->walk[1].at : s->walk[0].at;
		if (at > BL_PATH_LONGEST)
			return ~0U;
		base = index ? __builtin_offsetof(struct event_scratch, walk[1].text)
			     : __builtin_offsetof(struct event_scratch, walk[0].text);
		if (at + 1 < BL_PATH_LONGEST) /* not the root itself, which is a slash already */
			state = match_on(s, base + at, BL_PATH_LONGEST - at, state);
		state = match_on(s, base + BL_PATH_LONGEST, 1, state);
	}
	return match_end(s, match_on(s, from, length, state));
}

/*
 * String `str` is a path that is known only by its text: adds the directory it starts at as string `base`, and the classes of
 * the whole.
 */
BL_STEP int match_named(struct event_scratch *s, __u32 str, __u32 base, int dirfd)
{
	if (!s || str >= BL_STR_MAX || base >= BL_STR_MAX)
		return -1;
	if (path_is_relative(s, str)) {
		path_walk_base(s, 1, dirfd);
		path_add(s, 1, base);
	}
	if (!(s->want & BL_WANT_PATH))
		return 0;
	if (match_is_crooked(s, event_offset_of(s, str), s->head.str[str].length))
		s->found = ~0U;
	else
		s->found |= match_asked(s, str, 1);
	return 0;
}

/* Does the automaton, or the kind itself, want this event? `classes` are BL_CLASS_*. */
static __always_inline bool match_wanted(struct event_scratch *s, __u32 classes)
{
	__u32 wanted = s->found | s->path_any;
	__u32 shift = s->head.result < 0 && s->head.result != -115 ? BL_CLASS_FAILED_SHIFT : 0;

	if (wanted & (classes << shift))
		return true;
	return wanted & (classes << (shift + BL_CLASS_CONTAINER_SHIFT)) &&
	       event_place() != BL_SCOPE_HOST;
}

/* 1 when an event with the paths seen so far is wanted, else 0. */
static __always_inline int match_verdict(struct event_scratch *s, __u32 classes)
{
	if (!(s->want & BL_WANT_PATH) || match_wanted(s, classes))
		return 1;
	event_count(BL_SENSOR_STAT_not_path);
	return 0;
}

#endif
