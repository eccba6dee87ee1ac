// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nat_reclaim: takes a port back from a connection that is over.
 *
 * A mapping outlives its connection, or two pods that open many short ones to one peer
 * would soon find no port left. A pod's connection is over when conntrack says so; of the
 * node's own, conntrack knows nothing, so only silence tells.
 */
#pragma once
#include "conntrack.h"
#include "nat.h"

/* The NAT_IN key under which whoever has `port` towards this NAT_OUT key's peer is found. */
static __always_inline struct nat_key nat_owner_key(const struct nat_key *key, __u16 port)
{
	union address node = nat_address(address_is_v4(&key->source));

	return nat_other_key(key, NAT_OUT, &node, port);
}

static __always_inline struct nat_entry *nat_owner(const struct nat_key *key, __u16 port)
{
	struct nat_key owner_key = nat_owner_key(key, port);

	return bpf_map_lookup_elem(&nat, &owner_key);
}

/* How long a mapping must have been silent before anyone asks whether it is over. */
static __always_inline __u64 nat_silence_ns(const struct nat_entry *owner, __u8 protocol)
{
	union address node = nat_address(address_is_v4(&owner->address));
	__u32 seconds = config.tcp_closing_s;

	if (address_equal(&owner->address, &node))
		seconds = protocol == IPPROTO_TCP ? config.tcp_established_s : config.any_s;
	return seconds * NS_PER_S;
}

/* Is the connection over that has `port` towards this NAT_OUT key's peer? */
__noinline bool nat_is_over(const struct nat_key *key, __u16 port)
{
	__u64 now = bpf_ktime_get_ns();
	const struct conntrack_entry *entry;
	const struct nat_entry *owner;
	struct conntrack_key connection;
	struct tuple tuple;

	if (!key)
		return false;
	owner = nat_owner(key, port);
	if (!owner || now - owner->last_seen < nat_silence_ns(owner, key->protocol))
		return false;
	tuple = (struct tuple){
		.source = owner->address,
		.destination = key->destination,
		.source_port = owner->port,
		.destination_port = key->destination_port,
		.protocol = key->protocol,
	};
	connection = conntrack_key(&tuple);
	entry = bpf_map_lookup_elem(&conntrack, &connection);
	return !entry || conntrack_is_expired(entry, now);
}

/* Takes `port` from whoever has it; false: someone else was faster. */
__noinline bool nat_release(const struct nat_key *key, __u16 port)
{
	struct nat_key in_key, out_key;
	const struct nat_entry *owner;

	if (!key)
		return false;
	in_key = nat_owner_key(key, port);
	owner = bpf_map_lookup_elem(&nat, &in_key);
	if (!owner)
		return false;
	out_key = nat_other_key(&in_key, NAT_IN, &owner->address, owner->port);
	if (bpf_map_delete_elem(&nat, &in_key))
		return false;
	bpf_map_delete_elem(&nat, &out_key);
	return true;
}
