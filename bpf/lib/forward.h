// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* forward: the last step: into a pod, up to the node, or out to the network. */
#pragma once
#include "connection.h"

#undef THIS_FILE
#define THIS_FILE FILE_FORWARD

enum {
	FAMILY_INET = 2, /* AF_INET and AF_INET6, whose header is not for kernels */
	FAMILY_INET6 = 10,
};

static __always_inline void forward_trace(struct __sk_buff *ctx, struct packet *pkt,
					  enum trace_point point)
{
	if (pkt->flags & PACKET_REPORT)
		emit_trace(ctx, pkt, point);
}

/* Addresses the frame to a local pod. The program that calls it judged the packet. */
step forward_address_pod(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *pod)
{
	enum verdict verdict = packet_address(ctx, pkt, (const struct packet_macs *)pod->mac);

	if (verdict)
		return verdict;
	metric_count(0, METRIC_INGRESS, pkt->length);
	forward_trace(ctx, pkt, TRACE_TO_ENDPOINT);
	return VERDICT_NEXT;
}

/* Straight into the pod's namespace; only from an ingress hook. */
step forward_to_peer(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *pod)
{
	enum verdict verdict = forward_address_pod(ctx, pkt, pod);

	if (verdict)
		return verdict;
	bpf_redirect_peer(pod->ifindex, 0);
	return VERDICT_REDIRECT;
}

/* Through the pod's host-side device; from an egress hook. */
step forward_to_device(struct __sk_buff *ctx, struct packet *pkt, const struct endpoint *pod)
{
	enum verdict verdict = forward_address_pod(ctx, pkt, pod);

	if (verdict)
		return verdict;
	bpf_redirect(pod->ifindex, 0);
	return VERDICT_REDIRECT;
}

/* Up into the node's stack, as if it had come in on cilia_host. */
step forward_to_stack(struct __sk_buff *ctx, struct packet *pkt, enum trace_point point)
{
	struct packet_macs macs;
	enum verdict verdict;

	for (int i = 0; i < ETH_ALEN; i++) {
		macs.destination[i] = config.host_mac[i];
		macs.source[i] = config.gateway_mac[i];
	}
	verdict = packet_address(ctx, pkt, &macs);
	if (verdict)
		return verdict;
	forward_trace(ctx, pkt, point);
	bpf_redirect(config.host_ifindex, BPF_F_INGRESS);
	return VERDICT_REDIRECT;
}

static __always_inline bool forward_is_too_big(struct __sk_buff *ctx, __u32 ifindex)
{
	__u32 mtu = 0;

	/* Negative: a large segment without a transport header; the device cuts or refuses it. */
	return bpf_check_mtu(ctx, ifindex, &mtu, 0, ctx->gso_size ? BPF_MTU_CHK_SEGS : 0) > 0;
}

static __always_inline struct bpf_fib_lookup forward_route_request(struct __sk_buff *ctx,
								   const struct packet *pkt)
{
	struct bpf_fib_lookup fib = {
		.l4_protocol = pkt->tuple.protocol,
		.sport = pkt->tuple.source_port,
		.dport = pkt->tuple.destination_port,
		.tot_len = ctx->gso_size ? 0 : pkt->length - PACKET_L3,
		.ifindex = config.host_ifindex,
	};

	if (packet_is_v4(pkt)) {
		fib.family = FAMILY_INET;
		fib.ipv4_src = pkt->tuple.source.words[3];
		fib.ipv4_dst = pkt->tuple.destination.words[3];
	} else {
		fib.family = FAMILY_INET6;
		__builtin_memcpy(fib.ipv6_src, &pkt->tuple.source, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &pkt->tuple.destination, sizeof(fib.ipv6_dst));
	}
	return fib;
}

/* Out to where the node's routes lead. What needs an answer from a router (no route, too big,
 * last hop) goes to the stack, which gives it.
 */
shared_step forward_to_network(struct __sk_buff *ctx, struct packet *pkt)
{
	struct bpf_redir_neigh neighbour = {};
	struct bpf_fib_lookup fib;
	enum verdict verdict;
	long found;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	if (pkt->ttl <= 1)
		return forward_to_stack(ctx, pkt, TRACE_TO_STACK);
	fib = forward_route_request(ctx, pkt);
	found = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (found < 0)
		return drop(pkt, DROP_FIB_LOOKUP_FAILED);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return forward_to_stack(ctx, pkt, TRACE_TO_STACK);
	/* A pod network of this node leads to cilia_host: nobody has this address. */
	if (fib.ifindex == config.host_ifindex)
		return drop(pkt, DROP_STALE_OR_UNROUTABLE_IP);
	if (forward_is_too_big(ctx, fib.ifindex))
		return forward_to_stack(ctx, pkt, TRACE_TO_STACK);
	verdict = packet_decrement_ttl(ctx, pkt);
	if (verdict)
		return verdict;
	forward_trace(ctx, pkt, TRACE_TO_NETWORK);
	neighbour.nh_family = fib.family;
	if (fib.family == FAMILY_INET)
		neighbour.ipv4_nh = fib.ipv4_dst;
	else
		__builtin_memcpy(neighbour.ipv6_nh, fib.ipv6_dst, sizeof(neighbour.ipv6_nh));
	bpf_redirect_neigh(fib.ifindex, &neighbour, sizeof(neighbour), 0);
	return VERDICT_REDIRECT;
}
