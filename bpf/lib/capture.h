// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* capture: the first bytes of dropped packets, while somebody asks to see them.
 *
 * Written by every packet program, read by the observer, which switches it on and off. A
 * capture belongs to the drop event with the same time and device; one that finds no room is
 * left out, and its event says so by having none.
 */
#pragma once
#include "types.h"

#define CAPTURE_BYTES 128

struct capture_record {
	__u64 time unit("ns"); /* of the event */
	__u32 ifindex;
	__u32 captured unit("byte");
	__u8 bytes[CAPTURE_BYTES]; /* from the Ethernet header on */
};
_Static_assert(sizeof(struct capture_record) == 144, "kernel/agent contract");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);   /* 0 */
	__type(value, __u32); /* 1: drops are captured */
} capture_wanted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} captures SEC(".maps");

static __always_inline bool capture_is_wanted(void)
{
	__u32 index = 0;
	const __u32 *wanted = bpf_map_lookup_elem(&capture_wanted, &index);

	return wanted && *wanted;
}

/* The reader polls: nobody is woken up. */
static __always_inline void capture_drop(struct __sk_buff *ctx, __u64 time)
{
	struct capture_record *record;
	__u32 length = ctx->len;

	if (!capture_is_wanted())
		return;
	record = bpf_ringbuf_reserve(&captures, sizeof(*record), 0);
	if (!record)
		return;
	if (length > CAPTURE_BYTES)
		length = CAPTURE_BYTES;
	record->time = time;
	record->ifindex = ctx->ifindex;
	record->captured = 0;
	/* verifier: a length that may be 0 is refused (kernels to 6.18), and clang 19 tests one
	 * register and passes another, of which 6.1 knows nothing; a frame is never empty.
	 */
	barrier_var(length);
	length = ((length - 1) & (CAPTURE_BYTES - 1)) + 1;
	if (!bpf_skb_load_bytes(ctx, 0, record->bytes, length))
		record->captured = length;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}
