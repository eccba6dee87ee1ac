// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nat_port: which port of the node an outgoing connection gets.
 *
 * Its own if that is free, else one of a few that a hash of the connection names. A port
 * is taken by inserting its NAT_IN entry, which only one CPU can do.
 */
#pragma once
#include "nat_reclaim.h"

enum {
	NAT_PROBES = 64, /* ports tried when its own is taken */
};

static __always_inline bool nat_port_in_range(__be16 port)
{
	__u16 number = bpf_ntohs(port);

	return number >= config.nat_port_min && number <= config.nat_port_max;
}

/* The same connection always tries the same ports, so that CPUs which race for it agree. */
static __always_inline __u32 nat_hash(const struct nat_key *key)
{
	const __u64 odd = 0x9e3779b97f4a7c15ULL;
	__u64 hash = key->source_port | (__u32)key->destination_port << 16;

	hash = (hash ^ key->source.halves[0]) * odd;
	hash = (hash ^ hash >> 32 ^ key->source.halves[1]) * odd;
	hash = (hash ^ hash >> 32 ^ key->destination.halves[0]) * odd;
	hash = (hash ^ hash >> 32 ^ key->destination.halves[1]) * odd;
	return hash >> 32;
}

/* Maps an outgoing connection to `port`; an error: it is taken. Global, so that the
 * verifier walks it once for all probes; hence the NULL that no caller passes.
 */
__noinline long nat_map(const struct nat_key *key, __u16 port, __u64 now)
{
	union address node;
	struct nat_key other_key;
	struct nat_entry entry;
	long error;

	if (!key)
		return -EINVAL;
	node = nat_address(address_is_v4(&key->source));
	other_key = nat_other_key(key, NAT_OUT, &node, port);
	entry = nat_other_entry(key, NAT_OUT, now);
	error = nat_claim(&other_key, &entry);
	if (error)
		return error;
	entry.address = node;
	entry.port = port;
	/* A copy: kernel 6.1 takes no argument of a global function as a map's key. */
	other_key = *key;
	error = bpf_map_update_elem(&nat, &other_key, &entry, BPF_ANY);
	if (error) {
		other_key = nat_other_key(key, NAT_OUT, &node, port);
		bpf_map_delete_elem(&nat, &other_key);
	}
	return error;
}

/* Maps a connection to `port` if it is free, or had by one that is over. */
static __always_inline bool nat_try(const struct nat_key *key, __be16 port, __u64 now)
{
	if (!nat_map(key, port, now))
		return true;
	return nat_is_over(key, port) && nat_release(key, port) && !nat_map(key, port, now);
}

/* A port for a new connection: its own if that is free; 0: none is. */
static __always_inline __be16 nat_allocate(const struct nat_key *key)
{
	__u32 ports = config.nat_port_max - config.nat_port_min + 1, hash = nat_hash(key);
	__u64 now = bpf_ktime_get_ns();

	if (config.nat_port_max < config.nat_port_min)
		return 0;
	if (nat_port_in_range(key->source_port) && nat_try(key, key->source_port, now))
		return key->source_port;
	for (__u32 probe = 0; probe < NAT_PROBES; probe++) {
		__be16 port = bpf_htons(config.nat_port_min + (hash + probe) % ports);

		if (nat_try(key, port, now))
			return port;
	}
	return 0;
}

/* The port under which an outgoing connection is known outside, given its entry if it has one;
 * 0: none is free.
 */
static __always_inline __be16 nat_out(const struct nat_key *key, struct nat_entry *entry)
{
	union address node = nat_address(address_is_v4(&key->source));

	if (entry && address_equal(&entry->address, &node) && !nat_renew(key, entry))
		return entry->port;
	return nat_allocate(key);
}
