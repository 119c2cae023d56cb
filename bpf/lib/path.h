/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Paths and files: from the kernel's own objects back to text and facts.
 */
#ifndef BL_LIB_PATH_H
#define BL_LIB_PATH_H

#include "event.h"

#define PATH_S_IFMT 0170000
#define PATH_S_IFSOCK 0140000
#define PATH_S_IFREG 0100000
#define PATH_FMODE_CREATED 0x100000
#define PATH_MAGIC_PIPE 0x50495045
#define PATH_MAGIC_SOCKET 0x534F434B
#define PATH_MAGIC_ANON 0x09041934
#define PATH_MAGIC_NS 0x6e736673
#define PATH_MAGIC_OVERLAY 0x794c7630
#define PATH_COMPONENTS 16 /* of one step of a walk */

/* Up to PATH_COMPONENTS names further up. Returns 1 at the top. No lock is held: a rename meanwhile may mix two paths. */
BL_STEP int path_climb(struct path_walk *w)
{
	__u64 here, mount, root_dentry, root_mount;
	__u32 at, i;

	if (!w)
		return 1;
	here = w->dentry;
	mount = w->mount;
	root_dentry = w->root_dentry;
	root_mount = w->root_mount;
	at = w->at;
	for (i = 0; i < PATH_COMPONENTS; i++) {
		struct dentry *dentry = (struct dentry *)here;
		struct mount *m = (struct mount *)mount;
		__u64 parent, top;
		__u32 length;

		if (here == root_dentry && mount == root_mount)
			goto done;
		top = (__u64)event_read(m, mnt.mnt_root);
		if (here == top) {
			parent = (__u64)event_read(m, mnt_parent);
			if (parent == mount)
				goto done; /* the machine's root, or a mount that is nowhere */
			here = (__u64)event_read(m, mnt_mountpoint);
			mount = parent;
			continue;
		}
		parent = (__u64)event_read(dentry, d_parent);
		if (parent == here || !parent)
			goto done;
		length = event_read(dentry, d_name.len) & 255;
		if (at > BL_PATH_LONGEST || at < length + 1) {
			w->cut = 1;
			goto done;
		}
		at -= length + 1;
		barrier_var(at);
		at &= BL_PATH_LONGEST - 1;
		w->text[at] = '/';
		bpf_probe_read_kernel(&w->text[at + 1], length, event_read(dentry, d_name.name));
		here = parent;
	}
	w->dentry = here;
	w->mount = mount;
	w->at = at;
	return 0;
done:
	w->at = at;
	return 1;
}

/* Things without a place in the tree: `memfd:x`, `pipe:[12]`, `socket:[12]`, `anon_inode:[eventpoll]`. */
static __always_inline void path_pseudo(struct path_walk *w, struct dentry *dentry)
{
	__u32 at = BL_PATH_LONGEST, length, i;
	__u32 magic = event_read(event_read(dentry, d_sb), s_magic);
	__u64 number = event_read(event_read(dentry, d_inode), i_ino);

	if (magic == PATH_MAGIC_PIPE || magic == PATH_MAGIC_SOCKET || magic == PATH_MAGIC_NS) {
		w->text[--at] = ']';
		for (i = 0; i < 20; i++) {
			w->text[--at] = '0' + number % 10;
			number /= 10;
			if (!number)
				break;
		}
		at &= BL_PATH_LONGEST - 1;
		w->text[(at - 1) & (BL_PATH_LONGEST - 1)] = '[';
		at -= 8;
		at &= BL_PATH_LONGEST - 1;
		if (magic == PATH_MAGIC_PIPE) {
			__builtin_memcpy(&w->text[at], "  pipe:", 7);
			at += 2;
		} else if (magic == PATH_MAGIC_SOCKET) {
			__builtin_memcpy(&w->text[at], "socket:", 7);
		} else {
			__builtin_memcpy(&w->text[at], "    ns:", 7);
			at += 4;
		}
		w->at = at;
		return;
	}
	length = event_read(dentry, d_name.len) & 255;
	at -= length;
	bpf_probe_read_kernel(&w->text[at & (BL_PATH_LONGEST - 1)], length,
			      event_read(dentry, d_name.name));
	if (magic == PATH_MAGIC_ANON) {
		at -= 11;
		at &= BL_PATH_LONGEST - 1;
		__builtin_memcpy(&w->text[at], "anon_inode:", 11);
	}
	w->at = at & (BL_PATH_LONGEST - 1);
}

/*
 * The text of (vfsmount, dentry) as the current process' root sees it into walk `index`. A path longer than
 * BL_PATH_LONGEST loses its beginning. Returns the length.
 */
BL_STEP int path_walk(struct event_scratch *s, __u32 index, __u64 vfsmount, __u64 address)
{
	struct fs_struct *fs = event_read(bpf_get_current_task_btf(), fs);
	struct dentry *dentry = (struct dentry *)address;
	struct path_walk *w;
	__u32 i;

	if (!s)
		return -1;
	w = index ? &s->walk[1] : &s->walk[0];
	w->cut = 0;
	w->at = BL_PATH_LONGEST;
	w->text[BL_PATH_LONGEST] = '/'; /* between a base and what is relative to it */
	if (!address || !vfsmount)
		return 0;
	w->dentry = address;
	w->mount = vfsmount - bpf_core_field_offset(struct mount, mnt);
	if ((__u64)event_read(dentry, d_parent) == address &&
	    (address != (__u64)event_read((struct vfsmount *)vfsmount, mnt_root) ||
	     event_read(event_read(dentry, d_sb), s_magic) == PATH_MAGIC_NS)) {
		path_pseudo(w, dentry);
		return BL_PATH_LONGEST - w->at;
	}
	w->root_dentry = (__u64)event_read(fs, root.dentry);
	w->root_mount = (__u64)event_read(fs, root.mnt) - bpf_core_field_offset(struct mount, mnt);
	for (i = 0; i < BL_PATH_LONGEST / PATH_COMPONENTS; i++)
		if (path_climb(w))
			break;
	if (w->cut)
		s->head.flags |= BL_EVENT_TRUNCATED;
	if (w->at >= BL_PATH_LONGEST) {
		w->at = BL_PATH_LONGEST - 1;
		w->text[BL_PATH_LONGEST - 1] = '/';
	}
	return BL_PATH_LONGEST - w->at;
}

/* The text of walk `index` becomes string `str`. */
static __always_inline void path_add(struct event_scratch *s, __u32 index, __u32 str)
{
	struct path_walk *w = index ? &s->walk[1] : &s->walk[0];
	__u32 at = w->at;

	if (at >= BL_PATH_LONGEST)
		return;
	event_kernel_bytes(s, str, event_address(s, &w->text[at & (BL_PATH_LONGEST - 1)]),
			   BL_PATH_LONGEST - at);
}

/* The file of a descriptor of the current process; 0: none. */
static __always_inline struct file *path_file_of(int fd)
{
	struct files_struct *files = event_read(bpf_get_current_task_btf(), files);
	struct fdtable *table = event_read(files, fdt);
	__u64 slot = (__u64)event_read(table, fd);

	if (fd < 0 || (__u32)fd >= event_read(table, max_fds))
		return NULL;
	/* One pointer of an array: read as if it were the first member of something that the kernel has. */
	return (struct file *)event_read((struct list_head *)(slot + (__u32)fd * 8ULL), next);
}

/* The directory that a relative path starts at: of `dirfd`, or the working directory. */
static __always_inline int path_walk_base(struct event_scratch *s, __u32 index, int dirfd)
{
	struct fs_struct *fs;
	struct file *file;

	if (dirfd == -100 /* AT_FDCWD */) {
		fs = event_read(bpf_get_current_task_btf(), fs);
		return path_walk(s, index, event_address(s, event_read(fs, pwd.mnt)),
				 event_address(s, event_read(fs, pwd.dentry)));
	}
	file = path_file_of(dirfd);
	if (!file)
		return 0;
	return path_walk(s, index, event_address(s, event_read(file, f_path.mnt)),
			 event_address(s, event_read(file, f_path.dentry)));
}

static __always_inline int path_walk_file(struct event_scratch *s, __u32 index, struct file *file)
{
	return path_walk(s, index, event_address(s, event_read(file, f_path.mnt)),
			 event_address(s, event_read(file, f_path.dentry)));
}

/* Inode times: seconds and nanoseconds apart since 6.11, __i_ctime from 6.6 on. */
struct inode___6_6 {
	struct timespec64 __i_ctime;
	struct timespec64 i_mtime;
} __attribute__((preserve_access_index));
struct inode___5_10 {
	struct timespec64 i_ctime;
} __attribute__((preserve_access_index));
struct inode___6_7 {
	struct timespec64 __i_mtime;
} __attribute__((preserve_access_index));

static __always_inline void path_times(struct bl_event_file *facts, struct inode *inode)
{
	struct inode___6_6 *middle = (void *)inode;
	struct inode___6_7 *later = (void *)inode;
	struct inode___5_10 *old = (void *)inode;

	if (bpf_core_field_exists(inode->i_ctime_sec)) {
		facts->ctime_ns = event_read(inode, i_ctime_sec) * 1000000000ULL +
				  event_read(inode, i_ctime_nsec);
		facts->mtime_ns = event_read(inode, i_mtime_sec) * 1000000000ULL +
				  event_read(inode, i_mtime_nsec);
		return;
	}
	if (bpf_core_field_exists(middle->__i_ctime))
		facts->ctime_ns = BPF_CORE_READ(middle, __i_ctime.tv_sec) * 1000000000ULL +
				  BPF_CORE_READ(middle, __i_ctime.tv_nsec);
	else if (bpf_core_field_exists(old->i_ctime))
		facts->ctime_ns = BPF_CORE_READ(old, i_ctime.tv_sec) * 1000000000ULL +
				  BPF_CORE_READ(old, i_ctime.tv_nsec);
	if (bpf_core_field_exists(later->__i_mtime))
		facts->mtime_ns = BPF_CORE_READ(later, __i_mtime.tv_sec) * 1000000000ULL +
				  BPF_CORE_READ(later, __i_mtime.tv_nsec);
	else if (bpf_core_field_exists(middle->i_mtime))
		facts->mtime_ns = BPF_CORE_READ(middle, i_mtime.tv_sec) * 1000000000ULL +
				  BPF_CORE_READ(middle, i_mtime.tv_nsec);
}

/* An overlay's inode is followed by the dentry in its upper layer (all versions so far). */
static __always_inline __u32 path_layer(struct inode *inode)
{
	__u64 upper = 0;
	__s64 away;

	/* Not event_read(): where overlay is a module its types cannot be cast to (6.12). */
	if (bpf_core_type_exists(struct ovl_inode))
		away = (__s64)bpf_core_field_offset(struct ovl_inode, __upperdentry) -
		       (__s64)bpf_core_field_offset(struct ovl_inode, vfs_inode);
	else
		away = bpf_core_type_size(struct inode);
	bpf_probe_read_kernel(&upper, sizeof(upper), (void *)inode + away);
	return upper ? BL_FILE_UPPER : BL_FILE_LOWER;
}

static __always_inline void path_file_facts(struct bl_event_file *facts, struct file *file)
{
	struct dentry *dentry = event_read(file, f_path.dentry);
	struct inode *inode = event_read(file, f_inode);
	struct super_block *sb = event_read(inode, i_sb);
	char name[8] = {};

	facts->ino = event_read(inode, i_ino);
	facts->dev = event_read(sb, s_dev);
	facts->mode = event_read(inode, i_mode);
	path_times(facts, inode);
	if ((__u64)event_read(file, f_mode) & PATH_FMODE_CREATED)
		facts->flags |= BL_FILE_CREATED;
	if (event_read(sb, s_magic) == PATH_MAGIC_OVERLAY)
		facts->flags |= path_layer(inode);
	if (event_read(dentry, d_parent) == dentry) {
		bpf_probe_read_kernel(name, 6, event_read(dentry, d_name.name));
		if (!__builtin_memcmp(name, "memfd:", 6))
			facts->flags |= BL_FILE_MEMFD;
	} else if (!event_read(dentry, d_hash.pprev)) {
		facts->flags |= BL_FILE_DELETED;
	}
}

static __always_inline bool path_is_relative(struct event_scratch *s, __u32 str)
{
	__u32 offset = s->head.str[str].offset;

	if (!s->head.str[str].length || offset > EVENT_ROOM)
		return false;
	return ((const char *)&s->head)[offset] != '/';
}

#endif
