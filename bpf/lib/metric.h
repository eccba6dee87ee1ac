// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* metric: packets and bytes by reason and direction.
 *
 * Written by every program, read by the agent. The index is the reason (0:
 * forwarded, else a drop or forward reason) and the direction.
 */
#pragma once
#include "types.h"

enum metric_direction {
	METRIC_UNKNOWN = 0,
	METRIC_INGRESS = 1,
	METRIC_EGRESS = 2,
	METRIC_SERVICE = 3,
	METRIC_DIRECTIONS,
};

struct metric {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256 * METRIC_DIRECTIONS);
	__type(key, __u32); /* reason * METRIC_DIRECTIONS + direction */
	__type(value, struct metric);
} metric SEC(".maps");

static __always_inline void metric_count(__u32 reason, enum metric_direction direction, __u64 bytes)
{
	__u32 index = (reason & 255) * METRIC_DIRECTIONS + direction;
	struct metric *row = bpf_map_lookup_elem(&metric, &index);

	if (row) {
		row->packets++;
		row->bytes += bytes;
	}
}
