// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* config: what the node tells its programs, frozen at load.
 *
 * Written by the agent into .rodata before load; the kernel deletes the
 * branches that it switches off, so test a guard before any lookup.
 */
#pragma once
#include "types.h"

struct config {
	union address node_v4; /* masquerade source: the node's address on the network */
	union address node_v6;
	union address router_v4; /* the gateway that pods see */
	union address router_v6;
	union address pods_v4; /* this cluster's pod network: never masqueraded */
	union address pods_v6;
	__u32 pods_v4_bits unit("bit"); /* prefix length in the 16-byte form (96 + n) */
	__u32 pods_v6_bits unit("bit");
	__u32 net_ifindex;  /* the device to other nodes and the world */
	__u32 host_ifindex; /* cilia_host */
	__u32 mtu unit("byte");
	__u32 trace_interval_s unit("s"); /* at most one trace event a connection and interval */
	__u8 host_mac[6];		  /* of cilia_host */
	__u8 gateway_mac[6];		  /* that ARP and ND answers to pods carry */
	__u8 events;	 /* 0: no trace and verdict events (drops are always sent) */
	__u8 allow_host; /* the local host reaches local pods whatever policy says */
	__u8 masquerade_v4;
	__u8 masquerade_v6;
	__u32 tcp_established_s unit("s");
	__u32 tcp_syn_s unit("s");
	__u32 tcp_closing_s unit("s");
	__u32 any_s unit("s"); /* UDP, ICMP and the rest */
	__u16 nat_port_min;
	__u16 nat_port_max;
	__u8 class_by_address; /* CIDR rules match pods and nodes: ask the ipcache for them too */
};
_Static_assert(sizeof(struct config) == 160, "kernel/agent contract");

const volatile struct config config;
