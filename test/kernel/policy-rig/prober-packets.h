/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses as they are written, and the packets that the prober makes itself: SCTP and echoes of ICMP. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of one link: with the interface of the present namespace behind it, fe80::1%eth0. */
static int parse_address(const char *name, int port, struct sockaddr_storage *to)
{
	char text[64];
	const char *zone = strchr(name, '%');
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(name, "%"), name);
	struct sockaddr_in *four = (void *)to;
	struct sockaddr_in6 *six = (void *)to;
	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		six->sin6_scope_id = zone ? if_nametoindex(zone + 1) : 0;
	} else {
		fprintf(stderr, "no address: %s\n", text);
		exit(2);
	}
	return to->ss_family;
}

static socklen_t size_of(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static uint32_t crc32c(const unsigned char *bytes, size_t size)
{
	uint32_t crc = ~0u;
	for (size_t at = 0; at < size; at++) {
		crc ^= bytes[at];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

/* An INIT chunk (1) or its acknowledgement (2); the id stands where the initiate tag and the window are. */
static void write_sctp(unsigned char packet[32], int from, int port, int chunk, uint64_t id)
{
	memset(packet, 0, 32);
	packet[0] = from >> 8;
	packet[1] = from;
	packet[2] = port >> 8;
	packet[3] = port;
	packet[12] = chunk;
	packet[15] = 20;
	memcpy(packet + 16, &id, sizeof(id));
	packet[25] = packet[27] = 1;
	uint32_t crc = crc32c(packet, 32);
	memcpy(packet + 8, &crc, sizeof(crc));
}

static uint16_t sum_of(const unsigned char *bytes, size_t size)
{
	uint32_t sum = 0;
	for (size_t at = 0; at < size; at += 2)
		sum += bytes[at] | bytes[at + 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void write_echo(unsigned char packet[16], int family, uint64_t id)
{
	memset(packet, 0, 16);
	packet[0] = family == AF_INET ? ICMP_ECHO : 128;
	/* Each probe is a flow of its own. */
	packet[4] = id >> 8;
	packet[5] = id;
	packet[7] = 1;
	memcpy(packet + 8, &id, sizeof(id));
	if (family == AF_INET) {
		uint16_t sum = sum_of(packet, 16);
		memcpy(packet + 2, &sum, sizeof(sum));
	}
}

/* Raw sockets of IPv6 want no port. */
static void send_raw(int fd, const unsigned char *packet, size_t size, const struct sockaddr_storage *to)
{
	struct sockaddr_storage target = *to;
	if (target.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&target)->sin6_port = 0;
	sendto(fd, packet, size, 0, (void *)&target, size_of(target.ss_family));
}
