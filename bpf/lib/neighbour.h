// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* neighbour: answers a pod that asks for its gateway's MAC: ARP and neighbour discovery.
 *
 * A pod's only neighbour is its gateway, so nothing else is answered or passed on: no pod
 * can learn, claim or advertise an address on this link. What every IPv6 stack announces
 * when a link comes up is heard, and is no drop: nothing went wrong.
 */
#pragma once
#include "emit.h"
#include "headers.h"

#undef THIS_FILE
#define THIS_FILE FILE_NEIGHBOUR

struct arp_frame {
	struct packet_macs macs;
	__be16 ethertype;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
};
_Static_assert(sizeof(struct arp_frame) == 42, "RFC 826");

enum {
	ARP_ETHERNET = 1,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	ND_ROUTER_SOLICITATION = 133,
	ND_SOLICITATION = 135,
	ND_ADVERTISEMENT = 136,
	ND_REDIRECT = 137,
	ND_HOP_LIMIT = 255,
	ND_TARGET_MAC = 2, /* option: target link-layer address */
	ND_SOLICITED_OVERRIDE = 0x60,
	MLD_QUERY = 130,
	MLD_REPORT = 131,
	MLD_DONE = 132,
	MLD2_REPORT = 143,
};

/* An advertisement, with its pseudo-header's length and next header told apart. */
struct nd_message {
	struct icmp6hdr icmp;
	union address target;
	__u8 option;
	__u8 option_length unit("8 byte");
	__u8 mac[ETH_ALEN];
};
_Static_assert(sizeof(struct nd_message) == 32, "RFC 4861 section 4.4");

struct nd_pseudo {
	union address source;
	union address destination;
	__be32 length;
	__be32 next_header;
	struct nd_message message;
};

struct nd_frame {
	struct packet_macs macs;
	__be16 ethertype;
	struct ipv6hdr ip;
	struct nd_message message;
} __attribute__((packed));
_Static_assert(sizeof(struct nd_frame) == 86, "no holes: it is a frame");

static __always_inline void neighbour_gateway_mac(__u8 *to)
{
	for (int i = 0; i < ETH_ALEN; i++)
		to[i] = config.gateway_mac[i];
}

/* Back out of the device that the question came from. */
step neighbour_send(struct __sk_buff *ctx)
{
	bpf_redirect(ctx->ifindex, 0);
	return VERDICT_REDIRECT;
}

shared_step neighbour_answer_arp(struct __sk_buff *ctx, struct packet *pkt)
{
	struct arp_frame arp;
	__be32 target;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	if (!packet_load(ctx, 0, &arp, sizeof(arp)))
		return drop(pkt, DROP_INVALID_PACKET_DROPPED);
	__builtin_memcpy(&target, arp.target, sizeof(target));
	if (arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_bytes != ETH_ALEN || arp.protocol_bytes != sizeof(target) ||
	    arp.operation != bpf_htons(ARP_REQUEST) || !target ||
	    target != config.router_v4.words[3])
		return drop(pkt, DROP_UNSUPPORTED_L2_PROTOCOL);
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target, arp.sender, sizeof(arp.target));
	__builtin_memcpy(arp.sender, &target, sizeof(target));
	__builtin_memcpy(arp.target_mac, arp.sender_mac, ETH_ALEN);
	neighbour_gateway_mac(arp.sender_mac);
	__builtin_memcpy(arp.macs.destination, arp.macs.source, ETH_ALEN);
	neighbour_gateway_mac(arp.macs.source);
	if (!packet_store(ctx, 0, &arp, sizeof(arp)))
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	return neighbour_send(ctx);
}

/* Neighbour discovery, router discovery and multicast listeners: talk of the link itself. */
static __always_inline bool neighbour_is_discovery(const struct packet *pkt)
{
	__u8 type = pkt->icmp_type;

	return pkt->tuple.protocol == IPPROTO_ICMPV6 &&
	       ((type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT) ||
		(type >= MLD_QUERY && type <= MLD_DONE) || type == MLD2_REPORT);
}

/* The checksum of an advertisement from `source` to `destination`. */
static __always_inline __u16 neighbour_checksum(const struct nd_frame *frame)
{
	struct nd_pseudo pseudo = {
		.length = bpf_htonl(sizeof(struct nd_message)),
		.next_header = bpf_htonl(IPPROTO_ICMPV6),
		.message = frame->message,
	};

	__builtin_memcpy(&pseudo.source, &frame->ip.saddr, sizeof(pseudo.source));
	__builtin_memcpy(&pseudo.destination, &frame->ip.daddr, sizeof(pseudo.destination));
	return checksum_fold(bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0));
}

step neighbour_advertise(struct __sk_buff *ctx, struct packet *pkt, struct nd_frame *frame)
{
	__builtin_memcpy(frame->macs.destination, frame->macs.source, ETH_ALEN);
	neighbour_gateway_mac(frame->macs.source);
	frame->ip.daddr = frame->ip.saddr;
	__builtin_memcpy(&frame->ip.saddr, &frame->message.target, sizeof(frame->ip.saddr));
	frame->ip.payload_len = bpf_htons(sizeof(struct nd_message));
	frame->message.icmp = (struct icmp6hdr){.icmp6_type = ND_ADVERTISEMENT};
	frame->message.icmp.icmp6_dataun.un_data8[0] = ND_SOLICITED_OVERRIDE;
	frame->message.option = ND_TARGET_MAC;
	frame->message.option_length = 1;
	neighbour_gateway_mac(frame->message.mac);
	frame->message.icmp.icmp6_cksum = neighbour_checksum(frame);
	if (bpf_skb_change_tail(ctx, sizeof(*frame), 0) ||
	    !packet_store(ctx, 0, frame, sizeof(*frame)))
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	return neighbour_send(ctx);
}

/* What a starting stack tells or asks the link as a whole: listener reports (RFC 3810), a
 * search for routers (RFC 4861) and a probe of its own address (RFC 4862 section 5.4.2).
 */
static __always_inline bool neighbour_is_announcement(const struct packet *pkt)
{
	const union address unspecified = {};
	__u8 type = pkt->icmp_type;

	if ((pkt->tuple.destination.words[0] & bpf_htonl(0xffff0000)) != bpf_htonl(0xff020000))
		return false;
	if (type == ND_SOLICITATION)
		return address_equal(&pkt->tuple.source, &unspecified);
	return type == MLD_REPORT || type == MLD_DONE || type == MLD2_REPORT ||
	       type == ND_ROUTER_SOLICITATION;
}

/* Advertises the gateway to a pod that solicits it; all other talk ends here. */
shared_step neighbour_answer_discovery(struct __sk_buff *ctx, struct packet *pkt)
{
	const union address unspecified = {};
	struct nd_frame frame = {};
	union address target;

	if (!ctx || !pkt)
		return VERDICT_DROP;
	if (neighbour_is_announcement(pkt))
		return VERDICT_HEARD;
	if (pkt->icmp_type != ND_SOLICITATION || pkt->ttl != ND_HOP_LIMIT ||
	    pkt->l4 != PACKET_L3 + sizeof(struct ipv6hdr) ||
	    address_equal(&pkt->tuple.source, &unspecified))
		return drop(pkt, DROP_FORBIDDEN_ICMPV6_MESSAGE);
	/* The option is missing when the pod only probes a neighbour that it knows. */
	if (!packet_load(ctx, 0, &frame, offsetof(struct nd_frame, message.option)))
		return drop(pkt, DROP_INVALID_PACKET_DROPPED);
	__builtin_memcpy(&target, &frame.message.target, sizeof(target));
	if (target.halves[0] != config.router_v6.halves[0] ||
	    target.halves[1] != config.router_v6.halves[1] || !target.halves[0])
		return drop(pkt, DROP_FORBIDDEN_ICMPV6_MESSAGE);
	return neighbour_advertise(ctx, pkt, &frame);
}
