// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* packet: what is known and decided about the packet at hand, and all access to its bytes.
 *
 * Bytes are copied in and out, never pointed to by others: nothing goes stale when
 * data moves, headers may lie in any part of the buffer, and the verifier has nothing to
 * follow. parse.h fills in what the headers say; the judging steps add the rest, which
 * events then report.
 */
#pragma once
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include "checksum.h"
#include "event.h"
#include "metric.h"
#include "reason.h"
#include "tuple.h"
#include "verdict.h"

enum packet_flag {
	PACKET_V4 = 1,
	PACKET_LATER_FRAGMENT = 2, /* ports come from the fragment map; no TCP flags */
	PACKET_ICMP_ERROR = 4,	   /* `inner` is what it complains about */
	PACKET_STATELESS = 8,	   /* ICMP other than echo: judged alone, never remembered */
	PACKET_REPLY = 16,	   /* goes from the responder to the initiator */
	PACKET_FRAGMENTED = 32,	   /* first or later fragment */
	PACKET_REPORT = 64,	   /* worth a trace event */
	PACKET_BEGINS = 128,	   /* a new connection, not in conntrack yet */
};

/* Headers begin here: every device that we attach to is Ethernet. */
#define PACKET_L3 ETH_HLEN

/* Headers that begin no further from the start are read without a helper if they can be. */
#define PACKET_NEAR 255

/* What policies said of the packet's connection; pairs as in struct conntrack_entry. */
struct judgement {
	__u32 provenance[2];
	__u32 generation[2];
	__u8 flags; /* enum conntrack_flag: who judged */
	__u8 pad[3];
};

struct packet {
	struct tuple tuple;
	struct tuple inner; /* as sent by whom the ICMP error is for */
	struct judgement judged;
	__u32 length unit("byte"); /* of the frame */
	__u32 source_identity;	   /* 0: not known yet */
	__u32 destination_identity;
	__u32 source_class; /* 0: follows from the identity */
	__u32 destination_class;
	__u32 source_endpoint;
	__u32 destination_endpoint;
	__u32 provenance;
	__u32 staged_provenance;
	__u32 policy;
	__u32 generation;
	__u16 l4;	/* offset of the transport header */
	__u16 inner_l3; /* ICMP error: of the embedded network header */
	__u16 inner_l4;
	__u16 line;
	__u16 proxy_port;
	__u8 flags; /* enum packet_flag */
	__u8 ttl;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 file;	   /* enum source_file */
	__u8 drop_reason;  /* enum drop_reason */
	__u8 trace_reason; /* enum trace_reason: its state in conntrack */
	__u8 match;	   /* enum event_match */
	__u8 direction;	   /* enum policy_direction: whose policy spoke last */
	__u8 verdict;	   /* enum event_verdict */
	__u8 staged_verdict;
	__u8 metric_direction; /* enum metric_direction */
	__u8 ends;	       /* 1: the entry that its tuple has in conntrack is over */
};
_Static_assert(sizeof(struct packet) == 168, "no holes: the stack copy is fully initialised");

#define PACKET_INIT(ctx, to) ((struct packet){.length = (ctx)->len, .metric_direction = (to)})

/* drop: the only way to say VERDICT_DROP. Each file names itself in THIS_FILE. */
#define drop(pkt, why) packet_drop(pkt, why, THIS_FILE, __LINE__)

step packet_drop(struct packet *pkt, enum drop_reason reason, enum source_file file, __u16 line)
{
	pkt->drop_reason = reason;
	pkt->file = file;
	pkt->line = line;
	return VERDICT_DROP;
}

#undef THIS_FILE
#define THIS_FILE FILE_PACKET

static __always_inline bool packet_is_v4(const struct packet *pkt)
{
	return pkt->flags & PACKET_V4;
}

static __always_inline bool packet_is_reply(const struct packet *pkt)
{
	return pkt->flags & PACKET_REPLY;
}

/* False when the packet ends before `length` bytes from `offset`. */
static __always_inline bool packet_load(struct __sk_buff *ctx, __u32 offset, void *to, __u32 length)
{
	return !bpf_skb_load_bytes(ctx, offset, to, length);
}

/* The same for headers that every packet has: at hand in nearly all, they are read without a
 * helper then.
 *
 * verifier: the barriers keep the tests on the very registers that are used afterwards.
 */
static __always_inline bool packet_load_near(struct __sk_buff *ctx, __u32 offset, void *to,
					     __u32 length)
{
	const void *from = (const void *)(long)ctx->data;

	barrier_var(offset);
	if (offset <= PACKET_NEAR) {
		from += offset;
		barrier_var(from);
		if (from + length <= (const void *)(long)ctx->data_end) {
			__builtin_memcpy(to, __builtin_assume_aligned(from, 4), length);
			return true;
		}
	}
	return packet_load(ctx, offset, to, length);
}

static __always_inline bool packet_store(struct __sk_buff *ctx, __u32 offset, const void *from,
					 __u32 length)
{
	return !bpf_skb_store_bytes(ctx, offset, from, length, 0);
}

/* The same for what lies at the very start. */
static __always_inline bool packet_store_near(struct __sk_buff *ctx, const void *from, __u32 length)
{
	void *to = (void *)(long)ctx->data;

	if (to + length > (void *)(long)ctx->data_end)
		return packet_store(ctx, 0, from, length);
	__builtin_memcpy(__builtin_assume_aligned(to, 2), __builtin_assume_aligned(from, 2),
			 length);
	return true;
}

struct packet_macs {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

/* Addresses the frame to its next receiver, whose stack would else take it for another's. */
step packet_address(struct __sk_buff *ctx, struct packet *pkt, const struct packet_macs *macs)
{
	if (!packet_store_near(ctx, macs, sizeof(*macs)))
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	if (ctx->pkt_type != PACKET_HOST)
		bpf_skb_change_type(ctx, PACKET_HOST);
	return VERDICT_NEXT;
}

/* One hop less. The caller has seen that it is not the last. */
step packet_decrement_ttl(struct __sk_buff *ctx, struct packet *pkt)
{
	__u8 ttl = pkt->ttl - 1;
	bool stored;

	if (packet_is_v4(pkt)) {
		__u32 from = bpf_htons((__u16)pkt->ttl << 8), to = bpf_htons((__u16)ttl << 8);

		if (bpf_l3_csum_replace(ctx, PACKET_L3 + offsetof(struct iphdr, check), from, to,
					2))
			return drop(pkt, DROP_ERROR_WHILE_CORRECTING_L3_CHECKSUM);
		stored = packet_store(ctx, PACKET_L3 + offsetof(struct iphdr, ttl), &ttl, 1);
	} else {
		stored =
			packet_store(ctx, PACKET_L3 + offsetof(struct ipv6hdr, hop_limit), &ttl, 1);
	}
	if (!stored)
		return drop(pkt, DROP_ERROR_WRITING_TO_PACKET);
	pkt->ttl = ttl;
	return VERDICT_NEXT;
}
