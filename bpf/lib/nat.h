// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nat: who hides behind the node's address, and on which port.
 *
 * Written by host.bpf.c. Every mapping is two entries: NAT_OUT, keyed by the
 * packet as it leaves the pod, gives the new source; NAT_IN, keyed by the
 * reply as it arrives, gives back the pod. Connections of the node itself in
 * the port range hold an identity mapping, so that no pod is given their port.
 */
#pragma once
#include "config.h"

#include <linux/errno.h>

enum nat_direction {
	NAT_OUT = 0,
	NAT_IN = 1,
};

struct nat_key {
	union address source;
	union address destination;
	__be16 source_port;	 /* ICMP echo: the identifier on our side, ... */
	__be16 destination_port; /* ... 0 on the other */
	__u8 protocol;
	__u8 direction; /* enum nat_direction */
	__u16 pad;
};
_Static_assert(sizeof(struct nat_key) == 40, "kernel/agent contract");

struct nat_entry {
	union address address; /* new source (out) or destination (in) */
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

enum {
	NAT_REFRESH_NS = 1000000000, /* how often both entries of a mapping are renewed */
};

static __always_inline union address nat_address(bool v4)
{
	return v4 ? config.node_v4 : config.node_v6;
}

/* The key of a mapping's other entry, given a key of this direction and what its entry says. */
static __always_inline struct nat_key nat_other_key(const struct nat_key *key,
						    enum nat_direction direction,
						    const union address *address, __be16 port)
{
	if (direction == NAT_IN)
		return (struct nat_key){
			.source = *address,
			.destination = key->source,
			.source_port = port,
			.destination_port = key->source_port,
			.protocol = key->protocol,
			.direction = NAT_OUT,
		};
	return (struct nat_key){
		.source = key->destination,
		.destination = *address,
		.source_port = key->destination_port,
		.destination_port = port,
		.protocol = key->protocol,
		.direction = NAT_IN,
	};
}

/* Its value. */
static __always_inline struct nat_entry nat_other_entry(const struct nat_key *key,
							enum nat_direction direction, __u64 now)
{
	return (struct nat_entry){
		.address = direction == NAT_OUT ? key->source : key->destination,
		.port = direction == NAT_OUT ? key->source_port : key->destination_port,
		.created = now,
		.last_seen = now,
	};
}

/* Writes or renews one entry of a mapping; an error: its key belongs to someone else. */
static __always_inline __attribute__((warn_unused_result)) long
nat_claim(const struct nat_key *key, const struct nat_entry *entry)
{
	long error = bpf_map_update_elem(&nat, key, entry, BPF_NOEXIST);
	struct nat_entry *owner;

	if (error != -EEXIST)
		return error;
	owner = bpf_map_lookup_elem(&nat, key);
	if (!owner || !address_equal(&owner->address, &entry->address) ||
	    owner->port != entry->port)
		return -EEXIST;
	owner->last_seen = entry->last_seen;
	return 0;
}

/* Renews both entries from time to time: the LRU then keeps both or neither. Global for the
 * sake of its callers' stacks; hence the NULLs that nobody passes.
 */
__noinline long nat_renew(const struct nat_key *key, struct nat_entry *entry)
{
	__u64 now = bpf_ktime_get_ns();
	struct nat_entry other;
	struct nat_key other_key;
	long error;

	if (!key || !entry)
		return -EINVAL;
	if (now - entry->last_seen < NAT_REFRESH_NS)
		return 0;
	other_key = nat_other_key(key, key->direction, &entry->address, entry->port);
	other = nat_other_entry(key, key->direction, now);
	error = nat_claim(&other_key, &other);
	if (!error)
		entry->last_seen = now;
	return error;
}

/* Whom an incoming packet is for; NULL: nobody that we translate. */
static __always_inline const struct nat_entry *nat_in(const struct nat_key *key)
{
	struct nat_entry *entry = bpf_map_lookup_elem(&nat, key);

	if (entry)
		nat_renew(key, entry);
	return entry;
}
