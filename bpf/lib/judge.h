// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* judge: what an endpoint's policy says about a packet, and why. */
#pragma once
#include "denied.h"
#include "emit.h"
#include "endpoint.h"
#include "ipcache.h"
#include "policy.h"
#include "headers.h"

#undef THIS_FILE
#define THIS_FILE FILE_POLICY

static __always_inline enum event_match judge_match(const struct policy_match *match)
{
	__u8 bits = match->row->prefixlen;

	if (bits <= POLICY_BASE_BITS)
		return match->by_class ? MATCH_L3_ONLY : MATCH_ALL;
	if (bits <= POLICY_PROTOCOL_BITS)
		return match->by_class ? MATCH_L3_PROTO : MATCH_PROTO_ONLY;
	return match->by_class ? MATCH_L3_L4 : MATCH_L4_ONLY;
}

/* The port that a policy speaks of is the responder's; of ICMP it is the type. */
static __always_inline __be16 judge_port(const struct packet *pkt)
{
	if (!transport_is_icmp(pkt->tuple.protocol))
		return packet_is_reply(pkt) ? pkt->tuple.source_port : pkt->tuple.destination_port;
	if (packet_is_reply(pkt))
		return bpf_htons(transport_echo_type(pkt->tuple.protocol));
	return bpf_htons(pkt->icmp_type);
}

/* Who is not known yet gets an identity, and whose address has a class of its own gets that:
 * prefixes of CIDR rules, and pods and nodes where those are matched too. A class that was
 * made for another identity does not count.
 */
shared_step judge_identify(struct packet *pkt)
{
	const struct ipcache_entry *entry;

	if (!pkt)
		return VERDICT_DROP;
	if (!pkt->source_identity || config.class_by_address) {
		entry = ipcache_find(&pkt->tuple.source);
		if (!pkt->source_identity)
			pkt->source_identity = ipcache_identity(entry, &pkt->tuple.source);
		pkt->source_class =
			entry && entry->identity == pkt->source_identity ? entry->class : 0;
	}
	if (!pkt->destination_identity || config.class_by_address) {
		entry = ipcache_find(&pkt->tuple.destination);
		if (!pkt->destination_identity)
			pkt->destination_identity =
				ipcache_identity(entry, &pkt->tuple.destination);
		pkt->destination_class =
			entry && entry->identity == pkt->destination_identity ? entry->class : 0;
	}
	return VERDICT_NEXT;
}

/* A policy's no: final, unless the endpoint is only being audited. */
step judge_refuse(struct packet *pkt, const struct endpoint *endpoint, enum drop_reason reason)
{
	if (endpoint->flags & ENDPOINT_AUDIT) {
		pkt->verdict = EVENT_AUDIT;
		return VERDICT_NEXT;
	}
	pkt->verdict = EVENT_DROPPED;
	denied_count(pkt->provenance, pkt->length);
	return drop(pkt, reason);
}

step judge_row(struct packet *pkt, const struct endpoint *endpoint, const struct policy_entry *row)
{
	switch (row->verdict) {
	case POLICY_VERDICT_ALLOW:
		return VERDICT_NEXT;
	case POLICY_VERDICT_DENY:
		return judge_refuse(pkt, endpoint, DROP_POLICY_DENY);
	case POLICY_VERDICT_REDIRECT:
		pkt->proxy_port = bpf_ntohs(row->proxy_port);
		pkt->verdict = EVENT_DROPPED;
		return drop(pkt, DROP_PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL);
	default:
		return judge_refuse(pkt, endpoint, DROP_POLICY_DENIED);
	}
}

step judge_peer(struct packet *pkt, const struct endpoint *endpoint)
{
	bool ingress = pkt->direction == POLICY_INGRESS;
	bool source = ingress != packet_is_reply(pkt);
	__u32 identity = source ? pkt->source_identity : pkt->destination_identity;
	__u32 class = source ? pkt->source_class : pkt->destination_class;
	struct policy_match match;
	struct policy_key key;
	__u32 *classified;

	if (ingress && config.allow_host && identity == IDENTITY_HOST)
		return VERDICT_NEXT;
	if (!class) {
		classified = bpf_map_lookup_elem(&policy_class, &identity);
		class = classified ? *classified : 0;
	}
	if (!class)
		return drop(pkt, DROP_INVALID_IDENTITY);
	key = (struct policy_key){
		.prefixlen = POLICY_FULL_BITS,
		.policy = endpoint->policy,
		.class = class,
		.direction = pkt->direction,
		.protocol = pkt->tuple.protocol,
		.port = judge_port(pkt),
	};
	match = policy_find(&key);
	if (!match.row)
		return drop(pkt, DROP_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION);
	pkt->match = judge_match(&match);
	pkt->provenance = match.row->provenance;
	pkt->staged_provenance = match.row->staged_provenance;
	pkt->staged_verdict = match.row->staged_verdict;
	return judge_row(pkt, endpoint, match.row);
}

/* Does this endpoint's policy, in this direction, let the packet's connection be? Identities
 * and the reply flag are set. Leaves verdict, match and provenance in the packet, and reports
 * them if a policy spoke.
 */
shared_step judge_policy(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *endpoint,
			 enum policy_direction direction)
{
	enum verdict verdict;

	if (!ctx || !pkt || !endpoint)
		return VERDICT_DROP;
	pkt->direction = direction;
	pkt->policy = endpoint->policy;
	pkt->generation = endpoint->generation;
	pkt->provenance = 0;
	pkt->match = MATCH_NONE;
	pkt->verdict = EVENT_FORWARDED;
	if (!(endpoint->flags &
	      (direction == POLICY_INGRESS ? ENDPOINT_INGRESS_ENFORCED : ENDPOINT_EGRESS_ENFORCED)))
		return VERDICT_NEXT;
	verdict = judge_peer(pkt, endpoint);
	if (verdict == VERDICT_DROP) {
		pkt->verdict = EVENT_DROPPED;
		pkt->metric_direction =
			direction == POLICY_INGRESS ? METRIC_INGRESS : METRIC_EGRESS;
	}
	emit_policy_verdict(ctx, pkt);
	return verdict;
}
