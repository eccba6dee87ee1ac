// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lifetime: how a connection goes on with each packet: TCP state, time left, counters, and
 * whether the packet is worth a trace event.
 */
#pragma once
#include "conntrack.h"

enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
};

/* An opening SYN where it continues nothing: after the end, or from the wrong side. */
static __always_inline bool lifetime_ended(const struct conntrack_entry *entry, __u8 tcp_flags,
					   bool reply)
{
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return false;
	return reply || entry->flags & (CONNTRACK_TX_CLOSING | CONNTRACK_RX_CLOSING);
}

/* How long an entry lives after this packet. */
static __always_inline __u32 lifetime_s(__u8 protocol, __u8 flags)
{
	const __u8 closed = CONNTRACK_TX_CLOSING | CONNTRACK_RX_CLOSING;
	const __u8 open = CONNTRACK_SEEN_REPLY | CONNTRACK_SEEN_NON_SYN;

	if (protocol != IPPROTO_TCP)
		return config.any_s;
	if ((flags & closed) == closed)
		return config.tcp_closing_s;
	return (flags & open) == open ? config.tcp_established_s : config.tcp_syn_s;
}

/* What this packet adds to an entry's flags. */
static __always_inline __u8 lifetime_flags(__u8 flags, __u8 tcp_flags, bool reply)
{
	if (reply)
		flags |= CONNTRACK_SEEN_REPLY;
	if (tcp_flags && !(tcp_flags & TCP_SYN))
		flags |= CONNTRACK_SEEN_NON_SYN;
	if (tcp_flags & TCP_RST)
		flags |= CONNTRACK_TX_CLOSING | CONNTRACK_RX_CLOSING;
	if (tcp_flags & TCP_FIN)
		flags |= reply ? CONNTRACK_RX_CLOSING : CONNTRACK_TX_CLOSING;
	return flags;
}

/* Counts a packet and prolongs the entry. Fields are written only when they change, so that
 * two CPUs that carry the two directions share the line in peace.
 */
static __always_inline void lifetime_count(struct conntrack_entry *entry, const struct packet *pkt,
					   __u64 now)
{
	bool reply = packet_is_reply(pkt);
	__u8 flags = lifetime_flags(entry->flags, pkt->tcp_flags, reply);
	__u64 due = now + lifetime_s(pkt->tuple.protocol, flags) * NS_PER_S;

	__sync_fetch_and_add(&entry->packets[reply], 1);
	__sync_fetch_and_add(&entry->bytes[reply], pkt->length);
	entry->last_seen[reply] = now;
	if (entry->flags != flags)
		entry->flags = flags;
	if ((entry->tcp_flags[reply] | pkt->tcp_flags) != entry->tcp_flags[reply])
		entry->tcp_flags[reply] |= pkt->tcp_flags;
	/* A division is dear: only when the second has changed. */
	if (due - entry->expires_s * NS_PER_S >= NS_PER_S)
		entry->expires_s = due / NS_PER_S;
}

/* Is this packet worth a trace event? New TCP flags are, and one packet an interval. */
static __always_inline bool lifetime_report(struct conntrack_entry *entry, const struct packet *pkt,
					    __u64 now)
{
	bool reply = packet_is_reply(pkt);
	__u8 flags = pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST);

	if (!config.events)
		return false;
	if ((entry->reported_flags[reply] | flags) == entry->reported_flags[reply] &&
	    now - entry->last_report[reply] < config.trace_interval_s * NS_PER_S)
		return false;
	entry->reported_flags[reply] |= flags;
	entry->last_report[reply] = now;
	return true;
}
