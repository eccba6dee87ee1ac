// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rewrite: another address and port in a packet, with every checksum kept right.
 *
 * Checksums are updated by difference (RFC 1624) through helpers that know about
 * checksums left to the device (CHECKSUM_PARTIAL). An IPv4 address in its 16-byte form
 * differs from another by the same sum as its 4 bytes do, so both families share a path.
 */
#pragma once
#include <linux/errno.h>
#include "checksum_place.h"

#undef THIS_FILE
#define THIS_FILE FILE_REWRITE

/* Kernel 6.16: says that a pseudo header is IPv6's. Older ones refuse it as invalid. */
enum {
	REWRITE_IPV6_CHECKSUM = 1 << 7,
};

enum rewrite_side {
	REWRITE_SOURCE = 0,
	REWRITE_DESTINATION = 1,
};

struct rewrite {
	union address address;
	__be16 port; /* ICMP echo: the identifier */
	__u8 side;   /* enum rewrite_side */
};

static __always_inline __u32 rewrite_port_offset(__u8 protocol, __u8 side)
{
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
		return side == REWRITE_SOURCE ? 0 : 2;
	return offsetof(struct icmp_header, id);
}

/* What the checksum over an address gains; an IPv4 one in 16 bytes gains what its 4 do. */
static __always_inline __u32 rewrite_difference(const union address *from, const union address *to)
{
	return bpf_csum_diff((__be32 *)from, sizeof(*from), (__be32 *)to, sizeof(*to), 0);
}

/* A transport checksum, for another address in its pseudo header. */
static __always_inline long rewrite_pseudo(struct __sk_buff *ctx, const struct packet *pkt,
					   __u32 difference, __u64 flags)
{
	__u32 offset = pkt->l4 + checksum_place(pkt->tuple.protocol);
	long error;

	flags |= BPF_F_PSEUDO_HDR;
	if (packet_is_v4(pkt))
		return bpf_l4_csum_replace(ctx, offset, 0, difference, flags);
	error = bpf_l4_csum_replace(ctx, offset, 0, difference, flags | REWRITE_IPV6_CHECKSUM);
	if (error == -EINVAL)
		error = bpf_l4_csum_replace(ctx, offset, 0, difference, flags);
	return error;
}

/* The address in the network header at `l3`, and IPv4's checksum over it. */
static __always_inline bool rewrite_address(struct __sk_buff *ctx, __u32 l3,
					    const struct rewrite *to, __u32 difference)
{
	bool source = to->side == REWRITE_SOURCE;

	if (!address_is_v4(&to->address))
		return packet_store(ctx,
				    l3 + (source ? offsetof(struct ipv6hdr, saddr)
						 : offsetof(struct ipv6hdr, daddr)),
				    &to->address, sizeof(to->address));
	return !bpf_l3_csum_replace(ctx, l3 + offsetof(struct iphdr, check), 0, difference, 0) &&
	       packet_store(ctx,
			    l3 + (source ? offsetof(struct iphdr, saddr)
					 : offsetof(struct iphdr, daddr)),
			    &to->address.words[3], sizeof(__be32));
}

static __always_inline __be16 *rewrite_port_of(struct tuple *tuple, __u8 side)
{
	return side == REWRITE_SOURCE ? &tuple->source_port : &tuple->destination_port;
}

static __always_inline union address *rewrite_address_of(struct tuple *tuple, __u8 side)
{
	return side == REWRITE_SOURCE ? &tuple->source : &tuple->destination;
}

/* The transport header of a packet that has one: its port and its checksum. */
step rewrite_transport(struct __sk_buff *ctx, struct packet *pkt, const struct rewrite *to,
		       __u32 difference)
{
	__u8 protocol = pkt->tuple.protocol;
	__u32 sum = pkt->l4 + checksum_place(protocol);
	__u64 mangled = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__be16 *port = rewrite_port_of(&pkt->tuple, to->side);

	if (protocol != IPPROTO_ICMP && rewrite_pseudo(ctx, pkt, difference, mangled))
		return drop(pkt, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	if (pkt->flags & PACKET_ICMP_ERROR || *port == to->port)
		return VERDICT_NEXT;
	if (bpf_l4_csum_replace(ctx, sum, *port, to->port, mangled | sizeof(*port)))
		return drop(pkt, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	if (!packet_store(ctx, pkt->l4 + rewrite_port_offset(protocol, to->side), &to->port,
			  sizeof(to->port)))
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	*port = to->port;
	return VERDICT_NEXT;
}

/* Gives one side of a packet another address and, but in an ICMP error, another port. */
shared_step rewrite_packet(struct __sk_buff *ctx, struct packet *pkt, const struct rewrite *to)
{
	enum verdict verdict = VERDICT_NEXT;
	union address *address;
	__u32 difference;

	if (!ctx || !pkt || !to)
		return VERDICT_DROP;
	address = rewrite_address_of(&pkt->tuple, to->side);
	difference = rewrite_difference(address, &to->address);
	if (!(pkt->flags & PACKET_LATER_FRAGMENT))
		verdict = rewrite_transport(ctx, pkt, to, difference);
	if (verdict)
		return verdict;
	if (!rewrite_address(ctx, PACKET_L3, to, difference))
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	*address = to->address;
	*rewrite_port_of(&pkt->tuple, to->side) = to->port;
	return VERDICT_NEXT;
}

/* The part of a quoted transport header that a translation may change. */
struct rewrite_quote {
	__be32 words[3]; /* the first 8 bytes; TCP: those with the checksum */
	bool has_sum;	 /* TCP: the quote is that long */
};

static __always_inline struct rewrite_quote rewrite_load_quote(struct __sk_buff *ctx,
							       const struct packet *pkt)
{
	bool tcp = pkt->inner.protocol == IPPROTO_TCP;
	__u32 sum = pkt->inner_l4 + offsetof(struct tcphdr, check);
	struct rewrite_quote quote = {};

	quote.has_sum = packet_load(ctx, pkt->inner_l4, quote.words, 8);
	if (tcp)
		quote.has_sum = packet_load(ctx, sum, &quote.words[2], 4);
	return quote;
}

/* The quoted transport header: its checksum if it is there, and its port. */
static __always_inline bool rewrite_quoted_transport(struct __sk_buff *ctx, struct packet *pkt,
						     const struct rewrite *to, __u32 difference)
{
	__u8 protocol = pkt->inner.protocol;
	__u32 sum = pkt->inner_l4 + checksum_place(protocol);
	__u64 mangled = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__be16 port = *rewrite_port_of(&pkt->inner, to->side);

	if (protocol != IPPROTO_ICMP && bpf_l4_csum_replace(ctx, sum, 0, difference, mangled))
		return false;
	return !bpf_l4_csum_replace(ctx, sum, port, to->port, mangled | sizeof(port));
}

/* Gives one side of the packet that an ICMP error quotes another address and port. */
shared_step rewrite_quoted(struct __sk_buff *ctx, struct packet *pkt, const struct rewrite *to)
{
	struct rewrite_quote before, after;
	union address *address;
	__u32 difference, place;

	if (!ctx || !pkt || !to)
		return VERDICT_DROP;
	address = rewrite_address_of(&pkt->inner, to->side);
	difference = rewrite_difference(address, &to->address);
	place = pkt->inner_l4 + rewrite_port_offset(pkt->inner.protocol, to->side);
	before = rewrite_load_quote(ctx, pkt);
	if (before.has_sum && !rewrite_quoted_transport(ctx, pkt, to, difference))
		return drop(pkt, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	if (!packet_store(ctx, place, &to->port, sizeof(to->port)) ||
	    !rewrite_address(ctx, pkt->inner_l3, to, difference))
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	after = rewrite_load_quote(ctx, pkt);
	/* In a quoted IPv4 header address and checksum cancel out. */
	difference = bpf_csum_diff(before.words, sizeof(before.words), after.words,
				   sizeof(after.words), packet_is_v4(pkt) ? 0 : difference);
	if (bpf_l4_csum_replace(ctx, pkt->l4 + offsetof(struct icmp_header, checksum), 0,
				difference, 0))
		return drop(pkt, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	*address = to->address;
	*rewrite_port_of(&pkt->inner, to->side) = to->port;
	return VERDICT_NEXT;
}
