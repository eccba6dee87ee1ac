// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* ending: takes a connection out of conntrack, and keeps what it counted. */
#pragma once
#include "ended.h"
#include "packet.h"
#include "tally.h"

/* Takes the connection of this tuple out of conntrack and keeps what it counted. The answer is
 * for the verifier alone.
 */
__noinline int ending_keep(struct packet *pkt)
{
	struct conntrack_entry *entry;
	struct ended_key last;

	if (!pkt)
		return 0;
	last.key = conntrack_key(&pkt->tuple);
	entry = bpf_map_lookup_elem(&conntrack, &last.key);
	if (!entry)
		return 0;
	last.first_seen = entry->first_seen;
	if (bpf_map_update_elem(&ended, &last, entry, BPF_ANY))
		tally_refused();
	bpf_map_delete_elem(&conntrack, &last.key);
	return 0;
}
