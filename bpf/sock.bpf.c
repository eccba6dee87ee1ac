// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sock: services at the socket.
 *
 * Attached to the node's cgroup. A connect or sendmsg to a frontend goes to one
 * of its backends, so that no packet ever carries a service address; recvmsg and
 * getpeername show the frontend again. Both families share one path: a service is
 * looked up by the 16-byte address, so an IPv4 service works on a dual-stack
 * socket too.
 *
 * What a socket is given is reported once a socket and backend, not once a call.
 */
#include "lib/config.h"
#include "lib/service.h"
#include "lib/metric.h"
#include "lib/reason.h"
#include "lib/ring.h"

#include <linux/errno.h>
#include <linux/in.h>

/* What a cgroup program returns: go on (with what we wrote), or fail the call. */
enum sock_verdict {
	SOCK_REFUSE = 0,
	SOCK_PASS = 1,
};

/* The peer that a call names, and whether we gave it another. */
struct sock_peer {
	union address address;
	__be16 port;
	bool changed;
};

static __always_inline struct sock_peer peer_v4(const struct bpf_sock_addr *ctx)
{
	return (struct sock_peer){
		.address = address_from_v4(ctx->user_ip4),
		.port = ctx->user_port,
	};
}

static __always_inline struct sock_peer peer_v6(const struct bpf_sock_addr *ctx)
{
	return (struct sock_peer){
		.address.words = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2],
				  ctx->user_ip6[3]},
		.port = ctx->user_port,
	};
}

static __always_inline void set_peer_v4(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	if (!peer->changed)
		return;
	ctx->user_ip4 = peer->address.words[3];
	ctx->user_port = peer->port;
}

static __always_inline void set_peer_v6(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	if (!peer->changed)
		return;
	ctx->user_ip6[0] = peer->address.words[0];
	ctx->user_ip6[1] = peer->address.words[1];
	ctx->user_ip6[2] = peer->address.words[2];
	ctx->user_ip6[3] = peer->address.words[3];
	ctx->user_port = peer->port;
}

/* Fails the call with `error`, counted and reported as a drop of `reason`. */
static __always_inline int refuse(struct bpf_sock_addr *ctx, const struct service_key *front,
				  enum drop_reason reason, int error)
{
	void *ring = ring_here();
	struct event_record *record = ring_reserve(ring);

	metric_count(reason, METRIC_SERVICE, 0);
	if (record) {
		*record = (struct event_record){
			.time = bpf_ktime_get_ns(),
			.destination = front->address,
			.destination_port = front->port,
			.protocol = front->protocol,
			.type = EVENT_DROP,
			.subtype = reason,
			.verdict = EVENT_DROPPED,
			.cookie = bpf_get_socket_cookie(ctx),
			.cgroup = bpf_get_current_cgroup_id(),
			.line = __LINE__,
			.file = FILE_SOCK,
		};
		ring_submit(ring, record);
	}
	bpf_set_retval(error);
	return SOCK_REFUSE;
}

/* Reports that a socket's call was seen at this point, with this peer. */
static __noinline int trace(struct bpf_sock_addr *ctx, const struct sock_peer *peer,
			    enum sock_point point)
{
	void *ring = ring_here();
	struct event_record *record;
	bool translated = point == SOCK_POST_FORWARD || point == SOCK_POST_REVERSE;

	if (!ctx || !peer)
		return 0;
	record = ring_reserve(ring);
	if (!record)
		return 0;
	*record = (struct event_record){
		.time = bpf_ktime_get_ns(),
		.destination = peer->address,
		.destination_port = peer->port,
		.protocol = ctx->protocol,
		.type = EVENT_TRACE_SOCK,
		.subtype = point,
		.verdict = translated ? EVENT_TRANSLATED : EVENT_TRACED,
		.cookie = bpf_get_socket_cookie(ctx),
		.cgroup = bpf_get_current_cgroup_id(),
	};
	ring_submit(ring, record);
	return 0;
}

/* Sends a call for a frontend to one of its backends. */
static __always_inline int forward(struct bpf_sock_addr *ctx, struct sock_peer *peer)
{
	struct service_key key = {
		.address = peer->address,
		.port = peer->port,
		.protocol = ctx->protocol,
	};
	const struct service_entry *head = service_find(&key);
	const struct service_reverse_entry *known;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	const struct backend_entry *to;
	bool is_news;

	if (!head)
		return SOCK_PASS;
	to = service_select(&key, head);
	if (!to)
		return refuse(ctx, &key, DROP_SERVICE_BACKEND_NOT_FOUND, -ECONNREFUSED);
	known = service_recall(cookie, to->address, to->port);
	is_news =
		!known || known->port != key.port || !address_equal(&known->address, &key.address);
	if (is_news && service_remember(cookie, &key, to, head->reverse))
		return refuse(ctx, &key, DROP_CT_MAP_INSERTION_FAILED, -ENOMEM);
	is_news = is_news && config.events;
	if (is_news)
		trace(ctx, peer, SOCK_PRE_FORWARD);
	peer->address = to->address;
	peer->port = to->port;
	peer->changed = true;
	if (is_news)
		trace(ctx, peer, SOCK_POST_FORWARD);
	return SOCK_PASS;
}

/* Shows the frontend to a caller that asks who its peer is. */
static __always_inline void reverse(struct bpf_sock_addr *ctx, struct sock_peer *peer)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct service_reverse_entry *front = service_recall(cookie, peer->address, peer->port);
	bool is_news;

	if (!front)
		return;
	is_news = config.events && !front->answered;
	if (is_news) {
		front->answered = 1;
		trace(ctx, peer, SOCK_PRE_REVERSE);
	}
	peer->address = front->address;
	peer->port = front->port;
	peer->changed = true;
	if (is_news)
		trace(ctx, peer, SOCK_POST_REVERSE);
}

static __always_inline int forward_v4(struct bpf_sock_addr *ctx)
{
	struct sock_peer peer = peer_v4(ctx);
	int verdict = forward(ctx, &peer);

	set_peer_v4(ctx, &peer);
	return verdict;
}

static __always_inline int forward_v6(struct bpf_sock_addr *ctx)
{
	struct sock_peer peer = peer_v6(ctx);
	int verdict = forward(ctx, &peer);

	set_peer_v6(ctx, &peer);
	return verdict;
}

static __always_inline int reverse_v4(struct bpf_sock_addr *ctx)
{
	struct sock_peer peer = peer_v4(ctx);

	reverse(ctx, &peer);
	set_peer_v4(ctx, &peer);
	return SOCK_PASS;
}

static __always_inline int reverse_v6(struct bpf_sock_addr *ctx)
{
	struct sock_peer peer = peer_v6(ctx);

	reverse(ctx, &peer);
	set_peer_v6(ctx, &peer);
	return SOCK_PASS;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return forward_v4(ctx);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return forward_v6(ctx);
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return forward_v4(ctx);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	return forward_v6(ctx);
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *ctx)
{
	return reverse_v4(ctx);
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	return reverse_v6(ctx);
}

SEC("cgroup/getpeername4")
int sock_peer4(struct bpf_sock_addr *ctx)
{
	return reverse_v4(ctx);
}

SEC("cgroup/getpeername6")
int sock_peer6(struct bpf_sock_addr *ctx)
{
	return reverse_v6(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
