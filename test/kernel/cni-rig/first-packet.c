// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How much passes before a policy is in force.
 *
 *   first-packet send INTERFACE FROM-MAC TO-MAC FROM TO PORT...   waits for the interface, then sends to each port, every
 *                                                               50 us or so, raw frames that ask for no route
 *   first-packet receive PORT...                                counts; at the end of its input it prints for each port
 *                                                               `PORT COUNT FIRST LAST`: ns of CLOCK_MONOTONIC when sent
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "first-frames.h"

struct frame {
	struct ether_header link;
	struct iphdr network;
	struct udphdr transport;
	uint64_t sent;
} __attribute__((packed));

static int send_all(int count, char **words)
{
	struct frame frame = { .link.ether_type = htons(ETHERTYPE_IP) };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_halen = 6 };
	int socket_ = socket(AF_PACKET, SOCK_RAW, 0);

	if (socket_ < 0)
		return 1;
	read_mac(words[1], frame.link.ether_shost);
	read_mac(words[2], frame.link.ether_dhost);
	frame.network = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP };
	frame.network.tot_len = htons(sizeof(frame) - sizeof(frame.link));
	inet_pton(AF_INET, words[3], &frame.network.saddr);
	inet_pton(AF_INET, words[4], &frame.network.daddr);
	frame.network.check = sum(&frame.network, sizeof(frame.network));
	frame.transport.source = htons(40000);
	frame.transport.len = htons(sizeof(frame.transport) + sizeof(frame.sent));
	while (!at.sll_ifindex)
		at.sll_ifindex = if_nametoindex(words[0]);
	prctl(PR_SET_TIMERSLACK, 1);
	for (;;) {
		for (int port = 5; port < count; port++) {
			frame.transport.dest = htons(atoi(words[port]));
			frame.sent = now();
			sendto(socket_, &frame, sizeof(frame), 0, (void *)&at, sizeof(at));
		}
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

static int receive_all(int count, char **words)
{
	struct pollfd polled[17] = { { .fd = 0, .events = POLLIN } };
	struct tally tallies[16] = { 0 };
	uint64_t sent;
	int size = 8 << 20;

	for (int at = 0; at < count; at++) {
		struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(atoi(words[at])) };

		polled[at + 1] = (struct pollfd){ .fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), .events = POLLIN };
		setsockopt(polled[at + 1].fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		if (bind(polled[at + 1].fd, (void *)&own, sizeof(own)))
			return 1;
	}
	puts("ready");
	fflush(stdout);
	while (poll(polled, count + 1, -1) >= 0 || errno == EINTR) {
		for (int at = 0; at < count; at++) {
			while (recv(polled[at + 1].fd, &sent, sizeof(sent), 0) == sizeof(sent))
				add(&tallies[at], sent);
		}
		if (polled[0].revents)
			break;
	}
	tell(count, words, tallies);
	return 0;
}

int main(int count, char **words)
{
	if (count > 7 && !strcmp(words[1], "send"))
		return send_all(count - 2, words + 2);
	if (count > 2 && count < 18 && !strcmp(words[1], "receive"))
		return receive_all(count - 2, words + 2);
	return 2;
}
