// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Servers and clients in many network namespaces, from one process. Usage: prober NAMESPACE-PATH ...; the place of
 * a socket is the number of its argument. It reads commands and answers each with one line:
 *
 *   listen PLACE tcp|udp|sctp PORT         ok
 *   probe QUIET-MS COUNT                   a character for each of the COUNT lines `PLACE PROTOCOL ADDRESS PORT` that
 *                                          follow, the id of the first of them, which the others are numbered from, and the
 *                                          ids of those of earlier probes that arrived since
 *   open PLACE tcp|udp ADDRESS PORT        the number of a flow that is kept, or `refused`
 *   poke QUIET-MS NUMBER                   as probe, over that flow
 *   close NUMBER                           ok
 *
 * A probe of nothing waits for what arrives late.
 *
 * `y`: the answer came back; `a`: it arrived, no answer came back; `r`: refused; `n`: nothing. A probe ends when nothing has
 * come for QUIET-MS. Protocols: tcp, udp, sctp (INIT, crafted), icmp (echo).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "prober-packets.h"

enum { PLACES = 256, PORTS = 65536, BATCH = 64, FLOWS = 65536 };
enum what { NOTHING, LISTENER, SERVER, ACCEPTED, CLIENT, RAW_SCTP, RAW_ICMP };
enum protocol { TCP, UDP, SCTP, ICMP };

struct handle {
	enum what what;
	enum protocol protocol;
	int fd, place, family;
	uint64_t id; /* of a client's probe */
};

struct probe {
	uint64_t id;
	char result;
	struct handle *handle;
};

static int netns[PLACES], place_count, current = -1, queue;
static struct handle sctp[PLACES][2], icmp[PLACES][2], *flows[FLOWS];
static unsigned char serves_sctp[PLACES][PORTS / 8];
static uint64_t next_id = 1, batch_first;
static struct probe *batch;
static size_t batch_count, batch_open, late_count, late_room;
static uint64_t *late;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void enter(int place)
{
	if (place < 0 || place >= place_count) {
		fprintf(stderr, "no place %d\n", place);
		exit(2);
	}
	if (place == current)
		return;
	if (setns(netns[place], CLONE_NEWNET) != 0)
		fail("setns");
	current = place;
}

static double now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void follow(struct handle *handle, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = handle };
	if (epoll_ctl(queue, EPOLL_CTL_ADD, handle->fd, &event) != 0)
		fail("epoll_ctl");
}

static int open_socket(int place, int family, int type, int protocol)
{
	enter(place);
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		fail("socket");
	return fd;
}

static struct handle *new_handle(struct handle from)
{
	struct handle *handle = malloc(sizeof(*handle));
	if (handle == NULL)
		fail("malloc");
	*handle = from;
	return handle;
}

/* A reset, so that no port stays in use. */
static void drop(struct handle *handle)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	if (handle->protocol == TCP)
		setsockopt(handle->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(handle->fd);
	free(handle);
}

static void note_late(uint64_t id)
{
	if (late_count == late_room) {
		late_room = late_room * 2 + 16;
		late = realloc(late, late_room * sizeof(*late));
		if (late == NULL)
			fail("realloc");
	}
	late[late_count++] = id;
}

static void tell(uint64_t id, char result)
{
	if (id < batch_first || id >= batch_first + batch_count) {
		if (result != 'r')
			note_late(id);
		return;
	}
	struct probe *probe = &batch[id - batch_first];
	if (probe->result == 'n' || probe->result == 'a') {
		if (result != 'a' && probe->result != result)
			batch_open--;
		probe->result = result;
	}
}

static void send_sctp(struct handle *raw, const struct sockaddr_storage *to, int from, int port, int chunk, uint64_t id)
{
	unsigned char packet[32];
	write_sctp(packet, from, port, chunk, id);
	enter(raw->place);
	send_raw(raw->fd, packet, sizeof(packet), to);
}

static void send_echo(struct handle *raw, const struct sockaddr_storage *to, uint64_t id)
{
	unsigned char packet[16];
	write_echo(packet, raw->family, id);
	send_raw(raw->fd, packet, sizeof(packet), to);
}

static struct handle *raw_of(struct handle all[PLACES][2], int place, int family, enum what what)
{
	struct handle *raw = &all[place][family == AF_INET6];
	if (raw->what != NOTHING)
		return raw;
	int protocol = what == RAW_SCTP ? IPPROTO_SCTP : family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	*raw = (struct handle){ .what = what, .place = place, .family = family };
	raw->fd = open_socket(place, family, SOCK_RAW, protocol);
	follow(raw, EPOLLIN);
	return raw;
}

static void take_raw(struct handle *raw)
{
	unsigned char bytes[2048];
	struct sockaddr_storage from;
	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(raw->fd, bytes, sizeof(bytes), 0, (void *)&from, &size);
		if (got < 0)
			return;
		size_t head = raw->family == AF_INET ? (bytes[0] & 15) * 4 : 0;
		const unsigned char *packet = bytes + head;
		uint64_t id;
		if (raw->what == RAW_ICMP) {
			if (got < (ssize_t)head + 16 || packet[0] != (raw->family == AF_INET ? ICMP_ECHOREPLY : 129))
				continue;
			memcpy(&id, packet + 8, sizeof(id));
			tell(id, 'y');
			continue;
		}
		if (got < (ssize_t)head + 32)
			continue;
		int source = packet[0] << 8 | packet[1], port = packet[2] << 8 | packet[3];
		memcpy(&id, packet + 16, sizeof(id));
		if (packet[12] == 2)
			tell(id, 'y');
		else if (packet[12] == 1 && serves_sctp[raw->place][port / 8] & 1 << port % 8) {
			tell(id, 'a');
			send_sctp(raw, &from, port, source, 2, id);
		}
	}
}

static void take_server(struct handle *server)
{
	for (;;) {
		uint64_t ids[8];
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		ssize_t got = server->protocol == UDP ? recvfrom(server->fd, ids, sizeof(ids), 0, (void *)&from, &size)
						      : recv(server->fd, ids, sizeof(ids), 0);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			if (server->what == ACCEPTED)
				drop(server);
			return;
		}
		for (size_t at = 0; at < got / sizeof(*ids); at++)
			tell(ids[at], 'a');
		if (server->protocol == UDP)
			sendto(server->fd, ids, got, 0, (void *)&from, size);
		else
			send(server->fd, ids, got, MSG_NOSIGNAL);
	}
}

static void take_client(struct handle *client, uint32_t events)
{
	int error = 0;
	socklen_t size = sizeof(error);
	if (client->protocol == TCP && events & EPOLLOUT) {
		getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		epoll_ctl(queue, EPOLL_CTL_MOD, client->fd, &event);
		if (error == 0)
			send(client->fd, &client->id, sizeof(client->id), MSG_NOSIGNAL);
	}
	uint64_t ids[8];
	ssize_t got = error == 0 ? recv(client->fd, ids, sizeof(ids), 0) : -1;
	if (error == 0 && got < 0 && errno != EAGAIN)
		error = errno;
	for (size_t at = 0; got > 0 && at < got / sizeof(*ids); at++)
		tell(ids[at], 'y');
	if (error != 0 || got == 0) {
		tell(client->id, 'r');
		epoll_ctl(queue, EPOLL_CTL_DEL, client->fd, NULL);
	}
}

static void take(struct handle *handle, uint32_t events)
{
	if (handle->what == LISTENER) {
		for (int fd; (fd = accept4(handle->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
			follow(new_handle((struct handle){ .what = ACCEPTED, .protocol = TCP, .fd = fd }), EPOLLIN);
	} else if (handle->what == CLIENT)
		take_client(handle, events);
	else if (handle->what == RAW_SCTP || handle->what == RAW_ICMP)
		take_raw(handle);
	else
		take_server(handle);
}

/* Until everything is answered, or nothing has come for so long. */
static void run(double quiet_ms)
{
	struct epoll_event events[BATCH];
	double until = now_ms() + quiet_ms;
	while (batch_open > 0) {
		double left = until - now_ms();
		int count = epoll_wait(queue, events, BATCH, left > 0 ? (int)left + 1 : 0);
		if (count <= 0 && left <= 0)
			return;
		for (int at = 0; at < count; at++)
			take(events[at].data.ptr, events[at].events);
		if (count > 0)
			until = now_ms() + quiet_ms;
	}
}

static void start_batch(size_t count)
{
	batch = realloc(batch, (count > 0 ? count : 1) * sizeof(*batch));
	if (batch == NULL)
		fail("realloc");
	batch_first = next_id;
	next_id += count;
	batch_count = batch_open = count;
	for (size_t at = 0; at < count; at++)
		batch[at] = (struct probe){ .id = batch_first + at, .result = 'n' };
}

static void end_batch(void)
{
	for (size_t at = 0; at < batch_count; at++)
		putchar(batch[at].result);
	printf(" %llu", (unsigned long long)batch_first);
	for (size_t at = 0; at < late_count; at++)
		printf(" %llu", (unsigned long long)late[at]);
	putchar('\n');
	late_count = 0;
	batch_count = 0;
	batch_first = next_id;
}

static enum protocol protocol_of(const char *text)
{
	static const char *const names[] = { "tcp", "udp", "sctp", "icmp" };
	for (int each = TCP; each <= ICMP; each++)
		if (strcmp(text, names[each]) == 0)
			return each;
	fprintf(stderr, "no protocol: %s\n", text);
	exit(2);
}

static struct handle *connect_client(int place, enum protocol protocol, const char *address, int port, uint64_t id)
{
	struct sockaddr_storage to;
	enter(place);
	int family = parse_address(address, port, &to);
	struct handle *client = new_handle((struct handle){ .what = CLIENT, .protocol = protocol, .family = family, .id = id });
	client->fd = open_socket(place, family, protocol == TCP ? SOCK_STREAM : SOCK_DGRAM, 0);
	int failed = connect(client->fd, (void *)&to, size_of(family)) != 0 && errno != EINPROGRESS;
	if (!failed && protocol == UDP)
		failed = send(client->fd, &id, sizeof(id), 0) < 0;
	follow(client, protocol == TCP ? EPOLLOUT | EPOLLIN : EPOLLIN);
	if (failed)
		tell(id, 'r');
	return client;
}

static void start_probe(struct probe *probe, int place, const char *name, const char *address, int port)
{
	enum protocol protocol = protocol_of(name);
	if (protocol == TCP || protocol == UDP) {
		probe->handle = connect_client(place, protocol, address, port, probe->id);
		return;
	}
	struct sockaddr_storage to;
	int family = parse_address(address, port, &to);
	if (protocol == SCTP)
		send_sctp(raw_of(sctp, place, family, RAW_SCTP), &to, 1024 + probe->id % 60000, port, 1, probe->id);
	else
		send_echo(raw_of(icmp, place, family, RAW_ICMP), &to, probe->id);
}

static void probe_all(double quiet_ms, size_t count)
{
	start_batch(count);
	for (size_t at = 0; at < count; at++) {
		int place, port;
		char name[8], address[64];
		if (scanf("%d %7s %63s %d", &place, name, address, &port) != 4)
			exit(2);
		start_probe(&batch[at], place, name, address, port);
	}
	if (count == 0)
		batch_open = 1;
	run(quiet_ms);
	for (size_t at = 0; at < count; at++)
		if (batch[at].handle != NULL)
			drop(batch[at].handle);
	end_batch();
}

static void listen_at(int place, const char *name, int port)
{
	enum protocol protocol = protocol_of(name);
	if (protocol == SCTP) {
		serves_sctp[place][port / 8] |= 1 << port % 8;
		raw_of(sctp, place, AF_INET, RAW_SCTP);
		raw_of(sctp, place, AF_INET6, RAW_SCTP);
		return;
	}
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct handle *server = new_handle((struct handle){ .what = protocol == TCP ? LISTENER : SERVER, .protocol = protocol });
	server->fd = open_socket(place, AF_INET6, protocol == TCP ? SOCK_STREAM : SOCK_DGRAM, 0);
	if (bind(server->fd, (void *)&any, sizeof(any)) != 0 || (protocol == TCP && listen(server->fd, 1024) != 0))
		fail("listen");
	follow(server, EPOLLIN);
}

static void open_flow(int place, const char *name, const char *address, int port)
{
	static int opened;
	start_batch(1);
	struct handle *client = connect_client(place, protocol_of(name), address, port, batch[0].id);
	run(500);
	int is_open = batch[0].result == 'y';
	batch_count = 0;
	batch_first = next_id;
	if (is_open && opened < FLOWS) {
		flows[opened] = client;
		printf("%d\n", opened++);
		return;
	}
	drop(client);
	puts("refused");
}

static void poke(double quiet_ms, int flow)
{
	start_batch(1);
	flows[flow]->id = batch[0].id;
	if (send(flows[flow]->fd, &batch[0].id, sizeof(batch[0].id), MSG_NOSIGNAL) < 0)
		tell(batch[0].id, 'r');
	run(quiet_ms);
	end_batch();
}

int main(int argc, char **argv)
{
	struct rlimit many = { 65536, 65536 };
	setrlimit(RLIMIT_NOFILE, &many);
	if (argc - 1 > PLACES)
		return 2;
	queue = epoll_create1(EPOLL_CLOEXEC);
	for (place_count = 0; place_count < argc - 1; place_count++) {
		netns[place_count] = open(argv[place_count + 1], O_RDONLY | O_CLOEXEC);
		if (netns[place_count] < 0)
			fail(argv[place_count + 1]);
	}
	char command[8], name[8], address[64];
	int place, port, flow;
	double quiet_ms;
	size_t count;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	while (scanf("%7s", command) == 1) {
		if (strcmp(command, "listen") == 0 && scanf("%d %7s %d", &place, name, &port) == 3) {
			listen_at(place, name, port);
			puts("ok");
		} else if (strcmp(command, "probe") == 0 && scanf("%lf %zu", &quiet_ms, &count) == 2)
			probe_all(quiet_ms, count);
		else if (strcmp(command, "open") == 0 && scanf("%d %7s %63s %d", &place, name, address, &port) == 4)
			open_flow(place, name, address, port);
		else if (strcmp(command, "poke") == 0 && scanf("%lf %d", &quiet_ms, &flow) == 2)
			poke(quiet_ms, flow);
		else if (strcmp(command, "close") == 0 && scanf("%d", &flow) == 1) {
			drop(flows[flow]);
			puts("ok");
		} else
			return 2;
		fflush(stdout);
	}
	return 0;
}
