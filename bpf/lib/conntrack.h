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

struct conntrack_key {
	union address low;
	union address high;
	__be16 low_port; /* ICMP echo: the identifier on both sides */
	__be16 high_port;
	__u8 protocol;
	__u8 pad[3];
};
_Static_assert(sizeof(struct conntrack_key) == 40, "kernel/agent contract");

enum conntrack_flag {
	CONNTRACK_LOW_BEGAN = 1, /* the low side is the initiator */
	CONNTRACK_SEEN_REPLY = 2,
	CONNTRACK_SEEN_NON_SYN = 4, /* TCP: past the first SYN */
	CONNTRACK_TX_CLOSING = 8,   /* FIN or RST from the initiator */
	CONNTRACK_RX_CLOSING = 16,
	CONNTRACK_EGRESS_JUDGED = 32,  /* by the initiator's policy on this node */
	CONNTRACK_INGRESS_JUDGED = 64, /* by the responder's policy on this node */
	CONNTRACK_AUDITED = 128,       /* allowed only because of audit mode */
};

struct conntrack_entry {
	__u64 packets[2];
	__u64 bytes[2];
	__u64 first_seen unit("ns"); /* CLOCK_MONOTONIC */
	__u64 last_seen[2] unit("ns");
	__u64 last_report[2] unit("ns"); /* of the last trace event, for aggregation */
	__u32 expires_s unit("s");	 /* CLOCK_MONOTONIC */
	__u32 source_identity;		 /* of the initiator */
	__u32 destination_identity;
	__u32 provenance[2]; /* indexed by enum policy_direction */
	__u32 generation[2]; /* of the endpoint that judged, same index */
	__u16 proxy_port;
	__u8 tcp_flags[2];	/* seen so far */
	__u8 flags;		/* enum conntrack_flag */
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

/* `low`: tuple_source_is_low, for callers that need it again. */
static __always_inline struct conntrack_key conntrack_key_ordered(const struct tuple *tuple,
								  bool low)
{
	if (low)
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

static __always_inline struct conntrack_key conntrack_key(const struct tuple *tuple)
{
	return conntrack_key_ordered(tuple, tuple_source_is_low(tuple));
}

/* Does a packet from the low or the high side go from the responder to the initiator? */
static __always_inline bool conntrack_is_reply_from(const struct conntrack_entry *entry, bool low)
{
	return low != !!(entry->flags & CONNTRACK_LOW_BEGAN);
}

/* Does a packet with this tuple go from the responder to the initiator? */
static __always_inline bool conntrack_is_reply(const struct conntrack_entry *entry,
					       const struct tuple *tuple)
{
	return conntrack_is_reply_from(entry, tuple_source_is_low(tuple));
}

static __always_inline bool conntrack_is_expired(const struct conntrack_entry *entry, __u64 now)
{
	return (entry->expires_s + 1) * NS_PER_S <= now;
}
