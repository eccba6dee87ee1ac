// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* pod: all that a pod sends; ingress of every pod's host-side device.
 *
 * For a local receiver this is also the gate of the receiver: both policies judge here, and
 * the packet goes straight into the other pod.
 */
#include "lib/forward.h"
#include "lib/neighbour.h"

#undef THIS_FILE
#define THIS_FILE FILE_POD

/* The node itself, or where its routes lead. */
step pod_leave(struct __sk_buff *ctx, struct packet *pkt)
{
	if (pkt->destination_identity == IDENTITY_HOST)
		return forward_to_stack(ctx, pkt, TRACE_TO_HOST);
	return forward_to_network(ctx, pkt);
}

step pod_judge(struct __sk_buff *ctx, struct packet *pkt)
{
	struct endpoint *source = endpoint_by_ifindex(ctx->ifindex), *destination;
	enum verdict verdict;

	if (!endpoint_is_ready(source))
		return drop(pkt, DROP_EP_NOT_READY);
	pkt->source_endpoint = source->id;
	pkt->source_identity = source->identity;
	if (!endpoint_owns(source, &pkt->tuple.source))
		return drop(pkt, DROP_INVALID_SOURCE_IP);
	destination = endpoint_by_address(&pkt->tuple.destination);
	if (destination && !endpoint_is_ready(destination)) {
		pkt->metric_direction = METRIC_INGRESS;
		pkt->destination_endpoint = destination->id;
		pkt->destination_identity = destination->identity;
		return drop(pkt, DROP_EP_NOT_READY);
	}
	verdict = connection_pass(ctx, pkt, source, destination);
	if (verdict)
		return verdict;
	if (destination)
		return forward_to_peer(ctx, pkt, destination);
	return pod_leave(ctx, pkt);
}

step pod_send(struct __sk_buff *ctx, struct packet *pkt)
{
	enum verdict verdict;

	if (ctx->protocol == bpf_htons(ETH_P_ARP))
		return neighbour_answer_arp(ctx, pkt);
	verdict = packet_parse(ctx, pkt);
	if (verdict)
		return verdict;
	if (neighbour_is_discovery(pkt))
		return neighbour_answer_discovery(ctx, pkt);
	return pod_judge(ctx, pkt);
}

SEC("tc")
int pod_from(struct __sk_buff *ctx)
{
	struct packet pkt = PACKET_INIT(ctx, METRIC_EGRESS);

	return emit_verdict(ctx, &pkt, pod_send(ctx, &pkt));
}

char _license[] SEC("license") = "Dual BSD/GPL";
