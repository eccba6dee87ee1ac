// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* parse: from bytes to struct packet: IPv4 and IPv6, options, fragments, ports, and the
 * packet inside an ICMP error.
 */
#pragma once
#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_PARSE

enum {
	IP_DF = 0x4000,
	IP_MF = 0x2000,
	IP_OFFSET_MASK = 0x1fff,
	IP6_OFFSET_MASK = 0xfff8,
	IP6_MF = 1,
	IP6_EXTENSIONS_MAX = 8, /* more than any sender has reason for */
	SCTP_HEADER_BYTES = 12,
};

enum fragment_kind {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,
};

/* What a network header says, outer or embedded. */
struct network {
	__u32 l3;		  /* offset; given */
	__u32 l4;		  /* offset */
	__u32 total unit("byte"); /* from the network header on */
	__u32 id;		  /* of the datagram, when it is a fragment */
	__u8 fragment;		  /* enum fragment_kind */
	__u8 ttl;
	__u8 v4; /* given */
	__u8 pad;
};

struct ipv6_extension {
	__u8 next;
	__u8 length;
	__be16 offset; /* fragment header: offset and flags */
	__be32 id;
};

step parse_ipv4(struct __sk_buff *ctx, struct network *network, struct tuple *tuple)
{
	struct iphdr ip;

	if (!packet_load_near(ctx, network->l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return VERDICT_DROP;
	tuple->source = address_from_v4(ip.saddr);
	tuple->destination = address_from_v4(ip.daddr);
	tuple->protocol = ip.protocol;
	network->total = bpf_ntohs(ip.tot_len);
	network->id = ip.id;
	network->ttl = ip.ttl;
	if (ip.frag_off & bpf_htons(IP_OFFSET_MASK))
		network->fragment = FRAGMENT_LATER;
	else if (ip.frag_off & bpf_htons(IP_MF))
		network->fragment = FRAGMENT_FIRST;
	network->l4 = network->l3 + ip.ihl * 4;
	return VERDICT_NEXT;
}

/* How many bytes an extension header has; 0: it is the transport's. */
static __always_inline __u32 parse_extension_bytes(__u8 protocol, const struct ipv6_extension *ext)
{
	switch (protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return (ext->length + 1) * 8;
	case IPPROTO_AH:
		return (ext->length + 2) * 4;
	case IPPROTO_FRAGMENT:
		return 8;
	default:
		return 0;
	}
}

static __always_inline void parse_fragment_header(struct network *network,
						  const struct ipv6_extension *ext)
{
	network->id = ext->id;
	if (ext->offset & bpf_htons(IP6_OFFSET_MASK))
		network->fragment = FRAGMENT_LATER;
	else if (ext->offset & bpf_htons(IP6_MF))
		network->fragment = FRAGMENT_FIRST;
}

/* Walks the extension headers. What follows in a later fragment is no header any more. */
step parse_extensions(struct __sk_buff *ctx, struct network *network, struct tuple *tuple)
{
	struct ipv6_extension ext = {};
	__u8 protocol;

	for (int i = 0; i < IP6_EXTENSIONS_MAX; i++) {
		protocol = tuple->protocol;
		if (!parse_extension_bytes(protocol, &ext))
			return VERDICT_NEXT;
		if (network->fragment == FRAGMENT_LATER ||
		    !packet_load(ctx, network->l4, &ext, sizeof(ext)))
			return VERDICT_DROP;
		if (protocol == IPPROTO_FRAGMENT)
			parse_fragment_header(network, &ext);
		tuple->protocol = ext.next;
		network->l4 += parse_extension_bytes(protocol, &ext);
	}
	return VERDICT_DROP;
}

step parse_ipv6(struct __sk_buff *ctx, struct network *network, struct tuple *tuple)
{
	struct ipv6hdr ip;

	if (!packet_load_near(ctx, network->l3, &ip, sizeof(ip)) || ip.version != 6)
		return VERDICT_DROP;
	__builtin_memcpy(&tuple->source, &ip.saddr, sizeof(union address));
	__builtin_memcpy(&tuple->destination, &ip.daddr, sizeof(union address));
	tuple->protocol = ip.nexthdr;
	network->ttl = ip.hop_limit;
	network->total = bpf_ntohs(ip.payload_len) + sizeof(ip);
	/* On the wire a mapped address is a lie: it would pass for an IPv4 one in every map. */
	if (address_is_v4(&tuple->source) || address_is_v4(&tuple->destination))
		return VERDICT_DROP;
	network->l4 = network->l3 + sizeof(ip);
	return parse_extensions(ctx, network, tuple);
}

/* Reads the network header at network->l3; the tuple gets all but ports. VERDICT_DROP without
 * a reason: it has none, or l4 is set and the headers after it are broken. */
shared_step parse_network(struct __sk_buff *ctx, struct network *network, struct tuple *tuple)
{
	if (!ctx || !network || !tuple)
		return VERDICT_DROP;
	return network->v4 ? parse_ipv4(ctx, network, tuple) : parse_ipv6(ctx, network, tuple);
}
