// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* connection: finds or begins the connection of a packet, and has its policies judge it.
 *
 * One entry serves both pods of a local connection. A policy speaks once, when the
 * connection begins, and again when an endpoint's generation or a local identity is no
 * longer what it was: so a change of policy ends what it forbids.
 */
#pragma once
#include "conntrack.h"
#include "judge.h"

#undef THIS_FILE
#define THIS_FILE FILE_CONNECTION

/* Whose policy speaks: the sender's egress and the receiver's ingress for what the
 * initiator sends, and the other way round for replies.
 */
static __always_inline enum policy_direction connection_sender_direction(const struct packet *pkt)
{
	return packet_is_reply(pkt) ? POLICY_INGRESS : POLICY_EGRESS;
}

static __always_inline enum policy_direction connection_receiver_direction(const struct packet *pkt)
{
	return packet_is_reply(pkt) ? POLICY_EGRESS : POLICY_INGRESS;
}

static __always_inline bool connection_was_judged(const struct conntrack_entry *entry,
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
static __always_inline bool connection_is_current(const struct conntrack_entry *entry,
						  const struct packet *pkt,
						  const struct endpoint *source,
						  const struct endpoint *destination)
{
	if (source && !connection_was_judged(entry, source, connection_sender_direction(pkt)))
		return false;
	return !destination ||
	       connection_was_judged(entry, destination, connection_receiver_direction(pkt));
}

/* What one policy said, kept for the entry. */
static __always_inline void connection_note(struct packet *pkt)
{
	bool ingress = pkt->direction == POLICY_INGRESS;

	pkt->judged.provenance[ingress ? POLICY_INGRESS : POLICY_EGRESS] = pkt->provenance;
	pkt->judged.generation[ingress ? POLICY_INGRESS : POLICY_EGRESS] = pkt->generation;
	pkt->judged.flags |= ingress ? CONNTRACK_INGRESS_JUDGED : CONNTRACK_EGRESS_JUDGED;
	if (pkt->verdict == EVENT_AUDIT)
		pkt->judged.flags |= CONNTRACK_AUDITED;
}

/* Has the policies of all local ends judge. */
step connection_judge(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *source,
		      const struct endpoint *destination)
{
	enum verdict verdict = judge_identify(pkt);

	if (verdict)
		return verdict;
	if (source) {
		verdict = judge_policy(ctx, pkt, source, connection_sender_direction(pkt));
		if (verdict)
			return verdict;
		connection_note(pkt);
	}
	if (destination) {
		verdict = judge_policy(ctx, pkt, destination, connection_receiver_direction(pkt));
		if (verdict)
			return verdict;
		connection_note(pkt);
	}
	return VERDICT_NEXT;
}

/* An ICMP error about a connection that policies let be belongs to it. A pod may complain
 * only about what was sent to itself; routers on the way complain about what they carry.
 */
shared_step connection_relate(struct packet *pkt, const struct endpoint *source,
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
	if (!connection_is_current(entry, pkt, source, destination)) {
		pkt->flags &= ~PACKET_REPLY;
		return VERDICT_NEXT;
	}
	pkt->trace_reason = TRACE_REASON_RELATED;
	pkt->flags |= PACKET_REPORT;
	return judge_identify(pkt);
}

static __always_inline void connection_fill(struct packet *pkt, const struct endpoint *source,
					    const struct endpoint *destination)
{
	if (source) {
		pkt->source_identity = source->identity;
		pkt->source_endpoint = source->id;
	}
	if (destination) {
		pkt->destination_identity = destination->identity;
		pkt->destination_endpoint = destination->id;
	}
}

/* Is this the entry of the packet's own connection? Sets the reply flag if so. */
static __always_inline bool connection_continues(const struct conntrack_entry *entry,
						 struct packet *pkt, __u64 now)
{
	bool reply;

	if (conntrack_is_expired(entry, now))
		return false;
	reply = conntrack_is_reply(entry, &pkt->tuple);
	if (conntrack_reopens(entry, pkt->tcp_flags, reply))
		return false;
	/* Identifier 0 is no port: a request from the other side would look like a reply. */
	if (reply && !(pkt->flags & PACKET_STATELESS) && transport_is_icmp(pkt->tuple.protocol))
		return false;
	pkt->trace_reason = reply ? TRACE_REASON_REPLY : TRACE_REASON_ESTABLISHED;
	if (reply)
		pkt->flags |= PACKET_REPLY;
	return true;
}

/* Counts the packet in its connection. Who has no row here is who the entry says. */
static __always_inline void connection_count(struct conntrack_entry *entry, struct packet *pkt,
					     __u64 now)
{
	bool reply = packet_is_reply(pkt);

	if (!pkt->source_identity)
		pkt->source_identity = reply ? entry->destination_identity : entry->source_identity;
	if (!pkt->destination_identity)
		pkt->destination_identity =
			reply ? entry->source_identity : entry->destination_identity;
	if (!pkt->provenance)
		pkt->provenance = entry->provenance[pkt->destination_endpoint ? POLICY_INGRESS
									      : POLICY_EGRESS];
	conntrack_touch(entry, pkt, now);
	if (conntrack_report(entry, pkt, now))
		pkt->flags |= PACKET_REPORT;
}

/* The answer of policies that were asked again. */
static __always_inline void connection_renew(struct conntrack_entry *entry,
					     const struct packet *pkt)
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

/* The entry of a new connection. */
shared_step connection_begin(struct packet *pkt)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct conntrack_entry entry = {};
	struct conntrack_key key;

	if (!pkt)
		return VERDICT_DROP;
	key = conntrack_key(&pkt->tuple);
	entry.packets[0] = 1;
	entry.bytes[0] = pkt->length;
	entry.first_seen = now;
	entry.last_seen[0] = now;
	entry.last_report[0] = now;
	entry.tcp_flags[0] = pkt->tcp_flags;
	entry.reported_flags[0] = pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST);
	if (tuple_source_is_low(&pkt->tuple))
		entry.flags = CONNTRACK_LOW_BEGAN;
	entry.flags = conntrack_flags_after(entry.flags, pkt->tcp_flags, false);
	entry.expires_s = now / NS_PER_S + conntrack_lifetime_s(pkt->tuple.protocol, entry.flags);
	connection_renew(&entry, pkt);
	if (bpf_map_update_elem(&conntrack, &key, &entry, BPF_ANY))
		return drop(pkt, DROP_CT_MAP_INSERTION_FAILED);
	return VERDICT_NEXT;
}

/* Does a known connection, or else policy, let this packet go on? */
shared_step connection_admit(struct __sk_buff *ctx, struct packet *pkt,
			     const struct endpoint *source, const struct endpoint *destination)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct conntrack_entry *entry;
	struct conntrack_key key;
	enum verdict verdict;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	connection_fill(pkt, source, destination);
	if (pkt->flags & PACKET_ICMP_ERROR) {
		verdict = connection_relate(pkt, source, destination);
		if (verdict || pkt->trace_reason == TRACE_REASON_RELATED)
			return verdict;
	}
	key = conntrack_key(&pkt->tuple);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	if (entry && !connection_continues(entry, pkt, now))
		entry = NULL;
	if (entry && connection_is_current(entry, pkt, source, destination)) {
		connection_count(entry, pkt, now);
		return VERDICT_NEXT;
	}
	verdict = connection_judge(ctx, pkt, source, destination);
	if (entry) {
		if (verdict) {
			bpf_map_delete_elem(&conntrack, &key);
			return verdict;
		}
		connection_renew(entry, pkt);
		connection_count(entry, pkt, now);
		return VERDICT_NEXT;
	}
	if (verdict)
		return verdict;
	pkt->flags |= PACKET_REPORT;
	if (!(pkt->flags & PACKET_STATELESS))
		pkt->flags |= PACKET_BEGINS;
	return VERDICT_NEXT;
}

/* May this packet go on? `source` and `destination` are the local pods at its ends, or NULL:
 * an end without a row has its identity in the packet, or gets it from the ipcache.
 *
 * verifier: the new entry is not made inside connection_admit, because the stacks of the three
 * functions would exceed 512 bytes together (every kernel, clang 19).
 */
step connection_pass(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *source,
		     const struct endpoint *destination)
{
	enum verdict verdict = connection_admit(ctx, pkt, source, destination);

	if (verdict || !(pkt->flags & PACKET_BEGINS))
		return verdict;
	return connection_begin(pkt);
}
