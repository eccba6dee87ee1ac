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
	__u8 scope;			/* 0: external and internal alike */
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
	__u32 backend;			/* slot > 0: its id; slot 0: affinity timeout in seconds */
	__u16 count;			/* slot 0: how many slots follow */
	__u16 reverse;			/* number of this frontend, for the way back */
	__u32 flags;			/* enum service_flag */
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
	__u8 state;			/* enum backend_state */
	__u32 pad;
};
_Static_assert(sizeof(struct backend_entry) == 24, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);		/* backend id */
	__type(value, struct backend_entry);
} backend SEC(".maps");

/* service_reverse: which frontend a socket believes it talks to. */
struct service_reverse_key {
	__u64 cookie;
	union address address;		/* backend's */
	__be16 port;
	__u16 pad[3];
};
_Static_assert(sizeof(struct service_reverse_key) == 32, "kernel/agent contract");

struct service_reverse_entry {
	union address address;		/* frontend's */
	__be16 port;
	__u16 reverse;
	__u32 pad;
};
_Static_assert(sizeof(struct service_reverse_entry) == 24, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_reverse_key);
	__type(value, struct service_reverse_entry);
} service_reverse SEC(".maps");
