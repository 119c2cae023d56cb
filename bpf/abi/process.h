/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which process stands behind a socket. */
#ifndef BL_ABI_PROCESS_H
#define BL_ABI_PROCESS_H

#include "addr.h"

/* Key of a process: never the pid alone. All zero: not known. */
struct bl_process {
	__u64 start_ns; /* task_struct.start_boottime of the thread group leader */
	__u64 cgroup;	/* cgroup2 id */
	__u32 pid;	/* thread group id in the initial pid namespace */
	__u32 uid;
	char comm[16];
};
BL_STATIC_ASSERT(sizeof(struct bl_process) == 40, "bl_process");

/*
 * bl_owner: array, who connected the last TCP sockets. A socket's slot is its cookie modulo the number of slots; it is its own
 * while `cookie` says so. It is needed from connect() until the first packet, microseconds later.
 */
#define BL_OWNER_SLOTS 8192
struct bl_owner {
	__u64 cookie; /* 0: being written */
	struct bl_process process;
};
BL_STATIC_ASSERT(sizeof(struct bl_owner) == 48, "bl_owner");

/* Storage of a socket (bl_sock): its owner and the service it was connected to. */
struct bl_sock {
	struct bl_process process;
	union bl_addr svc_addr; /* service address the program asked for; zero: none */
	__be16 svc_port;
	__u16 pad; /* zero */
	__u32 svc_id;
	__u32 backend;
	__u32 pad2; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_sock) == 72, "bl_sock");

#endif
