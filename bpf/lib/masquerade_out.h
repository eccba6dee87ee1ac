// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* masquerade_out: pods that talk to the outside appear as the node.
 *
 * What a pod sends leaves with its own address only inside the pod network, or as a
 * reply to someone who knows that address already. What cannot be translated is dropped:
 * a pod address never leaks.
 */
#pragma once
#include "masquerade.h"

#undef THIS_FILE
#define THIS_FILE FILE_MASQUERADE

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
