// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* denied: packets that policies refused, by the provenance of the row that did.
 *
 * Written by programs when a policy drops, read by the agent, which adds the row
 * DENIED_REST and removes rows that have been still. A deny that finds no room
 * for a row of its own is counted there; the verdict does not depend on it.
 */
#pragma once
#include "types.h"

enum denied_key {
	DENIED_REST = 0x7fffffff, /* no provenance reaches it */
};

struct denied {
	__u64 packets;
	__u64 bytes;
	__u64 last_seen unit("ns"); /* CLOCK_MONOTONIC */
};
_Static_assert(sizeof(struct denied) == 24, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32); /* provenance; 0: of no rule */
	__type(value, struct denied);
} denied SEC(".maps");

static __always_inline struct denied *denied_row(__u32 provenance)
{
	struct denied *row = bpf_map_lookup_elem(&denied, &provenance);
	struct denied fresh = {};

	if (row)
		return row;
	/* Another CPU may be the first; then its row is found. */
	bpf_map_update_elem(&denied, &provenance, &fresh, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&denied, &provenance);
	if (row)
		return row;
	provenance = DENIED_REST;
	return bpf_map_lookup_elem(&denied, &provenance);
}

/* The answer is for the verifier alone. */
__noinline int denied_count(__u32 provenance, __u32 bytes)
{
	struct denied *row = denied_row(provenance);

	if (!row)
		return 0;
	row->packets++;
	row->bytes += bytes;
	row->last_seen = bpf_ktime_get_coarse_ns();
	return 0;
}
