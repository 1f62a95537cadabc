// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One TCP connection. `traffic serve ADDRESS PORT` answers one client after the other until it is ended;
 * `traffic stream|ask ADDRESS PORT MILLISECONDS` prints bits per second of a stream, or microseconds of a
 * question and its answer of one byte each: the median and that of the 99th percentile. `ask` and `stream` say
 * which of the two they are by their first byte.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 17, MOST = 1 << 22 };

static char block[BLOCK];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void serve(int listener)
{
	int one = 1;

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t got;
		char kind;

		if (fd < 0)
			fail("accept");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (read(fd, &kind, 1) == 1) {
			if (kind == 'a')
				while (read(fd, block, 1) == 1 && write(fd, block, 1) == 1)
					;
			else
				while ((got = read(fd, block, BLOCK)) > 0)
					;
		}
		close(fd);
	}
}

static void stream(int fd, double until)
{
	double begun = now_us(), bytes = 0;
	ssize_t sent;

	while (now_us() < until) {
		if ((sent = write(fd, block, BLOCK)) < 0)
			fail("write");
		bytes += sent;
	}
	printf("%.0f\n", bytes * 8e6 / (now_us() - begun));
}

static void ask(int fd, double until)
{
	float *took = calloc(MOST, sizeof(float));
	size_t count = 0;
	double begun;

	if (!took)
		fail("calloc");
	while ((begun = now_us()) < until && count < MOST) {
		if (write(fd, block, 1) != 1 || read(fd, block, 1) != 1)
			fail("ask");
		took[count++] = now_us() - begun;
	}
	qsort(took, count, sizeof(float), ascending);
	printf("%.2f %.2f\n", took[count / 2], took[count - 1 - count / 100]);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	double until;

	if (argc < 4 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	address.sin_port = htons(atoi(argv[3]));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!strcmp(argv[1], "serve")) {
		if (bind(fd, (void *)&address, sizeof(address)) || listen(fd, 16))
			fail("listen");
		puts("ready");
		fflush(stdout);
		serve(fd);
	}
	if (argc < 5 || connect(fd, (void *)&address, sizeof(address)))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (write(fd, argv[1], 1) != 1)
		fail("write");
	until = now_us() + atof(argv[4]) * 1e3;
	if (argv[1][0] == 'a')
		ask(fd, until);
	else
		stream(fd, until);
	return 0;
}
