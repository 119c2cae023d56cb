/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Kernel differences, each with the version that brought the feature. */
#ifndef BL_LIB_COMPAT_H
#define BL_LIB_COMPAT_H

#include "common.h"

/* bpf_ktime_get_coarse_ns: 5.11. Cheaper by a TSC read, exact to a tick, which is all that timeouts
 * need. */
static __always_inline __u64 clock_coarse_ns(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* bpf_set_retval: 5.18. Without it a refused connect() says EPERM instead of ECONNREFUSED. */
static __always_inline void refuse_with(int error)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
		bpf_set_retval(error);
}

#endif
