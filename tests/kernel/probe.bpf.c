// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* probe: small programs and maps for the tests of the kernel room. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct settings {
	__u32 verdict;
	__u32 mark;
};

/* Comes first, so that the settings do not begin where .rodata does. */
const volatile __u64 leading = 7;
const volatile struct settings settings;

struct record {
	__u64 number;
	__be32 address;
	__u32 length;
	__u8 room[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} counter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct settings);
	__type(value, struct record);
} rows SEC(".maps");

SEC("tc") int judge(struct __sk_buff *skb)
{
	char *data = (char *)(long)skb->data, *end = (char *)(long)skb->data_end;

	if (data + 14 > end)
		return 2;
	data[0] = 7;
	skb->mark = settings.mark;
	return settings.verdict;
}

/* Reserves a record: mark 0 submits it, 1 discards it. */
static __always_inline __u64 *count_of(__u32 which)
{
	return bpf_map_lookup_elem(&counter, &which);
}

SEC("tc") int emit(struct __sk_buff *skb)
{
	__u64 *sent = count_of(0), *lost = count_of(1);
	struct record *record;

	if (!sent || !lost)
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		*lost += 1;
		return 0;
	}
	record->number = (*sent)++;
	record->address = __builtin_bswap32(record->number);
	record->length = skb->len;
	__builtin_memset(record->room, 0, sizeof(record->room));
	if (skb->mark)
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tc") int refused(struct __sk_buff *skb)
{
	char *data = (char *)(long)skb->data;

	data[0] = 7; /* no bounds check: the verifier must refuse it */
	return 0;
}

SEC("cgroup/connect4") int on_connect(struct bpf_sock_addr *ctx)
{
	return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
