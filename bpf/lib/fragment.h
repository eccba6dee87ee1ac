// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fragment: the ports of a fragmented datagram, for its later fragments.
 *
 * Written by the first fragment's program run, read by the rest.
 */
#pragma once
#include "types.h"

struct fragment_key {
	union address source;
	union address destination;
	__u32 id;
	__u8 protocol;
	__u8 pad[3];
};
_Static_assert(sizeof(struct fragment_key) == 40, "kernel/agent contract");

/* Of ICMP: an echo's identifier, and the type, which says whose port that is. */
struct fragment_ports {
	__be16 source;
	__be16 destination;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} fragment SEC(".maps");
