// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* headers: reads all headers of a packet, of fragments and of what ICMP errors quote. */
#pragma once
#include "fragment.h"
#include "transport.h"

#undef THIS_FILE
#define THIS_FILE FILE_HEADERS

/* What the first fragment tells the others. */
static __always_inline struct fragment_ports headers_tell(const struct packet *pkt)
{
	if (transport_is_icmp(pkt->tuple.protocol))
		return (struct fragment_ports){
			pkt->tuple.source_port | pkt->tuple.destination_port,
			pkt->icmp_type,
		};
	return (struct fragment_ports){pkt->tuple.source_port, pkt->tuple.destination_port};
}

/* What a later fragment was told. */
static __always_inline void headers_hear(struct packet *pkt, const struct fragment_ports *first)
{
	if (!transport_is_icmp(pkt->tuple.protocol)) {
		pkt->tuple.source_port = first->source;
		pkt->tuple.destination_port = first->destination;
		return;
	}
	pkt->flags |= PACKET_STATELESS;
	pkt->icmp_type = first->destination;
	if (pkt->icmp_type == transport_echo_type(pkt->tuple.protocol))
		pkt->tuple.source_port = first->source;
	else
		pkt->tuple.destination_port = first->source;
}

/* Ports of a fragmented datagram: the first fragment tells them to the others. */
step headers_fragment(struct __sk_buff *ctx, struct packet *pkt, const struct network *network)
{
	struct fragment_key key = {
		.source = pkt->tuple.source,
		.destination = pkt->tuple.destination,
		.id = network->id,
		.protocol = pkt->tuple.protocol,
	};
	struct fragment_ports ports;
	const struct fragment_ports *first;
	enum verdict verdict;

	pkt->flags |= PACKET_FRAGMENTED;
	if (network->fragment == FRAGMENT_FIRST) {
		verdict = transport_parse(ctx, pkt);
		if (verdict)
			return verdict;
		ports = headers_tell(pkt);
		if (bpf_map_update_elem(&fragment, &key, &ports, BPF_ANY))
			return drop(pkt, DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND);
		return VERDICT_NEXT;
	}
	first = bpf_map_lookup_elem(&fragment, &key);
	if (!first)
		return drop(pkt, DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND);
	pkt->flags |= PACKET_LATER_FRAGMENT;
	headers_hear(pkt, first);
	return VERDICT_NEXT;
}

/* The packet's own headers, as far as the ports. */
shared_step headers_read(struct __sk_buff *ctx, struct packet *pkt)
{
	struct network network = {};

	if (!ctx || !pkt)
		return VERDICT_DROP;
	/* Not in the initialiser: a constant template would go into .rodata, before config. */
	network.l3 = PACKET_L3;
	if (ctx->vlan_present)
		return drop(pkt, DROP_UNSUPPORTED_L2_PROTOCOL);
	network.v4 = ctx->protocol == bpf_htons(ETH_P_IP);
	if (!network.v4 && ctx->protocol != bpf_htons(ETH_P_IPV6))
		return drop(pkt, DROP_UNSUPPORTED_L3_PROTOCOL);
	pkt->flags = network.v4 ? PACKET_V4 : 0;
	if (parse_network(ctx, &network, &pkt->tuple))
		return drop(pkt, !network.v4 && network.l4 ? DROP_INVALID_IPV6_EXTENSION_HEADER
							   : DROP_INVALID_PACKET_DROPPED);
	pkt->ttl = network.ttl;
	pkt->l4 = network.l4;
	/* A segment that hardware cuts later may be larger than its length field can say. */
	if (!ctx->gso_size &&
	    (network.total > ctx->len - PACKET_L3 || network.l4 > PACKET_L3 + network.total))
		return drop(pkt, DROP_INVALID_PACKET_DROPPED);
	if (network.fragment)
		return headers_fragment(ctx, pkt, &network);
	return transport_parse(ctx, pkt);
}

/* The packet that an ICMP error quotes, into pkt->inner. */
shared_step headers_quoted(struct __sk_buff *ctx, struct packet *pkt)
{
	struct network network = {};

	if (!ctx || !pkt)
		return VERDICT_DROP;
	network.l3 = pkt->l4 + sizeof(struct icmp_header);
	network.v4 = packet_is_v4(pkt);
	if (parse_network(ctx, &network, &pkt->inner) || network.fragment == FRAGMENT_LATER)
		return drop(pkt, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	pkt->inner_l3 = network.l3;
	pkt->inner_l4 = network.l4;
	if (!transport_ports(ctx, &pkt->inner, network.l4))
		return drop(pkt, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	return VERDICT_NEXT;
}

/* Reads every header of an IP packet. Refuses what it cannot read to the end.
 *
 * verifier: a quoted packet is not read inside headers_read, because the stacks of the four
 * functions would reach 512 bytes together (kernel 6.1 counts in steps of 32, clang 19).
 */
step packet_parse(struct __sk_buff *ctx, struct packet *pkt)
{
	enum verdict verdict = headers_read(ctx, pkt);

	if (verdict || !(pkt->flags & PACKET_ICMP_ERROR))
		return verdict;
	return headers_quoted(ctx, pkt);
}
