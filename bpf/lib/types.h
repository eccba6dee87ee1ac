// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* types: what every header needs: kernel types, helpers, one address form.
 *
 * An address is always 16 bytes: IPv6, or IPv4 mapped as ::ffff:a.b.c.d, so
 * that maps, tuples and events have one form for both families.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* unit("ns") on a member travels in BTF to Python. */
#define unit(name) __attribute__((btf_decl_tag("unit:" name)))

union address {
	__be32 words[4];
	__u64 halves[2];
	__u8 bytes[16];
};
_Static_assert(sizeof(union address) == 16, "kernel/agent contract");

#define ADDRESS_V4_PREFIX bpf_htonl(0x0000ffff)

static __always_inline union address address_from_v4(__be32 v4)
{
	return (union address){.halves = {0, bpf_cpu_to_be64(0xffff00000000 | bpf_ntohl(v4))}};
}

static __always_inline bool address_is_v4(const union address *addr)
{
	return !addr->halves[0] && addr->words[2] == ADDRESS_V4_PREFIX;
}

static __always_inline bool address_equal(const union address *a, const union address *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}
