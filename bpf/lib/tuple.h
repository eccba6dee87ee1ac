// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* tuple: who talks to whom, and the order that makes both directions one key.
 *
 * Pure: the host compiler builds it for tests.
 */
#pragma once
#include "types.h"

/* ICMP echo: the port of the side that asks is the identifier, the other is 0, so
 * that requests of both sides with one identifier are two connections.
 */
struct tuple {
	union address source;
	union address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];
};
_Static_assert(sizeof(struct tuple) == 40, "no holes: it is copied into keys");

static __always_inline bool tuple_source_is_low(const struct tuple *tuple)
{
	__u64 source = bpf_be64_to_cpu(tuple->source.halves[0]);
	__u64 destination = bpf_be64_to_cpu(tuple->destination.halves[0]);

	if (source != destination)
		return source < destination;
	source = bpf_be64_to_cpu(tuple->source.halves[1]);
	destination = bpf_be64_to_cpu(tuple->destination.halves[1]);
	if (source != destination)
		return source < destination;
	return bpf_ntohs(tuple->source_port) <= bpf_ntohs(tuple->destination_port);
}
