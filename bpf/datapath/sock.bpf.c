/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sockets of one cgroup subtree: who owns them, and services translated once, when a program names
 * its peer. connect4/6      service -> backend for TCP and connected UDP        (sock_addr)
 *   sendmsg4/6      the same for each datagram of an unconnected socket
 *   recvmsg4/6      backend -> service in the sender's address that the program sees
 *   getpeername4/6  the service address that was asked for
 *   post_bind4/6, sock_create   the owner of servers and of raw sockets
 * Reads bl_svc bl_slot bl_backend; writes bl_sock bl_owner bl_sock_rev bl_affinity bl_metric; a refused
 * connection goes to bl_flows. When storage fails the connection still works, without its owner or,
 * for unconnected UDP, without the reverse name; both are counted.
 */
#include "lib/common.h"
#include "lib/emit.h"
#include "lib/lb.h"
#include "lib/sock.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Cookie of the node's network namespace; 0 where the kernel does not say (before 5.14). */
const volatile __u64 bl_node_netns;

#define ECONNREFUSED 111
#define SOCK_RAW 3

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct bl_sock_rev_key);
	__type(value, struct bl_sock_rev);
} bl_sock_rev SEC(".maps");

static __always_inline void fill_process(struct bl_process *process)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	process->pid = bpf_get_current_pid_tgid() >> 32;
	process->uid = bpf_get_current_uid_gid();
	process->cgroup = bpf_get_current_cgroup_id();
	process->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	bpf_get_current_comm(process->comm, sizeof(process->comm));
}

/* The socket's record, if it has one. */
static __always_inline struct bl_sock *known_record(struct bpf_sock *sk)
{
	return sk ? bpf_sk_storage_get(&bl_sock, sk, NULL, 0) : NULL;
}

static __always_inline struct bl_sock *record_of(struct bpf_sock *sk)
{
	struct bl_sock *record;

	if (!sk)
		return NULL;
	record = bpf_sk_storage_get(&bl_sock, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!record)
		count(BL_METRIC_sock_storage_failed);
	return record;
}

static __always_inline int own(struct bpf_sock *sk)
{
	struct bl_sock *record = record_of(sk);

	if (record)
		fill_process(&record->process);
	return 1;
}

/* The owner of a TCP client that needs no record: until its first packet. */
static __always_inline void own_slot(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct bl_owner *owner = owner_slot(cookie);

	if (!owner)
		return;
	*(volatile __u64 *)&owner->cookie = 0;
	barrier();
	fill_process(&owner->process);
	barrier();
	*(volatile __u64 *)&owner->cookie = cookie;
}

static __always_inline void get_addr(struct bpf_sock_addr *ctx, bool v6, union bl_addr *addr)
{
	if (v6) {
		addr->word[0] = ctx->user_ip6[0];
		addr->word[1] = ctx->user_ip6[1];
		addr->word[2] = ctx->user_ip6[2];
		addr->word[3] = ctx->user_ip6[3];
	} else {
		addr_set_v4(addr, ctx->user_ip4);
	}
}

static __always_inline void set_addr(struct bpf_sock_addr *ctx, bool v6, const union bl_addr *addr,
				     __be16 port)
{
	if (v6) {
		ctx->user_ip6[0] = addr->word[0];
		ctx->user_ip6[1] = addr->word[1];
		ctx->user_ip6[2] = addr->word[2];
		ctx->user_ip6[3] = addr->word[3];
	} else {
		ctx->user_ip4 = addr->word[3];
	}
	ctx->user_port = port;
}

/* Reports a connection that is refused because its service has no backend. Its source is not bound
 * yet. */
static __noinline void report_refused(struct bl_svc_key *frontend, struct bl_sock *record)
{
	struct bl_flow_event *event;

	count_drop(BL_DROP_SERVICE_BACKEND_NOT_FOUND);
	count(BL_METRIC_svc_no_backend);
	event = emit_reserve();
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->key.dst = frontend->addr;
	event->key.dport = frontend->port;
	event->key.proto = frontend->proto;
	event->svc_addr = frontend->addr;
	event->svc_port = frontend->port;
	event->kind = BL_FLOW_dropped;
	event->reason = BL_DROP_SERVICE_BACKEND_NOT_FOUND;
	if (record)
		event->process[0] = record->process;
	emit_submit(event);
}

static __always_inline void remember_reverse(struct bpf_sock_addr *ctx,
					     const struct bl_backend *backend,
					     const struct bl_sock *record)
{
	struct bl_sock_rev_key key = {
		.cookie = bpf_get_socket_cookie(ctx), .addr = backend->addr, .port = backend->port};
	struct bl_sock_rev value = {
		.addr = record->svc_addr, .port = record->svc_port, .backend = record->backend};

	if (bpf_map_update_elem(&bl_sock_rev, &key, &value, BPF_ANY))
		count(BL_METRIC_sock_rev_failed);
}

/* Is it a service for this socket? A workload's loopback addresses are its own. */
static __always_inline bool serves(struct bpf_sock_addr *ctx, const struct bl_svc *svc)
{
	if (!svc || svc->flags & BL_SVC_MOVED)
		return false;
	return !(svc->flags & BL_SVC_NODE_ONLY) || bpf_get_netns_cookie(ctx) == bl_node_netns;
}

/* 1: go on (to the backend, if it was a service), 0: refuse. */
static __always_inline int translate(struct bpf_sock_addr *ctx, bool v6, bool datagram)
{
	bool brief = !datagram && ctx->protocol == IPPROTO_TCP;
	struct bl_sock *record = brief ? known_record(ctx->sk) : record_of(ctx->sk);
	struct bl_svc_key frontend = {};
	struct bl_backend *backend = NULL;
	union bl_addr client = {};
	struct bl_svc *svc;
	__u32 id = 0;

	if (record && (!datagram || !record->process.pid))
		fill_process(&record->process);
	get_addr(ctx, v6, &frontend.addr);
	frontend.port = ctx->user_port;
	frontend.proto = ctx->protocol;
	svc = bpf_map_lookup_elem(&bl_svc, &frontend);
	if (!serves(ctx, svc)) {
		if (record && !datagram && record->svc_id) {
			record->svc_addr.half[0] = record->svc_addr.half[1] = 0;
			record->svc_id = 0;
		}
		if (brief && !record)
			own_slot(ctx);
		return 1;
	}
	if (brief && !record) {
		record = record_of(ctx->sk);
		if (record)
			fill_process(&record->process);
	}
	if (datagram && record && record->svc_id == svc->id &&
	    addr_equal(&record->svc_addr, &frontend.addr)) {
		/* Datagrams of one socket stay with their backend while it lives. */
		id = record->backend;
		backend = lb_backend(id);
		if (backend && backend->service == svc->id) {
			set_addr(ctx, v6, &backend->addr, backend->port);
			return 1;
		}
	}
	client.half[0] = bpf_get_netns_cookie(ctx);
	id = lb_select(svc, &client);
	backend = lb_backend(id);
	if (!backend) {
		report_refused(&frontend, record);
		refuse_with(-ECONNREFUSED);
		return 0;
	}
	count(BL_METRIC_svc_translated_sock);
	set_addr(ctx, v6, &backend->addr, backend->port);
	barrier_var(record); /* the verifier must see this very pointer being tested (6.18) */
	if (!record)
		return 1;
	record->svc_addr = frontend.addr;
	record->svc_port = frontend.port;
	record->svc_id = svc->id;
	record->backend = id;
	if (frontend.proto == IPPROTO_UDP)
		remember_reverse(ctx, backend, record);
	return 1;
}

/* Puts the service's address back as the sender of a datagram from one of its backends. */
static __always_inline int reverse(struct bpf_sock_addr *ctx, bool v6)
{
	struct bl_sock_rev_key key = {.cookie = bpf_get_socket_cookie(ctx)};
	struct bl_sock_rev *entry;

	get_addr(ctx, v6, &key.addr);
	key.port = ctx->user_port;
	entry = bpf_map_lookup_elem(&bl_sock_rev, &key);
	if (entry)
		set_addr(ctx, v6, &entry->addr, entry->port);
	return 1;
}

static __always_inline int peer_name(struct bpf_sock_addr *ctx, bool v6)
{
	struct bl_sock *record = known_record(ctx->sk);

	if (record && record->svc_id)
		set_addr(ctx, v6, &record->svc_addr, record->svc_port);
	return 1;
}

SEC("cgroup/connect4")
int bl_connect4(struct bpf_sock_addr *ctx)
{
	return translate(ctx, false, false);
}

SEC("cgroup/connect6")
int bl_connect6(struct bpf_sock_addr *ctx)
{
	return translate(ctx, true, false);
}

SEC("cgroup/sendmsg4")
int bl_sendmsg4(struct bpf_sock_addr *ctx)
{
	return translate(ctx, false, true);
}

SEC("cgroup/sendmsg6")
int bl_sendmsg6(struct bpf_sock_addr *ctx)
{
	return translate(ctx, true, true);
}

SEC("cgroup/recvmsg4")
int bl_recvmsg4(struct bpf_sock_addr *ctx)
{
	return reverse(ctx, false);
}

SEC("cgroup/recvmsg6")
int bl_recvmsg6(struct bpf_sock_addr *ctx)
{
	return reverse(ctx, true);
}

SEC("cgroup/getpeername4")
int bl_getpeer4(struct bpf_sock_addr *ctx)
{
	return peer_name(ctx, false);
}

SEC("cgroup/getpeername6")
int bl_getpeer6(struct bpf_sock_addr *ctx)
{
	return peer_name(ctx, true);
}

SEC("cgroup/post_bind4")
int bl_post_bind4(struct bpf_sock *ctx)
{
	return own(ctx);
}

SEC("cgroup/post_bind6")
int bl_post_bind6(struct bpf_sock *ctx)
{
	return own(ctx);
}

SEC("cgroup/sock_create")
int bl_sock_create(struct bpf_sock *ctx)
{
	/* Others are claimed when they connect, send or bind. */
	if (ctx->type == SOCK_RAW || ctx->protocol == IPPROTO_ICMP ||
	    ctx->protocol == IPPROTO_ICMPV6)
		return own(ctx);
	return 1;
}
