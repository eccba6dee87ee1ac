// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* ended: the last counters of connections that conntrack no longer holds.
 *
 * Written by whoever removes a connection, programs and the agent alike, before
 * they do; read and emptied by the observer. One that finds no room is counted in
 * `tally`.
 */
#pragma once
#include "conntrack.h"

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
