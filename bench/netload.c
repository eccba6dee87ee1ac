// SPDX-License-Identifier: Apache-2.0
/* netload: a load generator small enough not to be what is measured.
 *
 *   netload serve PORT
 *   netload stream|rr|crr ADDRESS PORT SECONDS CONNECTIONS
 *
 * stream: bytes sent one way; rr: one byte there and back on open connections;
 * crr: connect, one byte there and back, close. The client's first byte tells
 * the server which. Prints one JSON object: {"count": transactions or bytes,
 * "seconds": elapsed}. One thread, epoll, both families.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 64
#define CHUNK (256 * 1024)

static char buffer[CHUNK];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in6 address(const char *text, int port)
{
	struct sockaddr_in6 found = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	if (inet_pton(AF_INET6, mapped, &found.sin6_addr) != 1) {
		fprintf(stderr, "netload: %s is not an address\n", text);
		exit(2);
	}
	return found;
}

static int connected(const struct sockaddr_in6 *peer)
{
	int one = 1, fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)peer, sizeof(*peer)) < 0)
		die("connect");
	return fd;
}

/* Sends back what came when it is one byte, and swallows the rest. */
static void answer(int fd)
{
	ssize_t got = read(fd, buffer, sizeof(buffer));

	if (got == 1 && buffer[0] != 's') {
		if (write(fd, buffer, 1) == 1)
			return;
		got = 0;
	}
	if (got <= 0)
		close(fd);
}

static void serve(int port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct epoll_event events[MAX_EVENTS], event = {.events = EPOLLIN};
	int one = 1, poll = epoll_create1(0), listener = socket(AF_INET6, SOCK_STREAM, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0)
		die("bind");
	if (listen(listener, 4096) < 0)
		die("listen");
	event.data.fd = listener;
	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(poll, events, MAX_EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd != listener) {
				answer(events[i].data.fd);
				continue;
			}
			event.data.fd = accept(listener, NULL, NULL);
			if (event.data.fd < 0)
				continue;
			setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
}

static double exchange(int fd, char byte)
{
	if (write(fd, &byte, 1) != 1)
		die("write");
	if (read(fd, &byte, 1) != 1)
		die("read");
	return 1;
}

static double connect_exchange_close(const struct sockaddr_in6 *peer)
{
	struct linger reset = {.l_onoff = 1};
	int fd = connected(peer);

	exchange(fd, 'c');
	/* A reset leaves no TIME_WAIT behind, which would be measured otherwise. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	return 1;
}

static double load(const char *mode, const struct sockaddr_in6 *peer, double until, int width)
{
	double count = 0;
	int fds[1024];

	if (!strcmp(mode, "crr")) {
		while (now() < until)
			count += connect_exchange_close(peer);
		return count;
	}
	memset(buffer, 's', sizeof(buffer));
	for (int i = 0; i < width; i++)
		fds[i] = connected(peer);
	while (now() < until)
		for (int i = 0; i < width; i++)
			if (!strcmp(mode, "rr")) {
				count += exchange(fds[i], 'r');
			} else {
				ssize_t sent = send(fds[i], buffer, sizeof(buffer),
						    width > 1 ? MSG_DONTWAIT : 0);

				if (sent < 0 && errno != EAGAIN)
					die("send");
				count += sent > 0 ? sent : 0;
			}
	return count;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	if (argc != 6 || atoi(argv[5]) < 1 || atoi(argv[5]) > 1024) {
		fprintf(stderr, "usage: netload serve PORT | "
				"netload stream|rr|crr ADDRESS PORT SECONDS CONNECTIONS\n");
		return 2;
	}
	struct sockaddr_in6 peer = address(argv[2], atoi(argv[3]));
	double began = now();
	double count = load(argv[1], &peer, began + atof(argv[4]), atoi(argv[5]));

	printf("{\"count\": %.0f, \"seconds\": %.6f}\n", count, now() - began);
	return 0;
}
