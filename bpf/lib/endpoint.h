// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* endpoint: the pods of this node, one row each.
 *
 * Written by the agent. `endpoint` is keyed by the host-side interface (who
 * sends), `endpoint_addr` by address (who receives); the value is the same
 * row. A pod without a row, or without ENDPOINT_READY, is closed both ways.
 */
#pragma once
#include "types.h"

enum endpoint_flag {
	ENDPOINT_READY = 1,	       /* its policy is in the policy map */
	ENDPOINT_INGRESS_ENFORCED = 2, /* else every ingress is allowed without a lookup */
	ENDPOINT_EGRESS_ENFORCED = 4,
	ENDPOINT_AUDIT = 8, /* a policy drop becomes an AUDIT verdict and passes */
};

struct endpoint {
	union address v4; /* all zero: the pod has none */
	union address v6;
	__u32 id;
	__u32 identity;
	__u32 ifindex;
	__u32 policy;	  /* which rows of the policy map are its own */
	__u32 generation; /* connections judged under another one are judged again */
	__u32 flags;	  /* enum endpoint_flag */
	__u8 mac[6];	  /* of the pod's interface */
	__u8 host_mac[6]; /* of the host-side interface */
	__u32 pad;
};
_Static_assert(sizeof(struct endpoint) == 72, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32); /* ifindex */
	__type(value, struct endpoint);
} endpoint SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, union address);
	__type(value, struct endpoint);
} endpoint_addr SEC(".maps");

static __always_inline struct endpoint *endpoint_by_ifindex(__u32 ifindex)
{
	return bpf_map_lookup_elem(&endpoint, &ifindex);
}

static __always_inline struct endpoint *endpoint_by_address(const union address *addr)
{
	return bpf_map_lookup_elem(&endpoint_addr, addr);
}

static __always_inline bool endpoint_is_ready(const struct endpoint *row)
{
	return row && row->flags & ENDPOINT_READY;
}

/* A family that the pod does not have is all zero in the row, and nobody's. */
static __always_inline bool endpoint_owns(const struct endpoint *row, const union address *addr)
{
	if (!(addr->halves[0] | addr->halves[1]))
		return false;
	return address_equal(&row->v4, addr) || address_equal(&row->v6, addr);
}
