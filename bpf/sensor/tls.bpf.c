/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Plain text of TLS connections, where a library is given it or gives it.
 *   bl_tls_write   entry of SSL_write, SSL_write_ex, gnutls_record_send: remembers what the caller handed in
 *   bl_tls_read    the same of SSL_read, SSL_read_ex, gnutls_record_recv
 *   bl_tls_done    their return: copies what was taken or given
 *   bl_tls_go_write, bl_tls_go_read, bl_tls_go_done   the same of Go's crypto/tls.(*Conn): its arguments are in registers of
 *                  its own, and goroutines change threads
 *   bl_tls_begin   SSL_set_bio: a session gets its connection, its streams begin
 *   bl_tls_sent, bl_tls_received   tracepoints sock_send_length and sock_recv_length (6.3): which socket a library used
 *                  inside the call, where the session itself does not lead to it
 * Context: the calling thread. Reads bl_endpoint; writes bl_l7_account bl_metric bl_tls_call bl_tls_stream; events to
 * bl_l7. Only calls of chosen workloads (their socket's address has an account) are copied. Anything that cannot be read
 * or found counts in bl_metric l7_tls_unknown and is not told.
 */
#include "lib/common.h"
#include "lib/identity.h"
#include "lib/l7_ring.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TLS_S_IFMT 0170000
#define TLS_S_IFSOCK 0140000
#define TLS_BIO_SOCKET 0x0505 /* BIO_TYPE_SOCKET */

/* What a thread that is inside a library call handed in. */
struct tls_call {
	__u64 session;
	__u64 buffer;
	__u64 done; /* where the library writes how much it did; 0: it returns it */
	__u64 sock; /* struct sock that was used meanwhile; 0: none */
	__u32 layout;
	__u32 read;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64); /* thread */
	__type(value, struct tls_call);
} bl_tls_call SEC(".maps");

struct tls_stream_key {
	__u64 session;
	__u32 pid;
	__u32 pad; /* zero */
};

struct tls_stream {
	struct bl_flow_key key; /* zero: not known yet */
	__u32 offset[2];	/* of what was written and read */
	__u16 first;		/* seen since it had its connection */
	__u16 whole;		/* HTTP/2: nothing is left out (l7_capture) */
	__u32 account;		/* who pays */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tls_stream_key);
	__type(value, struct tls_stream);
} bl_tls_stream SEC(".maps");

/* How many calls there are in bl_tls_call, about: when there is none, a socket's use needs no look. */
__s64 tls_inside;

/* Where the session of a library has its socket: by the attachment's cookie. Offsets of pointers and members. */
struct tls_layout {
	__u32 rbio; /* of SSL */
	__u32 method;
	__u32 num; /* of BIO */
};

static __always_inline bool tls_layout_of(__u32 cookie, struct tls_layout *layout)
{
	switch (cookie) {
	case BL_TLS_OPENSSL_1_1:
		layout->rbio = 16;
		layout->method = 0;
		layout->num = 48;
		return true;
	case BL_TLS_OPENSSL_3_0:
		layout->rbio = 16;
		layout->method = 8;
		layout->num = 56;
		return true;
	case BL_TLS_OPENSSL_3_2:
		layout->rbio = 80;
		layout->method = 8;
		layout->num = 56;
		return true;
	}
	return false;
}

static __always_inline struct sock *tls_sock_of_fd(__u32 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;
	struct socket *socket;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + fd) || !file)
		return NULL;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & TLS_S_IFMT) != TLS_S_IFSOCK)
		return NULL;
	socket = (struct socket *)BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

/* The socket that an OpenSSL session reads from. */
static __always_inline struct sock *tls_sock_of_session(const struct tls_call *call)
{
	struct tls_layout at;
	__u64 bio = 0, method = 0;
	__u32 type = 0, fd = 0;

	if (!tls_layout_of(call->layout, &at))
		return NULL;
	if (bpf_probe_read_user(&bio, sizeof(bio), (void *)(call->session + at.rbio)) || !bio ||
	    bpf_probe_read_user(&method, sizeof(method), (void *)(bio + at.method)) || !method ||
	    bpf_probe_read_user(&type, sizeof(type), (void *)method) || type != TLS_BIO_SOCKET ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(bio + at.num)))
		return NULL;
	return tls_sock_of_fd(fd);
}

/* The connection's key, from the calling process outwards. False: no TCP connection. */
static __always_inline bool tls_key(struct sock *sk, struct bl_flow_key *key)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return false;
	__builtin_memset(key, 0, sizeof(*key));
	if (family == AF_INET) {
		addr_set_v4(&key->src, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		addr_set_v4(&key->dst, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&key->src, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&key->dst, sk, __sk_common.skc_v6_daddr);
	} else {
		return false;
	}
	key->sport = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
	key->dport = BPF_CORE_READ(sk, __sk_common.skc_dport);
	key->proto = IPPROTO_TCP;
	return key->dport != 0;
}

/* Conn.conn is an interface: its second word leads to the net.TCPConn, that to the netFD, where a poll.FD begins. */
static __always_inline struct sock *tls_sock_of_go(__u64 conn)
{
	__u64 tcp = 0, net = 0, fd = 0;

	if (bpf_probe_read_user(&tcp, sizeof(tcp), (void *)(conn + 8)) || !tcp ||
	    bpf_probe_read_user(&net, sizeof(net), (void *)tcp) || !net ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(net + 16)) || fd > 1 << 30)
		return NULL;
	return tls_sock_of_fd(fd);
}

static __always_inline int tls_enter(struct pt_regs *ctx, __u32 read, __u64 done)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct tls_call call = {
		.session = PT_REGS_PARM1(ctx),
		.buffer = PT_REGS_PARM2(ctx),
		.done = done,
		.layout = (__u32)bpf_get_attach_cookie(ctx),
		.read = read,
	};

	bpf_map_update_elem(&bl_tls_call, &thread, &call, BPF_ANY);
	__sync_fetch_and_add(&tls_inside, 1);
	return 0;
}

SEC("uprobe")
int bl_tls_write(struct pt_regs *ctx)
{
	return tls_enter(ctx, 0, 0);
}

SEC("uprobe")
int bl_tls_read(struct pt_regs *ctx)
{
	return tls_enter(ctx, 1, 0);
}

/* SSL_write_ex(session, buffer, length, &written) */
SEC("uprobe")
int bl_tls_write_ex(struct pt_regs *ctx)
{
	return tls_enter(ctx, 0, PT_REGS_PARM4(ctx));
}

SEC("uprobe")
int bl_tls_read_ex(struct pt_regs *ctx)
{
	return tls_enter(ctx, 1, PT_REGS_PARM4(ctx));
}

/* SSL_set_bio(session, ...) */
SEC("uprobe")
int bl_tls_begin(struct pt_regs *ctx)
{
	struct tls_stream_key key = {.session = PT_REGS_PARM1(ctx),
				     .pid = bpf_get_current_pid_tgid() >> 32};
	struct tls_stream stream = {.first = 1};

	bpf_map_update_elem(&bl_tls_stream, &key, &stream, BPF_ANY);
	return 0;
}

static __always_inline int tls_used(struct sock *sk)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct tls_call *call;

	if (*(volatile __s64 *)&tls_inside <= 0)
		return 0;
	call = bpf_map_lookup_elem(&bl_tls_call, &thread);
	if (call && !call->sock)
		call->sock = (__u64)sk;
	return 0;
}

SEC("tp_btf/sock_send_length")
int bl_tls_sent(__u64 *ctx) /* struct sock *, int length, int flags */
{
	return tls_used((struct sock *)ctx[0]);
}

SEC("tp_btf/sock_recv_length")
int bl_tls_received(__u64 *ctx)
{
	return tls_used((struct sock *)ctx[0]);
}

/* Whose connection is it? Fills the stream; false when nobody wants it. */
static __noinline bool tls_connect(struct tls_stream *stream, const struct tls_call *call)
{
	struct sock *sk = call->layout == BL_TLS_GO ? tls_sock_of_go(call->session)
						    : tls_sock_of_session(call);
	struct bl_endpoint *endpoint;
	struct bl_flow_key key;

	if (!sk)
		sk = (struct sock *)call->sock;
	if (!sk || !tls_key(sk, &key)) {
		if (addr_is_zero(&stream->key.src))
			count(BL_METRIC_l7_tls_unknown);
		return !addr_is_zero(&stream->key.src); /* read from what it had buffered */
	}
	if (!addr_is_zero(&stream->key.src) &&
	    (!addr_equal(&key.src, &stream->key.src) || key.sport != stream->key.sport)) {
		/* The session's memory was used again, for another connection. */
		stream->offset[0] = stream->offset[1] = 0;
		stream->first = 0;
	}
	endpoint = bpf_map_lookup_elem(&bl_endpoint, &key.src);
	stream->account = endpoint ? endpoint->id : 0;
	stream->key = key;
	return true;
}

#define TLS_WRITE(type, room)                                                                     \
	do {                                                                                      \
		struct type *record = bpf_ringbuf_reserve(&bl_l7, sizeof(*record), 0);            \
		if (!record)                                                                      \
			return 1;                                                                 \
		record->chunk = *chunk;                                                           \
		if (take > room)                                                                  \
			take = room;                                                              \
		if (take && bpf_probe_read_user(record->data, L7_SIZE(take, room), (void *)from)) \
			take = 0;                                                                 \
		record->chunk.captured = take;                                                    \
		l7_submit(record);                                                                \
	} while (0)

/* 1: the ring is full. */
static __noinline int tls_write(const struct bl_l7_chunk *chunk, __u64 from, __u32 take)
{
	if (take <= BL_L7_SMALL)
		TLS_WRITE(l7_small, BL_L7_SMALL);
	else if (take <= BL_L7_HALF)
		TLS_WRITE(l7_half, BL_L7_HALF);
	else if (take <= BL_L7_MEDIUM)
		TLS_WRITE(l7_medium, BL_L7_MEDIUM);
	else
		TLS_WRITE(l7_most, BL_L7_MOST);
	return 0;
}

/* Does an HTTP/2 connection begin here? */
static __always_inline bool tls_http2(const struct tls_call *call, __u32 length)
{
	__u64 begin = 0;

	return length >= 24 && !bpf_probe_read_user(&begin, sizeof(begin), (void *)call->buffer) &&
	       begin == L7_HTTP2_PREFACE;
}

static __noinline int tls_tell(struct tls_stream *stream, const struct tls_call *call, __u32 length,
			       __u32 offset)
{
	__u32 id = stream->account, take;
	struct bl_l7_account *account = bpf_map_lookup_elem(&bl_l7_account, &id);
	struct bl_l7_chunk chunk = {};
	__u64 from = call->buffer;

	if (!account)
		return 0;
	if (!offset && tls_http2(call, length))
		stream->whole = 1;
	take = account->most[0]; /* who is the client is not known here */
	if (stream->whole || take > length)
		take = length;
	if (!l7_pay(account, take + sizeof(chunk)))
		return 0;
	chunk.time_ns = bpf_ktime_get_ns();
	chunk.kind = BL_L7_TLS;
	chunk.flags = (stream->first ? BL_L7_FIRST : 0) | (call->read ? BL_L7_FROM_REMOTE : 0);
	chunk.seq = offset;
	chunk.key = stream->key;
	for (int i = 0; i < L7_PIECES; i++) {
		__u32 size = stream->whole && length > BL_L7_MOST ? BL_L7_MOST : length;
		__u32 part = take > size ? size : take;

		chunk.length = size;
		if (tls_write(&chunk, from, part)) {
			l7_lost(account);
			return 0;
		}
		l7_written(account, part);
		length -= size;
		if (!length)
			break;
		take = length;
		from += size;
		chunk.seq += size;
	}
	return 0;
}

/* A call ended that did `length` bytes; negative: it failed. */
static __noinline int tls_finish(__u64 thread, __s64 length)
{
	struct tls_call *entry = bpf_map_lookup_elem(&bl_tls_call, &thread), call;
	struct tls_stream_key key = {.pid = bpf_get_current_pid_tgid() >> 32};
	struct tls_stream *stream, none = {};
	__u32 offset;

	if (!entry)
		return 0;
	call = *entry;
	bpf_map_delete_elem(&bl_tls_call, &thread);
	if (call.layout != BL_TLS_GO)
		__sync_fetch_and_add(&tls_inside, -1);
	if (length <= 0)
		return 0;
	if (call.done && bpf_probe_read_user(&length, sizeof(length), (void *)call.done))
		return 0;
	if (length <= 0 || length > 1 << 30)
		return 0;
	key.session = call.session;
	stream = bpf_map_lookup_elem(&bl_tls_stream, &key);
	if (!stream) {
		bpf_map_update_elem(&bl_tls_stream, &key, &none, BPF_NOEXIST);
		stream = bpf_map_lookup_elem(&bl_tls_stream, &key);
		if (!stream)
			return 0;
	}
	if (!tls_connect(stream, &call))
		return 0;
	if (call.read) {
		offset = stream->offset[1];
		stream->offset[1] += length;
	} else {
		offset = stream->offset[0];
		stream->offset[0] += length;
	}
	if (stream->account)
		tls_tell(stream, &call, length, offset);
	return 0;
}

SEC("uretprobe")
int bl_tls_done(struct pt_regs *ctx)
{
	return tls_finish(bpf_get_current_pid_tgid(), (__s32)PT_REGS_RC(ctx));
}

/* A goroutine, of this process; no thread's number has its highest bit. */
static __always_inline __u64 tls_goroutine(struct pt_regs *ctx)
{
	return (ctx->r14 ^ (bpf_get_current_pid_tgid() >> 32 << 40)) | 1ULL << 63;
}

/* (*Conn).Write(buffer []byte): receiver, data and length in ax, bx, cx; the goroutine in r14. */
static __always_inline int tls_enter_go(struct pt_regs *ctx, __u32 read)
{
	__u64 goroutine = tls_goroutine(ctx);
	struct tls_call call = {
		.session = ctx->ax,
		.buffer = ctx->bx,
		.layout = BL_TLS_GO,
		.read = read,
	};

	bpf_map_update_elem(&bl_tls_call, &goroutine, &call, BPF_ANY);
	return 0;
}

SEC("uprobe")
int bl_tls_go_write(struct pt_regs *ctx)
{
	return tls_enter_go(ctx, 0);
}

SEC("uprobe")
int bl_tls_go_read(struct pt_regs *ctx)
{
	return tls_enter_go(ctx, 1);
}

/* At each of their return instructions: a Go stack may move, which a return probe does not survive. */
SEC("uprobe")
int bl_tls_go_done(struct pt_regs *ctx)
{
	return tls_finish(tls_goroutine(ctx), ctx->ax);
}
