// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* ended: the last counters of connections that conntrack no longer holds.
 *
 * Written by whoever removes a connection, programs and the agent alike, before
 * they do; read and emptied by the observer. One that finds no room is counted in
 * `tally`.
 */
#pragma once
#include "conntrack.h"
#include "tally.h"

struct ended_key {
	struct conntrack_key key;
	__u64 first_seen unit("ns"); /* tells connections with the same tuple apart */
};
_Static_assert(sizeof(struct ended_key) == 48, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct ended_key);
	__type(value, struct conntrack_entry);
} ended SEC(".maps");

/* Takes the connection of this tuple out of conntrack and keeps what it counted. The answer is
 * for the verifier alone.
 */
__noinline int ended_keep(struct packet *pkt)
{
	struct conntrack_entry *entry;
	struct ended_key last;

	if (!pkt)
		return 0;
	last.key = conntrack_key(&pkt->tuple);
	entry = bpf_map_lookup_elem(&conntrack, &last.key);
	if (!entry)
		return 0;
	last.first_seen = entry->first_seen;
	if (bpf_map_update_elem(&ended, &last, entry, BPF_ANY))
		tally_refused();
	bpf_map_delete_elem(&conntrack, &last.key);
	return 0;
}
