// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* service: a frontend, its backends, and the way back.
 *
 * Written by the agent (service, service_backend, backend) and by sock.bpf.c
 * (service_reverse). Slot 0 of a frontend is its header; slots 1 to `count`
 * name backends.
 */
#pragma once
#include "types.h"

struct service_key {
	union address address;
	__be16 port;
	__u8 protocol;
	__u8 scope; /* 0: external and internal alike */
	__u32 slot;
};
_Static_assert(sizeof(struct service_key) == 24, "kernel/agent contract");

enum service_flag {
	SERVICE_CLUSTER_IP = 1,
	SERVICE_NODE_PORT = 2,
	SERVICE_EXTERNAL_IP = 4,
	SERVICE_LOAD_BALANCER = 8,
	SERVICE_AFFINITY = 16,
};

struct service_entry {
	__u32 backend; /* slot > 0: its id; slot 0: affinity timeout in seconds */
	__u16 count;   /* slot 0: how many slots follow */
	__u16 reverse; /* number of this frontend, for the way back */
	__u32 flags;   /* enum service_flag */
	__u32 pad;
};
_Static_assert(sizeof(struct service_entry) == 16, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct service_key);
	__type(value, struct service_entry);
} service SEC(".maps");

enum backend_state {
	BACKEND_ACTIVE = 0,
	BACKEND_TERMINATING = 1,
	BACKEND_QUARANTINED = 2,
	BACKEND_MAINTENANCE = 3,
};

struct backend_entry {
	union address address;
	__be16 port;
	__u8 protocol;
	__u8 state; /* enum backend_state */
	__u32 pad;
};
_Static_assert(sizeof(struct backend_entry) == 24, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32); /* backend id */
	__type(value, struct backend_entry);
} backend SEC(".maps");

/* service_reverse: which frontend a socket believes it talks to. */
struct service_reverse_key {
	__u64 cookie;
	union address address; /* backend's */
	__be16 port;
	__u16 pad[3];
};
_Static_assert(sizeof(struct service_reverse_key) == 32, "kernel/agent contract");

struct service_reverse_entry {
	union address address; /* frontend's */
	__be16 port;
	__u16 reverse;
	__u32 answered; /* not 0: an answer of this backend has been reported */
};
_Static_assert(sizeof(struct service_reverse_entry) == 24, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_reverse_key);
	__type(value, struct service_reverse_entry);
} service_reverse SEC(".maps");

/* How many slots after a random one may turn out inactive before we give up. The
 * agent lists active backends only; this covers the moment in which one's state
 * has changed and its slot has not.
 */
enum {
	SERVICE_PROBES = 8,
};

/* The header of the frontend that `key` names; NULL: not a service of ours. */
static __always_inline const struct service_entry *service_find(const struct service_key *key)
{
	const struct service_entry *head = bpf_map_lookup_elem(&service, key);

	return head;
}

/* An active backend of the frontend, at random; NULL: it has none. Leaves `key` at its slot. */
static __always_inline const struct backend_entry *service_select(struct service_key *key,
								  const struct service_entry *head)
{
	__u32 count = head->count, slot;

	if (!count)
		return NULL;
	slot = bpf_get_prandom_u32() % count;
	for (int probe = 0; probe < SERVICE_PROBES; probe++, slot++) {
		const struct service_entry *entry;
		const struct backend_entry *found;

		key->slot = slot % count + 1;
		entry = bpf_map_lookup_elem(&service, key);
		if (!entry)
			continue;
		found = bpf_map_lookup_elem(&backend, &entry->backend);
		if (found && found->state == BACKEND_ACTIVE)
			return found;
	}
	return NULL;
}

/* Which frontend does this socket mean when the kernel says `address`, `port`? */
static __always_inline struct service_reverse_entry *
service_recall(__u64 cookie, union address address, __be16 port)
{
	struct service_reverse_key key = {.cookie = cookie, .address = address, .port = port};

	return bpf_map_lookup_elem(&service_reverse, &key);
}

/* Lets service_recall answer for this socket; an error closes the connection. */
static __always_inline __attribute__((warn_unused_result)) long
service_remember(__u64 cookie, const struct service_key *front, const struct backend_entry *to,
		 __u16 reverse)
{
	struct service_reverse_key key = {
		.cookie = cookie,
		.address = to->address,
		.port = to->port,
	};
	struct service_reverse_entry entry = {
		.address = front->address,
		.port = front->port,
		.reverse = reverse,
	};

	return bpf_map_update_elem(&service_reverse, &key, &entry, BPF_ANY);
}
