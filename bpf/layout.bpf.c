// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* layout: no programs; one object whose BTF describes every shared struct and enum. */
#include "lib/capture.h"
#include "lib/config.h"
#include "lib/conntrack.h"
#include "lib/denied.h"
#include "lib/ended.h"
#include "lib/endpoint.h"
#include "lib/event.h"
#include "lib/fragment.h"
#include "lib/ipcache.h"
#include "lib/metric.h"
#include "lib/nat.h"
#include "lib/policy.h"
#include "lib/reason.h"
#include "lib/service.h"
#include "lib/tally.h"

/* An enum or struct that no map or global mentions would not reach BTF. */
#define mention(kind, name) kind name layout_##name = {}
#define mention_enum(name) enum name layout_##name = 0

mention(struct, capture_record);
mention(struct, event_record);
mention_enum(drop_reason);
mention_enum(endpoint_flag);
mention_enum(policy_direction);
mention_enum(policy_verdict);
mention_enum(policy_bits);
mention_enum(conntrack_flag);
mention_enum(denied_key);
mention_enum(nat_direction);
mention_enum(service_flag);
mention_enum(backend_state);
mention_enum(event_type);
mention_enum(trace_point);
mention_enum(sock_point);
mention_enum(trace_reason);
mention_enum(event_match);
mention_enum(event_verdict);
mention_enum(source_file);
mention_enum(event_stat);
mention_enum(metric_direction);
mention_enum(identity);

char _license[] SEC("license") = "Dual BSD/GPL";
