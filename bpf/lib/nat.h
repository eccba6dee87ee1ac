// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nat: who hides behind the node's address, and on which port.
 *
 * Written by host.bpf.c. Every mapping is two entries: NAT_OUT, keyed by the
 * packet as it leaves the pod, gives the new source; NAT_IN, keyed by the
 * reply as it arrives, gives back the pod. Connections of the node itself in
 * the port range hold an identity mapping, so that no pod is given their port.
 */
#pragma once
#include "types.h"

enum nat_direction {
	NAT_OUT = 0,
	NAT_IN = 1,
};

struct nat_key {
	union address source;
	union address destination;
	__be16 source_port;		/* ICMP echo: the identifier */
	__be16 destination_port;	/* ICMP echo: 0 */
	__u8 protocol;
	__u8 direction;			/* enum nat_direction */
	__u16 pad;
};
_Static_assert(sizeof(struct nat_key) == 40, "kernel/agent contract");

struct nat_entry {
	union address address;		/* new source (out) or destination (in) */
	__u64 created unit("ns");
	__u64 last_seen unit("ns");
	__be16 port;
	__u16 pad[3];
};
_Static_assert(sizeof(struct nat_entry) == 40, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct nat_key);
	__type(value, struct nat_entry);
} nat SEC(".maps");
