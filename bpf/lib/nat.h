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

#include <linux/errno.h>

enum nat_direction {
	NAT_OUT = 0,
	NAT_IN = 1,
};

struct nat_key {
	union address source;
	union address destination;
	__be16 source_port;  /* ICMP echo: the identifier on our side, ... */
	__be16 destination_port; /* ... 0 on the other */
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

enum {
	NAT_REFRESH_NS = 1000000000, /* how often both entries of a mapping are renewed */
};

/* The key of a mapping's other entry, given what this one says. */
static __always_inline struct nat_key nat_other_key(const struct nat_key *key,
						    const struct nat_entry *entry)
{
	bool out = key->direction == NAT_OUT;

	return (struct nat_key){
		.source = out ? key->destination : entry->address,
		.destination = out ? entry->address : key->source,
		.source_port = out ? key->destination_port : entry->port,
		.destination_port = out ? entry->port : key->source_port,
		.protocol = key->protocol,
		.direction = out ? NAT_IN : NAT_OUT,
	};
}

/* Writes or renews a mapping's other entry; an error: it belongs to someone else. */
static __always_inline __attribute__((warn_unused_result)) long
nat_claim(const struct nat_key *key, const struct nat_entry *entry, __u64 now)
{
	bool out = key->direction == NAT_OUT;
	struct nat_key other_key = nat_other_key(key, entry);
	struct nat_entry other = {
		.address = out ? key->source : key->destination,
		.port = out ? key->source_port : key->destination_port,
		.created = now,
		.last_seen = now,
	};
	long error = bpf_map_update_elem(&nat, &other_key, &other, BPF_NOEXIST);
	struct nat_entry *owner;

	if (error != -EEXIST)
		return error;
	owner = bpf_map_lookup_elem(&nat, &other_key);
	if (!owner || !address_equal(&owner->address, &other.address) || owner->port != other.port)
		return -EEXIST;
	owner->last_seen = now;
	return 0;
}

/* Renews both entries from time to time: the LRU then keeps both or neither. */
static __always_inline long nat_renew(const struct nat_key *key, struct nat_entry *entry)
{
	__u64 now = bpf_ktime_get_ns();
	long error;

	if (now - entry->last_seen < NAT_REFRESH_NS)
		return 0;
	error = nat_claim(key, entry, now);
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
