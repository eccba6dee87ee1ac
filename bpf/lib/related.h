// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* related: ICMP errors, which belong to the connection that they complain about. */
#pragma once
#include "judge.h"
#include "judged.h"

#undef THIS_FILE
#define THIS_FILE FILE_RELATED

/* An ICMP error about a connection that policies let be belongs to it. A pod may complain
 * only about what was sent to itself; routers on the way complain about what they carry.
 */
shared_step related_find(struct packet *pkt, const struct endpoint *source,
			 const struct endpoint *destination)
{
	const struct conntrack_entry *entry;
	struct conntrack_key key;

	if (!pkt || !address_equal(&pkt->inner.source, &pkt->tuple.destination))
		return VERDICT_NEXT;
	if (source && !address_equal(&pkt->inner.destination, &pkt->tuple.source))
		return VERDICT_NEXT;
	key = conntrack_key(&pkt->inner);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	if (!entry || conntrack_is_expired(entry, bpf_ktime_get_coarse_ns()))
		return VERDICT_NEXT;
	if (!conntrack_is_reply(entry, &pkt->inner))
		pkt->flags |= PACKET_REPLY;
	if (!judged_is_current(entry, pkt, source, destination)) {
		pkt->flags &= ~PACKET_REPLY;
		return VERDICT_NEXT;
	}
	pkt->trace_reason = TRACE_REASON_RELATED;
	pkt->flags |= PACKET_REPORT;
	return judge_identify(pkt);
}
