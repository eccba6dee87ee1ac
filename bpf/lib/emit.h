// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* emit: writes events, counts packets, and turns a verdict into the hook's answer. */
#pragma once
#include <linux/pkt_cls.h>
#include "capture.h"
#include "config.h"
#include "packet.h"
#include "ring.h"

#undef THIS_FILE
#define THIS_FILE FILE_PACKET

/* Field by field, as a literal would be built on the stack first: 120 of its 512 bytes. */
static __always_inline void emit_fill(struct event_record *record, struct __sk_buff *ctx,
				      const struct packet *pkt)
{
	record->time = bpf_ktime_get_ns();
	record->source = pkt->tuple.source;
	record->destination = pkt->tuple.destination;
	record->source_port = pkt->tuple.source_port;
	record->destination_port = pkt->tuple.destination_port;
	record->protocol = pkt->tuple.protocol;
	record->verdict = pkt->verdict;
	record->source_identity = pkt->source_identity;
	record->destination_identity = pkt->destination_identity;
	record->source_endpoint = pkt->source_endpoint;
	record->destination_endpoint = pkt->destination_endpoint;
	record->provenance = pkt->provenance;
	record->staged_provenance = pkt->staged_provenance;
	record->policy = pkt->policy;
	record->generation = pkt->generation;
	record->length = pkt->length;
	record->ifindex = ctx->ifindex;
	record->cookie = bpf_get_socket_cookie(ctx);
	record->hash = ctx->hash;
	record->tcp_flags = pkt->tcp_flags;
	record->icmp_type = pkt->icmp_type;
	record->icmp_code = pkt->icmp_code;
	record->reason = pkt->trace_reason;
	record->match = pkt->match;
	record->direction = pkt->direction;
	record->proxy_port = pkt->proxy_port;
	record->line = pkt->line;
	record->file = pkt->file;
	record->staged_verdict = pkt->staged_verdict;
	record->cgroup = 0;
}

/* Everything the packet knows, as one record on this CPU's ring. The answer is for the
 * verifier alone: a record that found no room is counted, and nobody waits for it.
 */
__noinline int emit_event(struct __sk_buff *ctx, const struct packet *pkt, __u8 type, __u8 subtype)
{
	struct event_record *record;
	void *ring = ring_here();
	__u64 time;

	if (!ctx || !pkt)
		return 0;
	record = ring_reserve(ring);
	if (!record)
		return 0;
	emit_fill(record, ctx, pkt);
	record->type = type;
	record->subtype = subtype;
	if (type == EVENT_POLICY_VERDICT)
		record->reason = pkt->drop_reason;
	time = record->time;
	ring_submit(ring, record);
	if (type == EVENT_DROP)
		capture_drop(ctx, time);
	return 0;
}

/* A packet on its way, seen at this point. */
static __always_inline void emit_trace(struct __sk_buff *ctx, struct packet *pkt,
				       enum trace_point point)
{
	if (!config.events)
		return;
	pkt->verdict = EVENT_FORWARDED;
	emit_event(ctx, pkt, EVENT_TRACE, point);
}

static __always_inline void emit_policy_verdict(struct __sk_buff *ctx, struct packet *pkt)
{
	if (!config.events)
		return;
	emit_event(ctx, pkt, EVENT_POLICY_VERDICT, pkt->direction);
}

/* The end of every program: counts the packet, reports a drop, answers the hook. */
static __always_inline int emit_verdict(struct __sk_buff *ctx, struct packet *pkt,
					enum verdict verdict)
{
	if (verdict == VERDICT_DROP) {
		pkt->verdict = EVENT_DROPPED;
		metric_count(pkt->drop_reason, pkt->metric_direction, pkt->length);
		emit_event(ctx, pkt, EVENT_DROP, pkt->drop_reason);
		return TC_ACT_SHOT;
	}
	metric_count(0, pkt->metric_direction, pkt->length);
	if (verdict == VERDICT_HEARD)
		return TC_ACT_SHOT;
	return verdict == VERDICT_REDIRECT ? TC_ACT_REDIRECT : TC_ACT_UNSPEC;
}
