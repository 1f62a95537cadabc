// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TCP segments that no connection has, of IPv4 or IPv6 as the addresses are.
 *
 *   first-segment send INTERFACE FROM-MAC FROM TO FLAGS FROM-PORT PORT...   waits for the interface, then sends to each port,
 *                                                                         every 50 us or so, frames for everybody on the link
 *   first-segment receive PORT...       counts what comes in by any interface; at the end of its input it prints for each
 *                                       port `PORT COUNT FIRST LAST`: ns of CLOCK_MONOTONIC when it came
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
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

/* The header of the network; how long it is. */
static size_t write_network(uint8_t *out, const char *from, const char *to)
{
	if (strchr(from, ':')) {
		struct ip6_hdr six = { .ip6_flow = htonl(6 << 28), .ip6_nxt = IPPROTO_TCP, .ip6_hlim = 64 };

		six.ip6_plen = htons(sizeof(struct tcphdr));
		inet_pton(AF_INET6, from, &six.ip6_src);
		inet_pton(AF_INET6, to, &six.ip6_dst);
		memcpy(out, &six, sizeof(six));
		return sizeof(six);
	}
	struct iphdr four = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP };

	four.tot_len = htons(sizeof(four) + sizeof(struct tcphdr));
	inet_pton(AF_INET, from, &four.saddr);
	inet_pton(AF_INET, to, &four.daddr);
	four.check = sum(&four, sizeof(four));
	memcpy(out, &four, sizeof(four));
	return sizeof(four);
}

static int send_all(int count, char **words)
{
	uint8_t frame[128] = { 0 };
	struct ether_header link = { .ether_type = htons(strchr(words[2], ':') ? ETHERTYPE_IPV6 : ETHERTYPE_IP) };
	struct tcphdr transport = { .doff = 5, .source = htons(atoi(words[5])), .seq = 1, .ack_seq = 1 };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_halen = 6 };
	int socket_ = socket(AF_PACKET, SOCK_RAW, 0);
	size_t network;

	if (socket_ < 0)
		return 1;
	read_mac(words[1], link.ether_shost);
	memset(link.ether_dhost, 0xff, sizeof(link.ether_dhost));
	memcpy(frame, &link, sizeof(link));
	network = sizeof(link) + write_network(frame + sizeof(link), words[2], words[3]);
	((uint8_t *)&transport)[13] = atoi(words[4]);
	while (!at.sll_ifindex)
		at.sll_ifindex = if_nametoindex(words[0]);
	prctl(PR_SET_TIMERSLACK, 1);
	for (;;) {
		for (int port = 6; port < count; port++) {
			transport.dest = htons(atoi(words[port]));
			memcpy(frame + network, &transport, sizeof(transport));
			sendto(socket_, frame, network + sizeof(transport), 0, (void *)&at, sizeof(at));
		}
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

/* Without the header of the link. 0: it is no TCP. */
static int port_of(const uint8_t *packet, size_t length)
{
	size_t transport = packet[0] >> 4 == 6 ? sizeof(struct ip6_hdr) : (packet[0] & 15) * 4;
	int protocol = packet[0] >> 4 == 6 ? packet[6] : packet[9];

	if (length < transport + sizeof(struct tcphdr) || protocol != IPPROTO_TCP)
		return 0;
	return packet[transport + 2] << 8 | packet[transport + 3];
}

static int receive_all(int count, char **words)
{
	struct pollfd polled[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };
	struct tally tallies[16] = { 0 };
	uint8_t packet[256];
	int size = 8 << 20;

	polled[1].fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, htons(ETH_P_ALL));
	if (polled[1].fd < 0)
		return 1;
	setsockopt(polled[1].fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	puts("ready");
	fflush(stdout);
	while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
		struct sockaddr_ll from = { 0 };
		socklen_t room = sizeof(from);
		ssize_t length;

		while ((length = recvfrom(polled[1].fd, packet, sizeof(packet), 0, (void *)&from, &room)) > 0) {
			int port = length < 20 || from.sll_pkttype == PACKET_OUTGOING ? 0 : port_of(packet, length);

			for (int at = 0; at < count; at++)
				if (port == atoi(words[at]))
					add(&tallies[at], now());
			room = sizeof(from);
		}
		if (polled[0].revents)
			break;
	}
	tell(count, words, tallies);
	return 0;
}

int main(int count, char **words)
{
	if (count > 8 && !strcmp(words[1], "send"))
		return send_all(count - 2, words + 2);
	if (count > 2 && count < 18 && !strcmp(words[1], "receive"))
		return receive_all(count - 2, words + 2);
	return 2;
}
