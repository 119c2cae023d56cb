/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * System calls on a descriptor of any kind.
 */
#ifndef BL_SENSOR_ON_DESCRIPTOR_H
#define BL_SENSOR_ON_DESCRIPTOR_H

#include "sensor/on_socket.h"

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

#endif
