// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* connection: finds or begins the connection of a packet, and has its policies judge it.
 *
 * One entry serves both pods of a local connection. A policy speaks once, when the
 * connection begins, and again when an endpoint's generation or a local identity is no
 * longer what it was: so a change of policy ends what it forbids.
 */
#pragma once
#include "ending.h"
#include "lifetime.h"
#include "related.h"
#include "tally.h"

#undef THIS_FILE
#define THIS_FILE FILE_CONNECTION

/* Has the policies of all local ends judge. */
step connection_judge(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *source,
		      const struct endpoint *destination)
{
	enum verdict verdict = judge_identify(pkt);

	if (verdict)
		return verdict;
	if (source) {
		verdict = judge_policy(ctx, pkt, source, judged_by_sender(pkt));
		if (verdict)
			return verdict;
		judged_note(pkt);
	}
	if (destination) {
		verdict = judge_policy(ctx, pkt, destination, judged_by_receiver(pkt));
		if (verdict)
			return verdict;
		judged_note(pkt);
	}
	return VERDICT_NEXT;
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
						 struct packet *pkt, __u64 now, bool low)
{
	bool reply;

	if (conntrack_is_expired(entry, now))
		return false;
	reply = conntrack_is_reply_from(entry, low);
	if (lifetime_ended(entry, pkt->tcp_flags, reply))
		return false;
	/* Identifier 0 is no port: a request from the other side would look like a reply, and
	 * what is no echo would look like either.
	 */
	if (transport_is_icmp(pkt->tuple.protocol) &&
	    pkt->icmp_type != (reply ? transport_echo_reply_type(pkt->tuple.protocol)
				     : transport_echo_type(pkt->tuple.protocol)))
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
	lifetime_count(entry, pkt, now);
	tally_count(pkt->length, false);
	if (lifetime_report(entry, pkt, now))
		pkt->flags |= PACKET_REPORT;
}

/* The entry of a new connection. */
shared_step connection_begin(struct packet *pkt)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct conntrack_entry entry = {}, *begun;
	struct conntrack_key key;

	if (!pkt)
		return VERDICT_DROP;
	key = conntrack_key(&pkt->tuple);
	entry.packets[0] = 1;
	entry.bytes[0] = pkt->length;
	/* The coarse clock stands still for milliseconds, in which a port may be used again. */
	entry.first_seen = bpf_ktime_get_ns();
	entry.last_seen[0] = now;
	entry.last_report[0] = now;
	entry.tcp_flags[0] = pkt->tcp_flags;
	entry.reported_flags[0] = pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST);
	if (tuple_source_is_low(&pkt->tuple))
		entry.flags = CONNTRACK_LOW_BEGAN;
	entry.flags = lifetime_flags(entry.flags, pkt->tcp_flags, false);
	entry.expires_s = now / NS_PER_S + lifetime_s(pkt->tuple.protocol, entry.flags);
	judged_keep(&entry, pkt);
	if (!bpf_map_update_elem(&conntrack, &key, &entry, BPF_NOEXIST)) {
		tally_count(pkt->length, true);
		return VERDICT_NEXT;
	}
	/* Another CPU may have been the first. */
	begun = bpf_map_lookup_elem(&conntrack, &key);
	if (!begun)
		return drop(pkt, DROP_CT_MAP_INSERTION_FAILED);
	lifetime_count(begun, pkt, now);
	tally_count(pkt->length, false);
	return VERDICT_NEXT;
}

/* Does a known connection, or else policy, let this packet go on? */
shared_step connection_admit(struct __sk_buff *ctx, struct packet *pkt,
			     const struct endpoint *source, const struct endpoint *destination)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct conntrack_entry *entry;
	struct conntrack_key key;
	bool low, stale = false;
	enum verdict verdict;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	connection_fill(pkt, source, destination);
	if (pkt->flags & PACKET_ICMP_ERROR) {
		verdict = related_find(pkt, source, destination);
		if (verdict || pkt->trace_reason == TRACE_REASON_RELATED)
			return verdict;
	}
	low = tuple_source_is_low(&pkt->tuple);
	key = conntrack_key_ordered(&pkt->tuple, low);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	if (entry && !connection_continues(entry, pkt, now, low)) {
		entry = NULL;
		stale = true;
	}
	if (entry && judged_is_current(entry, pkt, source, destination)) {
		connection_count(entry, pkt, now);
		return VERDICT_NEXT;
	}
	verdict = connection_judge(ctx, pkt, source, destination);
	if (entry) {
		if (verdict) {
			pkt->ends = 1;
			return verdict;
		}
		judged_keep(entry, pkt);
		connection_count(entry, pkt, now);
		return VERDICT_NEXT;
	}
	if (verdict)
		return verdict;
	pkt->flags |= PACKET_REPORT;
	if (!(pkt->flags & PACKET_STATELESS)) {
		pkt->flags |= PACKET_BEGINS;
		pkt->ends = stale;
	}
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

	if (pkt->ends)
		ending_keep(pkt);
	if (verdict || !(pkt->flags & PACKET_BEGINS))
		return verdict;
	return connection_begin(pkt);
}
