// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* masquerade_in: answers from the outside find their pod again. */
#pragma once
#include "masquerade.h"

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
