/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every object needs: kernel types and helpers. No maps. */
#ifndef BL_LIB_BASE_H
#define BL_LIB_BASE_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

/*
 * A step that the verifier checks once, on its own, instead of at every call: a global function. Its pointer
 * arguments may be NULL as far as the verifier knows, so each tests them first. Before 6.2 what they point to is neither
 * key nor value to a map helper: copy it.
 */
#define BL_STEP __noinline

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
