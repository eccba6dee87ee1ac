// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* ipcache: which identity owns an address; longest prefix wins.
 *
 * Written by the agent, read by every program. A prefix that only CIDR rules
 * know carries its class directly; for all else `class` is 0 and the class
 * follows from the identity (policy.h).
 */
#pragma once
#include "types.h"

/* Reserved identities that programs give themselves. */
enum identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_REMOTE_NODE = 6,
	IDENTITY_WORLD_IPV4 = 9,
	IDENTITY_WORLD_IPV6 = 10,
};

struct ipcache_key {
	__u32 prefixlen unit("bit"); /* of `addr` that must match: 96 + n for IPv4 */
	union address addr;
} __attribute__((packed, aligned(4)));
_Static_assert(sizeof(struct ipcache_key) == 20, "kernel/agent contract");

struct ipcache_entry {
	__u32 identity;
	__u32 class;   /* 0: look the identity up in policy_class */
	__be32 tunnel; /* node that hosts it; 0 = this one, or none */
	__u32 flags;
};
_Static_assert(sizeof(struct ipcache_entry) == 16, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 512000);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache_entry);
} ipcache SEC(".maps");

static __always_inline const struct ipcache_entry *ipcache_find(const union address *addr)
{
	struct ipcache_key key = {.prefixlen = 128, .addr = *addr};

	return bpf_map_lookup_elem(&ipcache, &key);
}

/* An address that no prefix covers is of the world. */
static __always_inline __u32 ipcache_identity(const struct ipcache_entry *entry,
					      const union address *addr)
{
	if (entry)
		return entry->identity;
	return address_is_v4(addr) ? IDENTITY_WORLD_IPV4 : IDENTITY_WORLD_IPV6;
}
