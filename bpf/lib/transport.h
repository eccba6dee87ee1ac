// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* transport: ports, TCP flags and ICMP types. */
#pragma once
#include "parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_TRANSPORT

/* RFC 792. Linux's own header brings all of the C library's sockets with it. */
enum icmp_type {
	ICMP_ECHOREPLY = 0,
	ICMP_DEST_UNREACH = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
};

/* As ICMP and ICMPv6 begin, both; what follows the checksum is an echo's. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be16 id;
	__be16 sequence;
};
_Static_assert(sizeof(struct icmp_header) == 8, "RFC 792");

/* RFC 792, RFC 4443: the types that quote the packet they complain about. */
static __always_inline bool transport_is_error(__u8 protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

static __always_inline bool transport_is_icmp(__u8 protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* The type of an echo request, which is what policy judges when it judges an echo. */
static __always_inline __u8 transport_echo_type(__u8 protocol)
{
	return protocol == IPPROTO_ICMPV6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO;
}

/* The type of an echo reply. */
static __always_inline __u8 transport_echo_reply_type(__u8 protocol)
{
	return protocol == IPPROTO_ICMPV6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
}

/* Ports of any protocol that begins with them, or an echo's identifier: 8 bytes suffice,
 * which is all that an ICMP error has to quote. Zero `protocol`: not known to us.
 */
static __always_inline bool transport_ports(struct __sk_buff *ctx, struct tuple *tuple, __u32 l4)
{
	struct icmp_header head;
	const __be16 *ports = (const __be16 *)&head;

	if (!packet_load(ctx, l4, &head, sizeof(head)))
		return false;
	if (!transport_is_icmp(tuple->protocol)) {
		tuple->source_port = ports[0];
		tuple->destination_port = ports[1];
	} else if (head.type == transport_echo_type(tuple->protocol)) {
		tuple->source_port = head.id;
	} else if (head.type == ICMP_ECHOREPLY || head.type == ICMPV6_ECHO_REPLY) {
		tuple->destination_port = head.id;
	}
	return true;
}

step transport_icmp(struct __sk_buff *ctx, struct packet *pkt)
{
	bool v4 = packet_is_v4(pkt);
	struct icmp_header icmp;

	if (v4 != (pkt->tuple.protocol == IPPROTO_ICMP))
		return drop(pkt, DROP_CT_UNKNOWN_L4_PROTOCOL);
	if (!packet_load(ctx, pkt->l4, &icmp, sizeof(icmp)))
		return drop(pkt, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	pkt->icmp_type = icmp.type;
	pkt->icmp_code = icmp.code;
	if (icmp.type == transport_echo_type(pkt->tuple.protocol)) {
		pkt->tuple.source_port = icmp.id;
		return VERDICT_NEXT;
	}
	pkt->flags |= PACKET_STATELESS;
	if (icmp.type == transport_echo_reply_type(pkt->tuple.protocol)) {
		pkt->tuple.destination_port = icmp.id;
		return VERDICT_NEXT;
	}
	if (!transport_is_error(pkt->tuple.protocol, icmp.type))
		return VERDICT_NEXT;
	pkt->flags |= PACKET_ICMP_ERROR;
	return VERDICT_NEXT;
}

step transport_parse(struct __sk_buff *ctx, struct packet *pkt)
{
	struct tcphdr tcp;
	__u32 bytes;

	switch (pkt->tuple.protocol) {
	case IPPROTO_TCP:
		if (!packet_load_near(ctx, pkt->l4, &tcp, sizeof(tcp)))
			return drop(pkt, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		pkt->tuple.source_port = tcp.source;
		pkt->tuple.destination_port = tcp.dest;
		pkt->tcp_flags = ((const __u8 *)&tcp)[13];
		return VERDICT_NEXT;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		bytes = pkt->tuple.protocol == IPPROTO_UDP ? sizeof(struct udphdr)
							   : SCTP_HEADER_BYTES;
		if (pkt->l4 + bytes > ctx->len || !transport_ports(ctx, &pkt->tuple, pkt->l4))
			return drop(pkt, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		return VERDICT_NEXT;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return transport_icmp(ctx, pkt);
	default:
		return drop(pkt, DROP_CT_UNKNOWN_L4_PROTOCOL);
	}
}
