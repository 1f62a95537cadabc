// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Sends the same frame from an interface as fast as it can until it is told to end (SIGTERM), or the
// kernel took COUNT or a few more, then prints how many those were.
// Usage: send-frames IFINDEX ETHERTYPE BYTES [COUNT]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, LARGEST = 1500 };

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 5)
		return 2;
	unsigned long long most = argc == 5 ? strtoull(argv[4], NULL, 0) : ~0ULL;
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = atoi(argv[1]) };
	unsigned char frame[LARGEST] = { 0 };
	size_t size = strtoul(argv[3], NULL, 0);
	unsigned short type = htons(strtoul(argv[2], NULL, 0));

	if (size < 14 || size > LARGEST)
		return 2;
	memset(frame, 0xff, 6);
	memcpy(frame + 12, &type, sizeof(type));

	struct iovec part = { .iov_base = frame, .iov_len = size };
	struct mmsghdr batch[BATCH] = { 0 };
	for (int i = 0; i < BATCH; i++) {
		batch[i].msg_hdr.msg_iov = &part;
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	signal(SIGTERM, end);

	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		perror("open packet socket");
		return 1;
	}
	puts("sending");
	fflush(stdout);
	unsigned long long sent = 0;
	while (!ended && sent < most) {
		int took = sendmmsg(fd, batch, BATCH, 0);
		if (took > 0)
			sent += took;
		else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
			perror("send frames");
			return 1;
		}
	}
	printf("%llu\n", sent);
	return 0;
}
