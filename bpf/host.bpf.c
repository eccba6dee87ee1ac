// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* host: the node's side of its pods: its stack and its network.
 *
 * host_to_pod runs where the stack hands packets to cilia_host, which is its only way to
 * a pod; host_from_net and host_to_net run on the device to the world. What concerns no
 * pod is left alone, whatever it is.
 */
#include "lib/forward.h"
#include "lib/masquerade_in.h"
#include "lib/masquerade_out.h"

#undef THIS_FILE
#define THIS_FILE FILE_HOST

/* Is this an address of the node or of a pod on it, which nobody else may send from?
 *
 * verifier: the copy, because no argument of a global function may be a map's key (kernel 6.1).
 */
__noinline bool host_is_local(const union address *addr)
{
	const struct ipcache_entry *entry;
	union address own;

	if (!addr)
		return false;
	own = *addr;
	if (endpoint_by_address(&own))
		return true;
	entry = ipcache_find(&own);
	return entry && entry->identity == IDENTITY_HOST;
}

/* The pod that a packet is for, as far as policy goes; it is ready. */
step host_judge(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *pod)
{
	pkt->destination_endpoint = pod->id;
	pkt->destination_identity = pod->identity;
	if (!endpoint_is_ready(pod))
		return drop(pkt, DROP_EP_NOT_READY);
	return connection_pass(ctx, pkt, NULL, pod);
}

/* Did another device than cilia_host bring what the stack forwards? Not what the node sends
 * itself, nor what its pods sent by the stack.
 */
static __always_inline bool host_is_forwarded(const struct __sk_buff *ctx)
{
	return ctx->ingress_ifindex && ctx->ingress_ifindex != config.host_ifindex;
}

/* What the stack sends to the pod network: into a pod, or nowhere. What it forwards from other
 * devices may say to come from anywhere, but not from here.
 */
step host_enter_pod(struct __sk_buff *ctx, struct packet *pkt)
{
	enum verdict verdict = packet_parse(ctx, pkt);
	const struct endpoint *pod;

	if (!masquerade_is_pod(&pkt->tuple.destination))
		return VERDICT_STACK;
	if (verdict)
		return verdict;
	pod = endpoint_by_address(&pkt->tuple.destination);
	if (!pod)
		return drop(pkt, DROP_STALE_OR_UNROUTABLE_IP);
	if (host_is_forwarded(ctx) && host_is_local(&pkt->tuple.source))
		return drop(pkt, DROP_INVALID_SOURCE_IP);
	verdict = host_judge(ctx, pkt, pod);
	if (verdict)
		return verdict;
	return forward_to_device(ctx, pkt, pod);
}

/* From the network into a pod. The node and its pods have no business out there, so whoever
 * comes in under their names lies, and leaves no connection behind.
 */
step host_deliver(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *pod)
{
	enum verdict verdict;

	if (host_is_local(&pkt->tuple.source))
		return drop(pkt, DROP_INVALID_SOURCE_IP);
	verdict = host_judge(ctx, pkt, pod);
	if (verdict)
		return verdict;
	verdict = packet_decrement_ttl(ctx, pkt);
	if (verdict)
		return verdict;
	return forward_to_peer(ctx, pkt, pod);
}

/* What comes in: answers to masqueraded pods get their pod back; pods get theirs. */
step host_receive(struct __sk_buff *ctx, struct packet *pkt)
{
	const struct endpoint *pod;
	enum verdict verdict;
	bool masqueraded;

	if (packet_parse(ctx, pkt))
		return VERDICT_STACK;
	masqueraded = masquerade_is_node(&pkt->tuple.destination);
	verdict = unmasquerade(ctx, pkt);
	if (verdict)
		return verdict;
	if (!masquerade_is_pod(&pkt->tuple.destination))
		return VERDICT_STACK;
	/* The stack answers a last hop, with a quote that shows the pod's address. */
	if (pkt->ttl <= 1)
		return masqueraded ? drop(pkt, DROP_TTL_EXCEEDED) : VERDICT_STACK;
	pod = endpoint_by_address(&pkt->tuple.destination);
	return pod ? host_deliver(ctx, pkt, pod) : VERDICT_STACK;
}

/* What goes out: no pod address but where it is known. */
step host_send(struct __sk_buff *ctx, struct packet *pkt)
{
	enum verdict verdict = packet_parse(ctx, pkt);

	if (!verdict)
		return masquerade(ctx, pkt);
	if (masquerade_is_pod(&pkt->tuple.source) && !masquerade_is_pod(&pkt->tuple.destination))
		return verdict;
	return VERDICT_STACK;
}

SEC("tc")
int host_to_pod(struct __sk_buff *ctx)
{
	struct packet pkt = PACKET_INIT(ctx, METRIC_INGRESS);

	return emit_verdict(ctx, &pkt, host_enter_pod(ctx, &pkt));
}

SEC("tc")
int host_from_net(struct __sk_buff *ctx)
{
	struct packet pkt = PACKET_INIT(ctx, METRIC_INGRESS);

	return emit_verdict(ctx, &pkt, host_receive(ctx, &pkt));
}

SEC("tc")
int host_to_net(struct __sk_buff *ctx)
{
	struct packet pkt = PACKET_INIT(ctx, METRIC_EGRESS);

	return emit_verdict(ctx, &pkt, host_send(ctx, &pkt));
}

char _license[] SEC("license") = "Dual BSD/GPL";
