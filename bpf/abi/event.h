/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Security events (rings bl_procs and bl_events, recordings): one record shape for every kind.
 *
 * A record is a struct bl_event followed by its strings. Texts have no closing NUL. Everything a
 * reader needs to bound a record is in the record: offsets and lengths count from its first byte.
 */
#ifndef BL_ABI_EVENT_H
#define BL_ABI_EVENT_H

#include "addr.h"

/*
 * Kinds: X(name, number, x86-64 syscall or -1, i386 syscall or -1, shape).
 * The name is what rules call evt.type. Numbers are part of recordings: never reuse one.
 * The shape says how the kernel side reads the arguments (enum bl_event_shape).
 * comm: num[0] and num[1] are the pid and tid of who was renamed, str[0] the new name; the head is who
 * did it. clone: the head is the parent, the facts are the child's, the result is its pid.
 */
#define BL_EVENT_KINDS(X)                                                                  \
	X(proc, 1, -1, -1, task)       /* snapshot of a process that was there before */   \
	X(execve, 2, 59, 11, exec)     /* success, by whichever call; failure of execve */ \
	X(execveat, 3, 322, 358, exec) /* failure only */                                  \
	X(clone, 4, -1, -1, task)      /* a new process; num[0] clone flags */             \
	X(procexit, 5, -1, -1, exit)   /* the whole process ended */                       \
	X(comm, 6, -1, -1, comm)       /* renamed itself: prctl, /proc/PID/comm */         \
	X(open, 10, 2, 5, open)                                                            \
	X(openat, 11, 257, 295, open)                                                      \
	X(openat2, 12, 437, 437, open)                                                     \
	X(creat, 13, 85, 8, open)                                                          \
	X(open_by_handle_at, 14, 304, 342, open)                                           \
	X(read, 20, 0, 3, io)                                                              \
	X(write, 21, 1, 4, io)                                                             \
	X(pread64, 22, 17, 180, io)                                                        \
	X(pwrite64, 23, 18, 181, io)                                                       \
	X(readv, 24, 19, 145, fd)                                                          \
	X(writev, 25, 20, 146, fd)                                                         \
	X(preadv, 26, 295, 333, fd)                                                        \
	X(pwritev, 27, 296, 334, fd)                                                       \
	X(sendfile, 28, 40, 239, fd)                                                       \
	X(splice, 29, 275, 313, fd)                                                        \
	X(copy_file_range, 30, 326, 377, fd)                                               \
	X(truncate, 31, 76, 193, path)                                                     \
	X(ftruncate, 32, 77, 194, fd)                                                      \
	X(fallocate, 33, 285, 324, fd)                                                     \
	X(rename, 40, 82, 38, path2)                                                       \
	X(renameat, 41, 264, 302, at2)                                                     \
	X(renameat2, 42, 316, 353, at2)                                                    \
	X(unlink, 43, 87, 10, path)                                                        \
	X(unlinkat, 44, 263, 301, at)                                                      \
	X(rmdir, 45, 84, 40, path)                                                         \
	X(link, 46, 86, 9, path2)                                                          \
	X(linkat, 47, 265, 303, at2)                                                       \
	X(symlink, 48, 88, 83, path2)                                                      \
	X(symlinkat, 49, 266, 304, symlinkat)                                              \
	X(mkdir, 50, 83, 39, path)                                                         \
	X(mkdirat, 51, 258, 296, at)                                                       \
	X(mknod, 52, 133, 14, path)                                                        \
	X(mknodat, 53, 259, 297, at)                                                       \
	X(chmod, 60, 90, 15, path)                                                         \
	X(fchmod, 61, 91, 94, fd)                                                          \
	X(fchmodat, 62, 268, 306, at)                                                      \
	X(fchmodat2, 63, 452, 452, at)                                                     \
	X(chown, 64, 92, 212, path)                                                        \
	X(lchown, 65, 94, 198, path)                                                       \
	X(fchown, 66, 93, 207, fd)                                                         \
	X(fchownat, 67, 260, 298, at)                                                      \
	X(mount, 70, 165, 21, path2) /* source, target */                                  \
	X(umount2, 71, 166, 52, path)                                                      \
	X(fsopen, 72, 430, 430, path)                                                      \
	X(fsconfig, 73, 431, 431, fd)                                                      \
	X(fsmount, 74, 432, 432, fd)                                                       \
	X(move_mount, 75, 429, 429, at2)                                                   \
	X(open_tree, 76, 428, 428, at)                                                     \
	X(mount_setattr, 77, 442, 442, at)                                                 \
	X(pivot_root, 78, 155, 217, path2)                                                 \
	X(chroot, 79, 161, 61, path)                                                       \
	X(chdir, 80, 80, 12, path) /* str[1]: the new directory */                         \
	X(fchdir, 81, 81, 133, fd)                                                         \
	X(setuid, 90, 105, 213, num)                                                       \
	X(setgid, 91, 106, 214, num)                                                       \
	X(setreuid, 92, 113, 203, num)                                                     \
	X(setregid, 93, 114, 204, num)                                                     \
	X(setresuid, 94, 117, 208, num)                                                    \
	X(setresgid, 95, 119, 210, num)                                                    \
	X(setfsuid, 96, 122, 215, num)                                                     \
	X(setfsgid, 97, 123, 216, num)                                                     \
	X(capset, 98, 126, 185, num)                                                       \
	X(setsid, 99, 112, 66, num)                                                        \
	X(setpgid, 100, 109, 57, num)                                                      \
	X(setns, 101, 308, 346, fd)                                                        \
	X(unshare, 102, 272, 310, num)                                                     \
	X(prctl, 103, 157, 172, num)                                                       \
	X(ptrace, 110, 101, 26, num)                                                       \
	X(process_vm_readv, 111, 310, 347, num)                                            \
	X(process_vm_writev, 112, 311, 348, num)                                           \
	X(kill, 113, 62, 37, num)                                                          \
	X(tkill, 114, 200, 238, num)                                                       \
	X(tgkill, 115, 234, 270, num)                                                      \
	X(pidfd_open, 116, 434, 434, num)                                                  \
	X(pidfd_getfd, 117, 438, 438, num)                                                 \
	X(pidfd_send_signal, 118, 424, 424, num)                                           \
	X(socket, 120, 41, 359, sock_result)                                               \
	X(socketpair, 121, 53, 360, num)                                                   \
	X(connect, 122, 42, 362, sock_addr)                                                \
	X(accept, 123, 43, -1, sock_result)                                                \
	X(accept4, 124, 288, 364, sock_result)                                             \
	X(bind, 125, 49, 361, sock_addr)                                                   \
	X(listen, 126, 50, 363, sock)                                                      \
	X(sendto, 127, 44, 369, sock_send)                                                 \
	X(sendmsg, 128, 46, 370, sock_send)                                                \
	X(sendmmsg, 129, 307, 345, sock_send)                                              \
	X(recvfrom, 130, 45, 371, sock_recv)                                               \
	X(recvmsg, 131, 47, 372, sock_recv)                                                \
	X(recvmmsg, 132, 299, 337, sock_recv)                                              \
	X(shutdown, 133, 48, 373, sock)                                                    \
	X(pipe, 140, 22, 42, num)                                                          \
	X(pipe2, 141, 293, 331, num)                                                       \
	X(dup, 142, 32, 41, fd)                                                            \
	X(dup2, 143, 33, 63, fd)                                                           \
	X(dup3, 144, 292, 330, fd)                                                         \
	X(fcntl, 145, 72, 55, fd) /* only F_DUPFD and F_DUPFD_CLOEXEC */                   \
	X(close, 146, 3, 6, num)                                                           \
	X(memfd_create, 147, 319, 356, path)                                               \
	X(mmap, 150, 9, 192, num)      /* only with PROT_EXEC */                           \
	X(mprotect, 151, 10, 125, num) /* only with PROT_EXEC */                           \
	X(pkey_mprotect, 152, 329, 380, num)                                               \
	X(init_module, 160, 175, 128, num)                                                 \
	X(finit_module, 161, 313, 350, fd)                                                 \
	X(delete_module, 162, 176, 129, path)                                              \
	X(bpf, 163, 321, 357, num)                                                         \
	X(userfaultfd, 164, 323, 374, num)                                                 \
	X(keyctl, 165, 250, 288, num)                                                      \
	X(add_key, 166, 248, 286, num)                                                     \
	X(request_key, 167, 249, 287, num)                                                 \
	X(perf_event_open, 168, 298, 336, num)                                             \
	X(io_uring_setup, 169, 425, 425, num)                                              \
	X(io_uring_enter, 170, 426, 426, num)                                              \
	X(io_uring_register, 171, 427, 427, num)                                           \
	X(flow, 200, -1, -1, none) /* made in user space from a flow of the datapath */    \
	X(lost, 201, -1, -1, none) /* made in user space: records were lost */

enum bl_event_kind {
#define X(name, number, nr64, nr32, shape) BL_EVENT_##name = number,
	BL_EVENT_KINDS(X)
#undef X
		BL_EVENT_KIND_MAX = 256
};

/*
 * How the arguments of a syscall are read at its end. num[] always has the six raw arguments; openat2
 * has flags and mode of its struct in num[4] and num[5], which it does not use itself.
 */
enum bl_event_shape {
	BL_SHAPE_none,
	BL_SHAPE_num,	      /* nothing else */
	BL_SHAPE_fd,	      /* num[0] is a descriptor: str[1] its path, or a socket */
	BL_SHAPE_io,	      /* the same, and str[2] is the data: num[1], at most result bytes */
	BL_SHAPE_path,	      /* num[0] is a path */
	BL_SHAPE_at,	      /* num[0] directory, num[1] path */
	BL_SHAPE_path2,	      /* num[0] and num[1] are paths */
	BL_SHAPE_at2,	      /* num[0] directory, num[1] path, num[2] directory, num[3] path */
	BL_SHAPE_symlinkat,   /* num[0] target text, num[1] directory, num[2] path */
	BL_SHAPE_open,	      /* path as of `path`, or `at`; the result is a descriptor */
	BL_SHAPE_sock,	      /* num[0] is a socket */
	BL_SHAPE_sock_result, /* the result is a socket */
	BL_SHAPE_sock_addr,   /* num[0] is a socket, num[1] an address of num[2] bytes */
	BL_SHAPE_sock_send,   /* socket with the address or message that is sent to */
	BL_SHAPE_sock_recv,   /* socket with the address that was received from */
	BL_SHAPE_exec,
	BL_SHAPE_task,
	BL_SHAPE_exit,
	BL_SHAPE_comm,
};

/* Strings of a record. */
#define BL_STR_PATH 0 /* path as the program asked for it; exec: file name; unix socket: its path */
#define BL_STR_RESOLVED 1 /* file that was reached, seen from the process' root; exec: the binary */
#define BL_STR_PATH2 2	  /* second path; io: data; exec, proc: arguments, each closed by a NUL */
#define BL_STR_BASE \
	3 /* directory that a relative str[0] starts at; exec, proc: working directory */
#define BL_STR_BASE2 4 /* the same of str[2]; exec, proc: environment, each closed by a NUL */
#define BL_STR_FACTS 5 /* struct bl_event_file, _sock or _task, 8-byte aligned */
#define BL_STR_MAX 6

#define BL_EVENT_COMPAT 0x1    /* 32-bit system call; `num` as that ABI has them */
#define BL_EVENT_URING 0x2     /* submitted through io_uring; the result is not known yet (0) */
#define BL_EVENT_TRUNCATED 0x4 /* a string was longer than what is here */
#define BL_EVENT_TAMPERED \
	0x8 /* user memory changed during the call: str[0] is what the kernel was given */
#define BL_EVENT_UNREAD 0x10	   /* user memory could not be read */
#define BL_EVENT_NAME_CHANGED 0x20 /* sock_send, sock_recv: another peer than the last time */

struct bl_event_str {
	__u16 offset; /* from the start of the record; 0 with length 0: absent */
	__u16 length;
};

struct bl_event {
	__u64 time_ns;	/* CLOCK_BOOTTIME */
	__u64 start_ns; /* of the thread group leader, CLOCK_BOOTTIME: with pid the process key */
	__u64 cgroup;	/* cgroup2 id */
	__s64 result;	/* of the system call; negative errno */
	__u32 pid;	/* thread group, initial namespace */
	__u32 tid;
	__u32 uid; /* effective, initial user namespace */
	__u32 gid;
	__u64 num[6];
	struct bl_event_str str[BL_STR_MAX];
	__u32 size;  /* whole record */
	__u16 kind;  /* enum bl_event_kind */
	__u16 flags; /* BL_EVENT_* */
};
BL_STATIC_ASSERT(sizeof(struct bl_event) == 128, "bl_event");

#define BL_FILE_CREATED 0x1 /* this call made it */
#define BL_FILE_UPPER 0x2   /* in the upper layer of an overlay */
#define BL_FILE_LOWER 0x4   /* in a lower layer of an overlay */
#define BL_FILE_MEMFD 0x8
#define BL_FILE_WRITABLE 0x10 /* exec: the caller may write it */
#define BL_FILE_DELETED 0x20  /* has no name any more */

/* A file reached: open, exec (in bl_event_task), fd. */
struct bl_event_file {
	__u64 ino;
	__u64 ctime_ns;
	__u64 mtime_ns;
	__u32 dev;   /* kernel's s_dev: major << 20 | minor */
	__u16 mode;  /* S_IFMT and permissions */
	__u16 flags; /* BL_FILE_* */
};
BL_STATIC_ASSERT(sizeof(struct bl_event_file) == 32, "bl_event_file");

#define BL_SOCK_CONNECTED 0x1
#define BL_SOCK_LISTENING 0x2
#define BL_SOCK_ACCEPTED 0x4 /* came from accept: the other end is the client */

/* A socket. Addresses zero where not known or not IP. */
struct bl_event_sock {
	union bl_addr local;
	union bl_addr remote;
	__be16 local_port;
	__be16 remote_port;
	__u16 family;	/* AF_* */
	__u16 type;	/* SOCK_* */
	__u16 protocol; /* IPPROTO_* */
	__u8 state;	/* TCP state */
	__u8 flags;	/* BL_SOCK_* */
	__u32 pad;
};
BL_STATIC_ASSERT(sizeof(struct bl_event_sock) == 48, "bl_event_sock");

/* A process: exec, clone (of the child), proc. */
struct bl_event_task {
	__u64 start_ns; /* of this process, CLOCK_BOOTTIME */
	__u64 parent_start_ns;
	__u64 cap_inheritable;
	__u64 cap_permitted;
	__u64 cap_effective;
	__u64 pidns_start_ns; /* start of the init of its pid namespace */
	struct bl_event_file exe;
	__u64 cgroup;
	__u32 pid;  /* thread group, initial namespace */
	__u32 ppid; /* real parent's thread group */
	__u32 pgid;
	__u32 sid;
	__u32 vpid; /* in its own pid namespace */
	__u32 vpgid;
	__u32 vsid;
	__u32 loginuid; /* 0xffffffff: not set */
	__u32 session;	/* audit session */
	__u32 tty;	/* device number as stat has it; 0: none */
	__u32 uid;	/* effective */
	__u32 gid;
	__u32 ns_mnt; /* inode numbers */
	__u32 ns_pid;
	__u32 ns_net;
	__u32 ns_user;
	__u32 ns_uts;
	__u32 ns_ipc;
	__u32 ns_cgroup;
	__u32 pad;
	char comm[16];
};
BL_STATIC_ASSERT(sizeof(struct bl_event_task) == 184, "bl_event_task");

/*
 * What is wanted (map bl_want, index generation * BL_EVENT_KIND_MAX + kind): the loaded rules decide.
 */
#define BL_WANT_ON 0x1
#define BL_WANT_SUCCESS 0x2	   /* only results >= 0 (and EINPROGRESS) */
#define BL_WANT_FAILURE 0x4	   /* only errors */
#define BL_WANT_PATH 0x8	   /* only if the automaton says so: see bl_path_table */
#define BL_WANT_COMM 0x10	   /* only if bl_comm has (kind, comm) */
#define BL_WANT_CONTAINER 0x20	   /* only in containers */
#define BL_WANT_HOST 0x40	   /* only outside */
#define BL_WANT_DATA 0x80	   /* io and sockets: the first bytes of the data */
#define BL_WANT_ENV 0x100	   /* exec: environment */
#define BL_WANT_INET 0x200	   /* sockets: only IPv4 and IPv6 */
#define BL_WANT_NOT_TCP 0x400	   /* send and receive: only if not TCP, and the peer changed */
#define BL_WANT_SHAPE_SHIFT 16	   /* set by the loader: enum bl_event_shape, eight bits */
#define BL_WANT_ENTERED 0x80000000 /* set by the loader: bl_entered has what was given */

struct bl_want {
	__u32 flags;	/* BL_WANT_* */
	__u32 path_any; /* classes (BL_CLASS_*) that are wanted whatever the path */
};
BL_STATIC_ASSERT(sizeof(struct bl_want) == 8, "bl_want");

struct bl_comm_key {
	__u32 kind;
	char comm[16];
};
BL_STATIC_ASSERT(sizeof(struct bl_comm_key) == 20, "bl_comm_key");

/* Map bl_comm: bit 1 << generation where the name is wanted. */

/*
 * The name of a process as rules know it: that of its last exec, which it cannot change (map bl_name, key thread group).
 * Absent, of another epoch or of another start: not known, so nothing is held back.
 */
struct bl_name {
	__u64 start_ns; /* CLOCK_BOOTTIME; whole ticks of 10 ms where /proc told it */
	__u32 epoch;
	char comm[16];
	__u32 pad;
};
BL_STATIC_ASSERT(sizeof(struct bl_name) == 32, "bl_name");
#define BL_TICK_NS 10000000

/* Flags of a cgroup (map bl_scope, key cgroup2 id). Absent: not known yet, so nothing is held back. */
#define BL_SCOPE_CONTAINER 0x1
#define BL_SCOPE_HOST 0x2

/*
 * Classes of an open; each wanted text of a path carries the classes it is wanted for.
 * The same four follow for containers only.
 */
#define BL_CLASS_READ 0x1  /* O_RDONLY, O_RDWR */
#define BL_CLASS_WRITE 0x2 /* O_WRONLY, O_RDWR */
#define BL_CLASS_EXEC 0x4  /* asked to be made with an x bit */
#define BL_CLASS_OTHER 0x8 /* every other event with a path */
#define BL_CLASS_CONTAINER_SHIFT 4
#define BL_CLASS_FAILED_SHIFT 8 /* the same eight for calls that failed */

/*
 * The automaton over paths (Aho-Corasick, made in user space). A row of `cell` is a state: its first
 * cell holds the classes of the texts that end there, the others the next state by symbol. A next state
 * is the offset of its row in bytes, with BL_PATH_HIT when that row has classes. `symbol` maps a byte to
 * the offset of its column in bytes, so that a step is two loads and no multiplication.
 */
#define BL_PATH_HIT 0x80000000
#define BL_PATH_CELLS (1 << 20)
#define BL_PATH_SYMBOLS 128 /* columns at most */
#define BL_PATH_ROW_MASK (BL_PATH_CELLS * 4 - 4)
#define BL_PATH_COLUMN_MASK (BL_PATH_SYMBOLS * 4 - 4)
#define BL_PATH_LONGEST 4096

/* Map bl_path, one entry a generation. */
struct bl_path_table {
	__u16 symbol[256];
	__u32 start; /* state after the start of a path */
	__u32 end;   /* column of the end of a path */
	__u32 cell[BL_PATH_CELLS + BL_PATH_SYMBOLS];
};
BL_STATIC_ASSERT(sizeof(struct bl_path_table) == 520 + 4 * (BL_PATH_CELLS + BL_PATH_SYMBOLS),
		 "bl_path_table");

/*
 * Which syscalls are looked at (.bss of the object, so that an unwanted one costs one load): by number
 * the kind as a 64-bit call in the low byte, as an i386 call in the high byte.
 */
#define BL_SYSCALL_MAX 1024
#define BL_SYSCALL_SOCKETCALL 255 /* i386: the first argument says which call it is */

struct bl_syscall_table {
	__u16 kinds[BL_SYSCALL_MAX];
	__u8 socketcall[32];
};
BL_STATIC_ASSERT(sizeof(struct bl_syscall_table) == 2 * BL_SYSCALL_MAX + 32, "bl_syscall_table");

/* Settings fixed when a sensor is loaded (read-only data). */
struct bl_sensor_config {
	__u64 scope_cgroup; /* cgroup2 id: only what runs at or below it; 0: the whole machine */
	__u32 scope_level;  /* its depth; the root is 0 */
	__u32 pad;
};
BL_STATIC_ASSERT(sizeof(struct bl_sensor_config) == 16, "bl_sensor_config");

/* Map bl_sensor, one entry: which half of bl_want, bl_path and bl_comm is in force. */
struct bl_sensor {
	__u32 generation; /* 0 or 1 */
	__u32 epoch;	  /* changes when sensors were off meanwhile: see bl_name */
};
BL_STATIC_ASSERT(sizeof(struct bl_sensor) == 8, "bl_sensor");

/* What a thread gave to the kernel, copied before the call (map bl_entered, key pid << 32 | tid). */
#define BL_ENTERED_LONGEST 512
struct bl_entered {
	__u32 kind;
	__s32 length[2]; /* of the two paths, or of the address; negative: not there */
	__u32 pad;
	char text[2][BL_ENTERED_LONGEST];
};
BL_STATIC_ASSERT(sizeof(struct bl_entered) == 16 + 2 * BL_ENTERED_LONGEST, "bl_entered");

/* The last peer of a socket that is not TCP (map bl_peer). */
struct bl_peer_key {
	__u64 sock;
	__u64 ino; /* of the socket: addresses in memory are used again */
	__u32 receive;
	__u32 pad;
};
BL_STATIC_ASSERT(sizeof(struct bl_peer_key) == 24, "bl_peer_key");

struct bl_peer {
	union bl_addr addr;
	__be16 port;
	__u16 pad[3];
};
BL_STATIC_ASSERT(sizeof(struct bl_peer) == 24, "bl_peer");

/* Counters of the sensors (per-CPU array bl_sensor_stat). X(name, number) */
#define BL_SENSOR_STATS(X)                                                           \
	X(procs, 0)	   /* records put into bl_procs */                           \
	X(events, 1)	   /* records put into bl_events */                          \
	X(not_in_scope, 2) /* of other cgroups than the sensor's */                  \
	X(not_result, 3)   /* succeeded or failed, where only the other is wanted */ \
	X(not_path, 4)	   /* no wanted path */                                      \
	X(not_comm, 5)	   /* no wanted program name */                              \
	X(not_place, 6)	   /* container or host, where the other is wanted */        \
	X(not_socket, 7)   /* family, protocol or an unchanged peer */               \
	X(lost_exec, 8)	   /* bl_procs was full */                                   \
	X(lost_clone, 9)                                                             \
	X(lost_exit, 10)                                                             \
	X(lost_comm, 11)                                                             \
	X(lost_file, 12) /* bl_events was full */                                    \
	X(lost_socket, 13)                                                           \
	X(lost_other, 14)                                                            \
	X(truncated, 15) /* records with a string cut short */                       \
	X(unread, 16)	 /* records with user memory that could not be read */       \
	X(tampered, 17)                                                              \
	X(nested, 18) /* a sensor ran while another was at work on the same CPU */

enum bl_sensor_stat {
#define X(name, number) BL_SENSOR_STAT_##name = number,
	BL_SENSOR_STATS(X)
#undef X
		BL_SENSOR_STAT_MAX
};

#endif
