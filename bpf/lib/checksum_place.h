// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* checksum_place: where a transport header keeps its checksum. */
#pragma once
#include "transport.h"

static __always_inline __u32 checksum_place(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	default:
		return offsetof(struct icmp_header, checksum);
	}
}
