// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* policy: may this class of peers use this port of these endpoints?
 *
 * Written by the agent. Rows are keyed by class, not by peer: identities that
 * no selector can tell apart share one. Two lookups judge a packet, one with
 * the peer's class and one with POLICY_ANY_CLASS; the higher precedence wins,
 * then the longer prefix, then the row with a class. The agent leaves out rows
 * that a shorter prefix of the same class beats, so longest prefix is right
 * within a class. Every (policy, direction) has a row of POLICY_BASE_BITS that
 * says what happens to all else; finding no row at all means that the policy
 * is not in yet, and closes.
 *
 * A change of policy writes rows under a fresh `policy` number and then
 * switches the endpoint's row to it, so there is no moment in between.
 */
#pragma once
#include "types.h"

enum policy_direction {
	POLICY_INGRESS = 0,
	POLICY_EGRESS = 1,
};

enum policy_verdict {
	POLICY_VERDICT_ALLOW = 1,
	POLICY_VERDICT_DENY = 2,	 /* a deny rule: drop reason 181 */
	POLICY_VERDICT_DEFAULT_DENY = 3, /* no rule allows it: drop reason 133 */
	POLICY_VERDICT_REDIRECT = 4,	 /* to the proxy listener on proxy_port */
};

enum {
	POLICY_ANY_CLASS = 0,
};

struct policy_key {
	__u32 prefixlen unit("bit");
	__u32 policy;
	__u32 class;
	__u8 direction; /* enum policy_direction */
	__u8 protocol;
	__be16 port; /* of the destination; ICMP: the type */
};
_Static_assert(sizeof(struct policy_key) == 16, "kernel/agent contract");

enum policy_bits {
	POLICY_BASE_BITS = 72, /* policy, class, direction */
	POLICY_PROTOCOL_BITS = 80,
	POLICY_FULL_BITS = 96,
};

struct policy_entry {
	__u32 precedence;
	__u32 provenance; /* which rules made it; 0: no rule */
	__u32 generation; /* policy revision that wrote it */
	__u32 staged_provenance;
	__u8 verdict;		    /* enum policy_verdict */
	__u8 staged_verdict;	    /* 0: none */
	__u8 prefixlen unit("bit"); /* of this row's key, to settle ties */
	__u8 pad;
	__be16 proxy_port;
	__u16 pad2;
};
_Static_assert(sizeof(struct policy_entry) == 24, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
} policy SEC(".maps");

/* policy_class: identity -> class. An identity that is missing here has not been
 * classified yet and is refused by an endpoint that enforces.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, __u32);
} policy_class SEC(".maps");

/* What decides about a peer, and how closely it matched. */
struct policy_match {
	const struct policy_entry *row; /* NULL: the policy is not in yet */
	bool by_class;
};

/* Of the row of the peer's class and that of any class, the one that decides. `key` is that
 * of the peer's class, all bits significant.
 */
static __always_inline struct policy_match policy_find(struct policy_key *key)
{
	const struct policy_entry *own, *any;

	own = bpf_map_lookup_elem(&policy, key);
	key->class = POLICY_ANY_CLASS;
	any = bpf_map_lookup_elem(&policy, key);
	if (!own || (any && any->precedence > own->precedence))
		return (struct policy_match){any, false};
	if (any && any->precedence == own->precedence && any->prefixlen > own->prefixlen)
		return (struct policy_match){any, false};
	return (struct policy_match){own, true};
}
