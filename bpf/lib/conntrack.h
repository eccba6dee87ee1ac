// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* conntrack: connections and what was decided about them.
 *
 * Written by the programs; read and swept by the agent, harvested by the
 * observer. One entry holds both directions: the key is ordered (lower address
 * and port first) and `flags` says which side began. Index 0 of a pair is the
 * initiator's direction, index 1 the reply's.
 */
#pragma once
#include "config.h"
#include "packet.h"

#define NS_PER_S 1000000000ULL

enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
};

struct conntrack_key {
	union address low;
	union address high;
	__be16 low_port;	 /* ICMP echo: the identifier on both sides */
	__be16 high_port;
	__u8 protocol;
	__u8 pad[3];
};
_Static_assert(sizeof(struct conntrack_key) == 40, "kernel/agent contract");

enum conntrack_flag {
	CONNTRACK_LOW_BEGAN = 1, /* the low side is the initiator */
	CONNTRACK_SEEN_REPLY = 2,
	CONNTRACK_SEEN_NON_SYN = 4, /* TCP: past the first SYN */
	CONNTRACK_TX_CLOSING = 8, /* FIN or RST from the initiator */
	CONNTRACK_RX_CLOSING = 16,
	CONNTRACK_EGRESS_JUDGED = 32, /* by the initiator's policy on this node */
	CONNTRACK_INGRESS_JUDGED = 64, /* by the responder's policy on this node */
	CONNTRACK_AUDITED = 128, /* allowed only because of audit mode */
};

struct conntrack_entry {
	__u64 packets[2];
	__u64 bytes[2];
	__u64 first_seen unit("ns"); /* CLOCK_MONOTONIC */
	__u64 last_seen[2] unit("ns");
	__u64 last_report[2] unit("ns"); /* of the last trace event, for aggregation */
	__u32 expires_s unit("s"); /* CLOCK_MONOTONIC */
	__u32 source_identity;  /* of the initiator */
	__u32 destination_identity;
	__u32 provenance[2];  /* indexed by enum policy_direction */
	__u32 generation[2];  /* of the endpoint that judged, same index */
	__u16 proxy_port;
	__u8 tcp_flags[2];  /* seen so far */
	__u8 flags;   /* enum conntrack_flag */
	__u8 reported_flags[2]; /* TCP flags already reported */
	__u8 pad;
};
_Static_assert(sizeof(struct conntrack_entry) == 112, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct conntrack_key);
	__type(value, struct conntrack_entry);
} conntrack SEC(".maps");

static __always_inline struct conntrack_key conntrack_key(const struct tuple *tuple)
{
	if (tuple_source_is_low(tuple))
		return (struct conntrack_key){
			.low = tuple->source,
			.high = tuple->destination,
			.low_port = tuple->source_port,
			.high_port = tuple->destination_port,
			.protocol = tuple->protocol,
		};
	return (struct conntrack_key){
		.low = tuple->destination,
		.high = tuple->source,
		.low_port = tuple->destination_port,
		.high_port = tuple->source_port,
		.protocol = tuple->protocol,
	};
}

/* Does a packet with this tuple go from the responder to the initiator? */
static __always_inline bool conntrack_is_reply(const struct conntrack_entry *entry,
					       const struct tuple *tuple)
{
	return tuple_source_is_low(tuple) != !!(entry->flags & CONNTRACK_LOW_BEGAN);
}

static __always_inline bool conntrack_is_expired(const struct conntrack_entry *entry, __u64 now)
{
	return entry->expires_s < now / NS_PER_S;
}

/* An opening SYN where it continues nothing: after the end, or from the wrong side. */
static __always_inline bool conntrack_reopens(const struct conntrack_entry *entry, __u8 tcp_flags,
					      bool reply)
{
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return false;
	return reply || entry->flags & (CONNTRACK_TX_CLOSING | CONNTRACK_RX_CLOSING);
}

/* How long an entry lives after this packet. */
static __always_inline __u32 conntrack_lifetime_s(__u8 protocol, __u8 flags)
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
static __always_inline __u8 conntrack_flags_after(__u8 flags, __u8 tcp_flags, bool reply)
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
static __always_inline void conntrack_touch(struct conntrack_entry *entry, const struct packet *pkt,
					    __u64 now)
{
	bool reply = packet_is_reply(pkt);
	__u8 flags = conntrack_flags_after(entry->flags, pkt->tcp_flags, reply);
	__u32 expires = now / NS_PER_S + conntrack_lifetime_s(pkt->tuple.protocol, flags);

	__sync_fetch_and_add(&entry->packets[reply], 1);
	__sync_fetch_and_add(&entry->bytes[reply], pkt->length);
	entry->last_seen[reply] = now;
	if (entry->flags != flags)
		entry->flags = flags;
	if ((entry->tcp_flags[reply] | pkt->tcp_flags) != entry->tcp_flags[reply])
		entry->tcp_flags[reply] |= pkt->tcp_flags;
	if (entry->expires_s != expires)
		entry->expires_s = expires;
}

/* Is this packet worth a trace event? New TCP flags are, and one packet an interval. */
static __always_inline bool conntrack_report(struct conntrack_entry *entry,
					     const struct packet *pkt, __u64 now)
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
