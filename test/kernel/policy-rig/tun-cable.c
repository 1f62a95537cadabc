// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A cable without a header of a link. Usage: tun-cable NAMESPACE-PATH NAME NAMESPACE-PATH NAME. It makes a tun device at
 * each end, prints `ok`, and carries what one end sends to the other until it is killed; the devices go with it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int make(const char *netns, const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int inside = open(netns, O_RDONLY | O_CLOEXEC);
	if (inside < 0 || setns(inside, CLONE_NEWNET) != 0)
		fail(netns);
	close(inside);
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	int end = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (end < 0 || ioctl(end, TUNSETIFF, &request) != 0)
		fail(name);
	return end;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	struct pollfd ends[2] = {
		{ .fd = make(argv[1], argv[2]), .events = POLLIN },
		{ .fd = make(argv[3], argv[4]), .events = POLLIN },
	};
	puts("ok");
	fflush(stdout);
	for (;;) {
		static char packet[65536];
		if (poll(ends, 2, -1) < 0)
			fail("poll");
		for (int at = 0; at < 2; at++) {
			ssize_t size = ends[at].revents & POLLIN ? read(ends[at].fd, packet, sizeof(packet)) : 0;
			/* An end that is down takes nothing. */
			if (size > 0 && write(ends[1 - at].fd, packet, size) < 0)
				continue;
		}
	}
}
