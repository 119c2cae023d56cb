/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Addresses and the connection key, shared by the kernel side and user space.
 * IPv4 is carried as ::ffff:a.b.c.d so that everything behind the parser exists once.
 * This header may be included from C and C++; it needs the fixed-width kernel types
 * (vmlinux.h in BPF objects, linux/types.h elsewhere).
 */
#ifndef BL_ABI_ADDR_H
#define BL_ABI_ADDR_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#ifdef __cplusplus
#define BL_STATIC_ASSERT static_assert
#else
#define BL_STATIC_ASSERT _Static_assert
#endif

/* Network byte order; IPv4-mapped for IPv4. word[] is the same bytes in four network-order words.
 */
union bl_addr {
	__u8 byte[16];
	__u32 word[4];
	__u64 half[2];
};
BL_STATIC_ASSERT(sizeof(union bl_addr) == 16, "bl_addr");

/* Ports in network byte order. For ICMP echo both ports hold the echo identifier. */
struct bl_flow_key {
	union bl_addr src;
	union bl_addr dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;  /* IPPROTO_* */
	__u8 pad[3]; /* zero */
};
BL_STATIC_ASSERT(sizeof(struct bl_flow_key) == 40, "bl_flow_key");

/* LPM key: prefix length counts bits of the 16 mapped bytes (IPv4 /24 is 120). */
struct bl_prefix {
	__u32 prefixlen;
	union bl_addr addr;
} __attribute__((packed));
BL_STATIC_ASSERT(sizeof(struct bl_prefix) == 20, "bl_prefix");

#endif
