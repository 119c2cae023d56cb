/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How payload gets to user space, and what a workload may spend on it. Maps: bl_l7 (ring), bl_l7_account.
 */
#ifndef BL_LIB_L7_RING_H
#define BL_LIB_L7_RING_H

#include "compat.h"
#include "abi/l7.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024); /* user space may choose another size */
} bl_l7 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bl_l7_account);
} bl_l7_account SEC(".maps");

/* "PRI * HT", as they are sent: what an HTTP/2 client says first. */
#define L7_HTTP2_PREFACE bpf_cpu_to_be64(0x505249202a204854ULL)
/* Most records of one packet or call: 64 KB. What a longer call says beyond is missing. */
#define L7_PIECES 17

/* A chunk with room for so many bytes. */
#define L7_RECORD(name, room)             \
	struct name {                     \
		struct bl_l7_chunk chunk; \
		__u8 data[room];          \
	}
L7_RECORD(l7_small, BL_L7_SMALL);
L7_RECORD(l7_half, BL_L7_HALF);
L7_RECORD(l7_medium, BL_L7_MEDIUM);
L7_RECORD(l7_most, BL_L7_MOST);

/* Who pays: the server's workload if it is chosen, else the client's. */
static __always_inline struct bl_l7_account *l7_account(__u32 client, __u32 server)
{
	struct bl_l7_account *account = NULL;

	if (server)
		account = bpf_map_lookup_elem(&bl_l7_account, &server);
	if (!account && client)
		account = bpf_map_lookup_elem(&bl_l7_account, &client);
	return account;
}

/*
 * Takes `bytes` from the account; false when it has less. Two CPUs at once may lose a refill or a payment: the budget is a
 * bound on cost, not a bill.
 */
static __always_inline bool l7_pay(struct bl_l7_account *account, __u32 bytes)
{
	__u64 now = clock_tick_ns(), since = now - account->filled_ns;
	__s64 tokens = account->tokens;

	if (since) {
		if (since > 1000000000ULL)
			since = 1000000000ULL;
		tokens += (account->rate >> 10) * since / (1000000000ULL >> 10);
		if (tokens > (__s64)account->burst)
			tokens = account->burst;
		account->filled_ns = now;
	}
	if (tokens < bytes) {
		account->tokens = tokens;
		__sync_fetch_and_add(&account->over, 1);
		__sync_fetch_and_add(&account->over_bytes, bytes);
		count(BL_METRIC_l7_over_budget);
		return false;
	}
	account->tokens = tokens - bytes;
	return true;
}

static __always_inline void l7_submit(void *record)
{
	__u64 used = bpf_ringbuf_query(&bl_l7, BPF_RB_AVAIL_DATA);
	__u64 size = bpf_ringbuf_query(&bl_l7, BPF_RB_RING_SIZE);

	bpf_ringbuf_submit(record, used > size / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void l7_lost(struct bl_l7_account *account)
{
	__sync_fetch_and_add(&account->lost, 1);
	count(BL_METRIC_l7_lost);
}

static __always_inline void l7_written(struct bl_l7_account *account, __u32 bytes)
{
	__sync_fetch_and_add(&account->chunks, 1);
	__sync_fetch_and_add(&account->bytes, bytes);
	count(BL_METRIC_l7_chunks);
}

/*
 * `take`, in a register of its own that is 1 to `room`. Kernels before 6.8 lose the bounds of what the compiler keeps on the
 * stack, and learn nothing from a comparison with zero.
 */
#define L7_SIZE(take, room)                         \
	({                                          \
		__u64 size = take;                  \
		asm volatile("if %0 < %1 goto +1\n" \
			     "%0 = %1\n"            \
			     "if %0 s> 0 goto +1\n" \
			     "%0 = 1"               \
			     : "+r"(size)           \
			     : "i"(room));          \
		size;                               \
	})

#endif
