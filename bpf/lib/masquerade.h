// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* masquerade: whose packets are translated between pods and the outside, and by which keys. */
#pragma once
#include "conntrack.h"
#include "nat_port.h"
#include "rewrite.h"
#include "transport.h"

/* The first 1 to 64 bits of half an address. */
static __always_inline __u64 masquerade_mask(__u32 bits)
{
	return bpf_cpu_to_be64(~0ULL << (64 - bits));
}

/* Is this an address of the cluster's pod network? Of no bits: there is none. */
__noinline bool masquerade_is_pod(const union address *addr)
{
	union address net;
	__u32 bits;

	if (!addr)
		return false;
	net = address_is_v4(addr) ? config.pods_v4 : config.pods_v6;
	bits = address_is_v4(addr) ? config.pods_v4_bits : config.pods_v6_bits;
	if (bits > 64)
		return addr->halves[0] == net.halves[0] &&
		       !((addr->halves[1] ^ net.halves[1]) & masquerade_mask(bits - 64));
	return bits && !((addr->halves[0] ^ net.halves[0]) & masquerade_mask(bits));
}

static __always_inline bool masquerade_is_node(const union address *addr)
{
	union address node = nat_address(address_is_v4(addr));

	return address_equal(addr, &node);
}

/* Can a port, or what stands for one, tell this packet's connection from others? */
static __always_inline bool masquerade_has_port(const struct packet *pkt)
{
	switch (pkt->tuple.protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return pkt->icmp_type == transport_echo_type(pkt->tuple.protocol);
	default:
		return false;
	}
}

static __always_inline struct nat_key masquerade_key(const struct tuple *tuple,
						     enum nat_direction direction)
{
	return (struct nat_key){
		.source = tuple->source,
		.destination = tuple->destination,
		.source_port = tuple->source_port,
		.destination_port = tuple->destination_port,
		.protocol = tuple->protocol,
		.direction = direction,
	};
}

/* As masquerade_key, of a packet that goes the other way. */
static __always_inline struct nat_key masquerade_reply_key(const struct tuple *tuple,
							   enum nat_direction direction)
{
	return (struct nat_key){
		.source = tuple->destination,
		.destination = tuple->source,
		.source_port = tuple->destination_port,
		.destination_port = tuple->source_port,
		.protocol = tuple->protocol,
		.direction = direction,
	};
}

enum masquerade_origin {
	MASQUERADE_UNTRACKED = 0,
	MASQUERADE_INSIDE = 1,	/* the pod began the connection */
	MASQUERADE_OUTSIDE = 2, /* its peer did, who knows the pod's address */
};

/* Who began the connection of a tuple as its pod sends or, if `received`, receives it? */
__noinline enum masquerade_origin masquerade_origin(const struct tuple *tuple, bool received)
{
	const struct conntrack_entry *entry;
	struct conntrack_key key;

	if (!tuple)
		return MASQUERADE_UNTRACKED;
	key = conntrack_key(tuple);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	if (!entry || conntrack_is_expired(entry, bpf_ktime_get_ns()))
		return MASQUERADE_UNTRACKED;
	return conntrack_is_reply(entry, tuple) != received ? MASQUERADE_OUTSIDE
							    : MASQUERADE_INSIDE;
}
