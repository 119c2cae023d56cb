/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Kernel differences, each with the version that brought the feature. */
#ifndef BL_LIB_COMPAT_H
#define BL_LIB_COMPAT_H

#include "common.h"

extern int CONFIG_HZ __kconfig;

/*
 * Time for timeouts, in nanoseconds since about boot, exact to a tick: an inlined load (5.5), where reading the clock
 * costs as much as a map lookup. Compare it only with itself.
 */
static __always_inline __u64 clock_tick_ns(void)
{
	return bpf_jiffies64() * (1000000000ULL / CONFIG_HZ);
}

/* bpf_set_retval: 5.18. Without it a refused connect() says EPERM instead of ECONNREFUSED. */
static __always_inline void refuse_with(int error)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
		bpf_set_retval(error);
}

#endif
