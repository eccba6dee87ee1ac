// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* event: what a program reports, one fixed record a time, one ring a CPU.
 *
 * Written by every program, read by the observer alone. No record wakes the
 * reader up but when the ring is filling. A record that found its ring full is
 * counted in `event_stats`: sent = read + lost, exactly.
 */
#pragma once
#include "types.h"

enum event_type {
	EVENT_DROP = 1,
	EVENT_TRACE = 4,
	EVENT_POLICY_VERDICT = 5,
	EVENT_TRACE_SOCK = 7,
};

/* trace points, numbered as Hubble's flow.TraceObservationPoint has them */
enum trace_point {
	TRACE_TO_ENDPOINT = 0,
	TRACE_TO_PROXY = 1,
	TRACE_TO_HOST = 2,
	TRACE_TO_STACK = 3,
	TRACE_TO_OVERLAY = 4,
	TRACE_FROM_ENDPOINT = 5,
	TRACE_FROM_PROXY = 6,
	TRACE_FROM_HOST = 7,
	TRACE_FROM_STACK = 8,
	TRACE_FROM_OVERLAY = 9,
	TRACE_FROM_NETWORK = 10,
	TRACE_TO_NETWORK = 11,
};

/* where a socket's call was seen, numbered as Hubble's flow.SocketTranslationPoint has them */
enum sock_point {
	SOCK_PRE_FORWARD = 1,  /* a call names a frontend */
	SOCK_POST_FORWARD = 2, /* it goes to this backend */
	SOCK_PRE_REVERSE = 3,  /* this backend answered */
	SOCK_POST_REVERSE = 4, /* the caller is told the frontend */
};

enum trace_reason {
	TRACE_REASON_NEW = 0,
	TRACE_REASON_ESTABLISHED = 1,
	TRACE_REASON_REPLY = 2,
	TRACE_REASON_RELATED = 3,
	TRACE_REASON_UNKNOWN = 5,
};

enum event_match {
	MATCH_NONE = 0,
	MATCH_L3_ONLY = 1,
	MATCH_L3_L4 = 2,
	MATCH_L4_ONLY = 3,
	MATCH_ALL = 4,
	MATCH_L3_PROTO = 5,
	MATCH_PROTO_ONLY = 6,
};

enum event_verdict {
	EVENT_FORWARDED = 1,
	EVENT_DROPPED = 2,
	EVENT_AUDIT = 4,
	EVENT_REDIRECTED = 5,
	EVENT_TRACED = 6,
	EVENT_TRANSLATED = 7,
};

struct event_record {
	__u64 time unit("ns"); /* CLOCK_MONOTONIC */
	union address source;
	union address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 type;    /* enum event_type */
	__u8 subtype; /* drop: reason; traces: point; verdict: enum policy_direction */
	__u8 verdict; /* enum event_verdict */
	__u32 source_identity;
	__u32 destination_identity;
	__u32 source_endpoint; /* 0: not on this node */
	__u32 destination_endpoint;
	__u32 provenance; /* rules behind a verdict or policy drop */
	__u32 staged_provenance;
	__u32 policy;
	__u32 generation;
	__u32 length unit("byte");
	__u32 ifindex;
	__u64 cookie; /* of the socket, 0: unknown */
	__u32 hash;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 reason;	/* enum trace_reason; of a verdict against a packet: enum drop_reason */
	__u8 match;	/* enum event_match */
	__u8 direction; /* of the policy that judged: enum policy_direction */
	__u16 proxy_port;
	__u16 line; /* of the source that dropped it */
	__u8 file;  /* enum source_file */
	__u8 staged_verdict;
	__u64 cgroup; /* trace-sock: of the caller */
};
_Static_assert(sizeof(struct event_record) == 120, "kernel/agent contract");

enum source_file {
	FILE_POD = 1,
	FILE_HOST = 2,
	FILE_SOCK = 3,
	FILE_PACKET = 4,
	FILE_PARSE = 5,
	FILE_TRANSPORT = 6,
	FILE_NEIGHBOUR = 7,
	FILE_POLICY = 8,
	FILE_CONNECTION = 9,
	FILE_FORWARD = 10,
	FILE_REWRITE = 11,
	FILE_MASQUERADE = 12,
	FILE_HEADERS = 13,
	FILE_RELATED = 14,
};

/* Inner rings are made by the agent, one a CPU, and pinned as rings/<cpu>. */
struct event_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 256);
	__type(key, __u32); /* CPU */
	__array(values, struct event_ring);
} event_rings SEC(".maps");

enum event_stat {
	EVENT_STAT_SENT = 0, /* records tried: read + lost */
	EVENT_STAT_LOST = 1,
	EVENT_STATS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_STATS);
	__type(key, __u32);
	__type(value, __u64);
} event_stats SEC(".maps");
