// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* tally: all that conntrack ever counted, whatever became of its entries.
 *
 * Written by every program, read by the observer, which finds what it has missed by
 * comparing the sum of its harvests with this.
 */
#pragma once
#include "types.h"

struct tally {
	__u64 packets;
	__u64 bytes;
	__u64 begun;   /* connections */
	__u64 refused; /* of which the end found no room in `ended` */
};
_Static_assert(sizeof(struct tally) == 32, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32); /* 0 */
	__type(value, struct tally);
} tally SEC(".maps");

static __always_inline void tally_count(__u32 bytes, bool begins)
{
	__u32 index = 0;
	struct tally *row = bpf_map_lookup_elem(&tally, &index);

	if (!row)
		return;
	row->packets++;
	row->bytes += bytes;
	row->begun += begins;
}

static __always_inline void tally_refused(void)
{
	__u32 index = 0;
	struct tally *row = bpf_map_lookup_elem(&tally, &index);

	if (row)
		row->refused++;
}
