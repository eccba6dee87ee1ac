// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* ring: room for one record on this CPU's event ring, and its way to the reader. */
#pragma once
#include "event.h"

static __always_inline void ring_count(enum event_stat stat)
{
	__u32 index = stat;
	__u64 *count = bpf_map_lookup_elem(&event_stats, &index);

	/* Atomic, since a socket's program may be interrupted by a packet's on its own CPU. */
	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline void *ring_here(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&event_rings, &cpu);
}

/* Room for a record, which the caller fills entirely; NULL: none, and the loss is counted. */
static __always_inline struct event_record *ring_reserve(void *ring)
{
	struct event_record *record = NULL;

	ring_count(EVENT_STAT_SENT);
	if (ring)
		record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		ring_count(EVENT_STAT_LOST);
	return record;
}

/* Wake-ups cost more than all the rest: only a ring that is half full is worth one. */
static __always_inline void ring_submit(void *ring, struct event_record *record)
{
	bool half_full = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) >
			 bpf_ringbuf_query(ring, BPF_RB_RING_SIZE) / 2;

	bpf_ringbuf_submit(record, half_full ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}
