// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* masquerade: pods that talk to the outside appear as the node, and answers find them.
 *
 * What a pod sends leaves with its own address only inside the pod network, or as a
 * reply to someone who knows that address already. What cannot be translated is dropped:
 * a pod address never leaks.
 */
#pragma once
#include "conntrack.h"
#include "nat_port.h"
#include "rewrite.h"
#include "transport.h"

#undef THIS_FILE
#define THIS_FILE FILE_MASQUERADE

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
	MASQUERADE_INSIDE = 1,  /* the pod began the connection */
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

/* An ICMP error of a pod, about a packet that it got from outside. */
shared_step masquerade_error(struct __sk_buff *ctx, struct packet *pkt)
{
	const struct nat_entry *entry;
	struct nat_key key;
	struct rewrite to;
	enum verdict verdict;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	key = masquerade_reply_key(&pkt->inner, NAT_OUT);
	entry = bpf_map_lookup_elem(&nat, &key);
	if (!entry && masquerade_origin(&pkt->inner, true) == MASQUERADE_OUTSIDE)
		return VERDICT_STACK;
	if (!entry || !address_equal(&pkt->inner.destination, &pkt->tuple.source))
		return drop(pkt, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	to = (struct rewrite){entry->address, entry->port, REWRITE_DESTINATION};
	verdict = rewrite_quoted(ctx, pkt, &to);
	if (verdict)
		return verdict;
	to.side = REWRITE_SOURCE;
	to.port = 0;
	return rewrite_packet(ctx, pkt, &to);
}

/* Must this packet of a pod leave with the node's address (NEXT), or as it is (STACK)? */
step masquerade_judge_pod(struct packet *pkt)
{
	if (masquerade_origin(&pkt->tuple, false) == MASQUERADE_OUTSIDE)
		return VERDICT_STACK;
	if (!masquerade_has_port(pkt))
		return drop(pkt, DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE);
	return VERDICT_NEXT;
}

/* The node's own packets need a mapping only where a pod might take their port. */
step masquerade_judge_node(const struct packet *pkt)
{
	if (!masquerade_has_port(pkt) || !nat_port_in_range(pkt->tuple.source_port))
		return VERDICT_STACK;
	return VERDICT_NEXT;
}

/* Source translation of what has a port. A connection that is mapped stays so, even if
 * conntrack forgot it meanwhile and takes an answer for its beginning.
 */
shared_step masquerade_connection(struct __sk_buff *ctx, struct packet *pkt)
{
	struct rewrite to = {.side = REWRITE_SOURCE};
	enum verdict verdict = VERDICT_NEXT;
	struct nat_entry *entry;
	struct nat_key key;
	bool pod;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	pod = masquerade_is_pod(&pkt->tuple.source);
	if (!pod && !masquerade_is_node(&pkt->tuple.source))
		return VERDICT_STACK;
	key = masquerade_key(&pkt->tuple, NAT_OUT);
	entry = bpf_map_lookup_elem(&nat, &key);
	if (!entry)
		verdict = pod ? masquerade_judge_pod(pkt) : masquerade_judge_node(pkt);
	if (verdict)
		return verdict;
	to.port = nat_out(&key, entry);
	if (!to.port)
		return drop(pkt, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	if (!pod && to.port == pkt->tuple.source_port)
		return VERDICT_STACK;
	to.address = nat_address(packet_is_v4(pkt));
	return rewrite_packet(ctx, pkt, &to);
}

/* Source translation of all that leaves for the network. What the node itself sends keeps its
 * port, which no pod gets then, unless a pod has it already.
 */
step masquerade(struct __sk_buff *ctx, struct packet *pkt)
{
	if (!(packet_is_v4(pkt) ? config.masquerade_v4 : config.masquerade_v6) ||
	    masquerade_is_pod(&pkt->tuple.destination))
		return VERDICT_STACK;
	if (pkt->flags & PACKET_ICMP_ERROR && masquerade_is_pod(&pkt->tuple.source))
		return masquerade_error(ctx, pkt);
	return masquerade_connection(ctx, pkt);
}

/* An ICMP error about a packet that we had translated: it and its quote get the pod back. */
shared_step unmasquerade_error(struct __sk_buff *ctx, struct packet *pkt)
{
	const struct nat_entry *entry;
	struct nat_key key;
	struct rewrite to;
	enum verdict verdict;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	key = masquerade_reply_key(&pkt->inner, NAT_IN);
	entry = nat_in(&key);
	if (!entry || !address_equal(&pkt->inner.source, &pkt->tuple.destination))
		return VERDICT_NEXT;
	to = (struct rewrite){entry->address, entry->port, REWRITE_SOURCE};
	verdict = rewrite_quoted(ctx, pkt, &to);
	if (verdict)
		return verdict;
	to.side = REWRITE_DESTINATION;
	to.port = 0;
	return rewrite_packet(ctx, pkt, &to);
}

/* An answer to what has a port. */
shared_step unmasquerade_connection(struct __sk_buff *ctx, struct packet *pkt)
{
	struct rewrite to = {.side = REWRITE_DESTINATION};
	const struct nat_entry *entry;
	struct nat_key key;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	key = masquerade_key(&pkt->tuple, NAT_IN);
	entry = nat_in(&key);
	if (!entry)
		return VERDICT_NEXT;
	to.address = entry->address;
	to.port = entry->port;
	if (to.port == pkt->tuple.destination_port &&
	    address_equal(&to.address, &pkt->tuple.destination))
		return VERDICT_NEXT;
	return rewrite_packet(ctx, pkt, &to);
}

/* What comes back from the network for a pod behind the node's address goes to the pod. */
step unmasquerade(struct __sk_buff *ctx, struct packet *pkt)
{
	if (!(packet_is_v4(pkt) ? config.masquerade_v4 : config.masquerade_v6) ||
	    !masquerade_is_node(&pkt->tuple.destination))
		return VERDICT_NEXT;
	if (pkt->flags & PACKET_ICMP_ERROR)
		return unmasquerade_error(ctx, pkt);
	return unmasquerade_connection(ctx, pkt);
}
