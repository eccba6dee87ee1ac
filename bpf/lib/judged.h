// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* judged: what policies said of a connection, kept in its entry, and whether it still holds. */
#pragma once
#include "conntrack.h"
#include "endpoint.h"

/* Whose policy speaks: the sender's egress and the receiver's ingress for what the
 * initiator sends, and the other way round for replies.
 */
static __always_inline enum policy_direction judged_by_sender(const struct packet *pkt)
{
	return packet_is_reply(pkt) ? POLICY_INGRESS : POLICY_EGRESS;
}

static __always_inline enum policy_direction judged_by_receiver(const struct packet *pkt)
{
	return packet_is_reply(pkt) ? POLICY_EGRESS : POLICY_INGRESS;
}

static __always_inline bool judged_before(const struct conntrack_entry *entry,
					  const struct endpoint *endpoint,
					  enum policy_direction direction)
{
	if (direction == POLICY_INGRESS)
		return entry->flags & CONNTRACK_INGRESS_JUDGED &&
		       entry->generation[POLICY_INGRESS] == endpoint->generation &&
		       entry->destination_identity == endpoint->identity;
	return entry->flags & CONNTRACK_EGRESS_JUDGED &&
	       entry->generation[POLICY_EGRESS] == endpoint->generation &&
	       entry->source_identity == endpoint->identity;
}

/* Did the policies of both ends, as they are now, let this connection be? */
static __always_inline bool judged_is_current(const struct conntrack_entry *entry,
					      const struct packet *pkt,
					      const struct endpoint *source,
					      const struct endpoint *destination)
{
	if (source && !judged_before(entry, source, judged_by_sender(pkt)))
		return false;
	return !destination || judged_before(entry, destination, judged_by_receiver(pkt));
}

/* What one policy said, kept for the entry. */
static __always_inline void judged_note(struct packet *pkt)
{
	bool ingress = pkt->direction == POLICY_INGRESS;

	pkt->judged.provenance[ingress ? POLICY_INGRESS : POLICY_EGRESS] = pkt->provenance;
	pkt->judged.generation[ingress ? POLICY_INGRESS : POLICY_EGRESS] = pkt->generation;
	pkt->judged.flags |= ingress ? CONNTRACK_INGRESS_JUDGED : CONNTRACK_EGRESS_JUDGED;
	if (pkt->verdict == EVENT_AUDIT)
		pkt->judged.flags |= CONNTRACK_AUDITED;
}

/* The answer of policies that were asked again. */
static __always_inline void judged_keep(struct conntrack_entry *entry, const struct packet *pkt)
{
	bool reply = packet_is_reply(pkt);

	entry->source_identity = reply ? pkt->destination_identity : pkt->source_identity;
	entry->destination_identity = reply ? pkt->source_identity : pkt->destination_identity;
	entry->provenance[0] = pkt->judged.provenance[0];
	entry->provenance[1] = pkt->judged.provenance[1];
	entry->generation[0] = pkt->judged.generation[0];
	entry->generation[1] = pkt->judged.generation[1];
	entry->flags = (entry->flags &
			~(CONNTRACK_INGRESS_JUDGED | CONNTRACK_EGRESS_JUDGED | CONNTRACK_AUDITED)) |
		       pkt->judged.flags;
}
