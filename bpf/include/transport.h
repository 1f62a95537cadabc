/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads what follows the network header: IPv6 extension headers, fragments, TCP, UDP and ICMP. */
#pragma once

#include "network.h"

#include <linux/in.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define MAX_EXTENSIONS 8
#define MAX_DATAGRAM 65535
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_OFFSET 0xfff8

/* <linux/icmp.h> and <linux/in6.h> want a C library for this target. */
enum icmp_type { ICMP_ECHO_REPLY = 0, ICMP_ECHO_REQUEST = 8, ICMPV6_ECHO_REQUEST = 128, ICMPV6_ECHO_REPLY = 129 };

/* The first eight bytes, which ICMP and ICMPv6 share. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be16 echo_id;
	__be16 echo_sequence;
};

enum next_header {
	NEXT_HOP_BY_HOP = 0,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_AUTHENTICATION = 51,
	NEXT_ICMPV6 = 58,
	NEXT_DESTINATION = 60,
	NEXT_MOBILITY = 135,
	NEXT_HIP = 139,
	NEXT_SHIM6 = 140,
};

enum extension_bit { EXTENSION = 1, EXTENSION_IN_WORDS = 2, EXTENSION_FRAGMENT = 4 };

/* By next header. A table, and arithmetic below: every comparison would double the verifier's paths. */
static const __u8 extension_bits[256] = {
	[NEXT_HOP_BY_HOP] = EXTENSION,
	[NEXT_ROUTING] = EXTENSION,
	[NEXT_FRAGMENT] = EXTENSION | EXTENSION_FRAGMENT,
	[NEXT_AUTHENTICATION] = EXTENSION | EXTENSION_IN_WORDS,
	[NEXT_DESTINATION] = EXTENSION,
	[NEXT_MOBILITY] = EXTENSION,
	[NEXT_HIP] = EXTENSION,
	[NEXT_SHIM6] = EXTENSION,
};

struct transport_header {
	__be16 source_port; /* ICMP echo: the identifier, in both */
	__be16 destination_port;
	__u8 protocol;
	__u8 icmp_type;
	bool has_ports;
};

enum part { PART_WHOLE, PART_FIRST, PART_LATER };

/* Bytes from `at` on are a fragment whose place in the datagram is `offset`. */
static __always_inline enum fault check_fragment(const struct network_header *network, __u32 at, __u32 offset,
						 bool has_more, __u8 protocol)
{
	__u32 size = network->end - at;

	if (at >= network->end || offset + size > MAX_DATAGRAM || (has_more && size % 8 != 0))
		return FAULT_MALFORMED_FRAGMENT;
	/* RFC 1858: only made to overwrite the flags that the first fragment was judged by. */
	if (protocol == IPPROTO_TCP && offset == 8)
		return FAULT_MALFORMED_FRAGMENT;
	return FAULT_NONE;
}

struct extension {
	__u8 next;
	__u8 length; /* without the first unit, or without two of four bytes */
	__be16 fragment;
	__be32 rest;
};

/* What the walk over the extension headers has seen of fragment headers. */
struct fragment {
	__u32 headers;
	__u32 bits; /* offset and M of all of them */
	__u32 at; /* offset behind the last one */
};

/* Moves `offset` and `next` to the transport header, or behind the header of a later fragment. */
static __always_inline enum fault skip_extensions(const struct packet *packet, const struct network_header *network,
						  __u32 *offset, __u8 *next, struct fragment *fragment)
{
	struct extension copy, *extension;
	__u32 size;

#pragma clang loop unroll(disable)
	for (int count = 0; count < MAX_EXTENSIONS; count++) {
		__u32 bits = extension_bits[*next];
		__u32 in_words = bits / EXTENSION_IN_WORDS & 1, is_fragment = bits / EXTENSION_FRAGMENT & 1;

		if (!bits || fragment->bits & IPV6_OFFSET)
			return FAULT_NONE;
		if (*offset + sizeof(*extension) > network->end)
			return FAULT_MALFORMED_IPV6_EXTENSION;
		extension = header_at(packet, *offset, &copy, sizeof(*extension));
		if (!extension)
			return FAULT_MALFORMED_IPV6_EXTENSION;
		*next = extension->next;
		size = ((extension->length & (is_fragment - 1)) + 1 + in_words) << (3 - in_words);
		/* The compiler knows this bound, the verifier does not. */
		asm volatile("" : "+r"(size));
		*offset += size & 0xfff;
		if (*offset > network->end)
			return FAULT_MALFORMED_IPV6_EXTENSION;
		fragment->headers += is_fragment;
		fragment->bits |= bpf_ntohs(extension->fragment) & -is_fragment;
		fragment->at = (fragment->at & (is_fragment - 1)) | (*offset & -is_fragment);
	}
	if (fragment->bits & IPV6_OFFSET || !extension_bits[*next])
		return FAULT_NONE;
	return FAULT_MALFORMED_IPV6_CHAIN;
}

static __always_inline enum fault read_extensions(const struct packet *packet, const struct network_header *network,
						  __u32 *offset, __u8 *next, enum part *part)
{
	struct fragment fragment = {};
	enum fault fault = skip_extensions(packet, network, offset, next, &fragment);

	if (fault)
		return fault;
	*offset = blur(packet, *offset, 0x7fff);
	if (fragment.headers > 1)
		return FAULT_MALFORMED_FRAGMENT;
	/* RFC 6946: a fragment header without offset and successor changes nothing. */
	if (!(fragment.bits & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)))
		return FAULT_NONE;
	*part = fragment.bits & IPV6_OFFSET ? PART_LATER : PART_FIRST;
	return check_fragment(network, fragment.at, fragment.bits & IPV6_OFFSET, fragment.bits & IPV6_MORE_FRAGMENTS,
			      *next);
}

/* A first fragment must hold the header that all fragments are judged by (RFC 1858, RFC 7112). */
static __always_inline enum fault cut_short(enum part part, enum fault fault)
{
	return part == PART_FIRST ? FAULT_MALFORMED_FRAGMENT : fault;
}

static __always_inline enum fault read_tcp(const struct packet *packet, __u32 offset, __u32 room, enum part part,
					   struct transport_header *out)
{
	struct tcphdr copy, *tcp;
	__u32 length;

	if (room < sizeof(*tcp))
		return cut_short(part, FAULT_MALFORMED_TCP);
	tcp = header_at(packet, offset, &copy, sizeof(*tcp));
	if (!tcp)
		return FAULT_MALFORMED_TCP;
	length = (((__u8 *)tcp)[12] >> 4) * 4;
	if (length < sizeof(*tcp) || (part == PART_WHOLE && length > room))
		return FAULT_MALFORMED_TCP;
	out->source_port = tcp->source;
	out->destination_port = tcp->dest;
	out->has_ports = true;
	return FAULT_NONE;
}

static __always_inline enum fault read_udp(const struct packet *packet, __u32 offset, __u32 room, enum part part,
					   struct transport_header *out)
{
	struct udphdr copy, *udp;
	__u32 length;

	if (room < sizeof(*udp))
		return cut_short(part, FAULT_MALFORMED_UDP);
	udp = header_at(packet, offset, &copy, sizeof(*udp));
	if (!udp)
		return FAULT_MALFORMED_UDP;
	length = bpf_ntohs(udp->len);
	if (!packet->gso_size && (length < sizeof(*udp) || (part == PART_WHOLE && length > room)))
		return FAULT_MALFORMED_UDP;
	out->source_port = udp->source;
	out->destination_port = udp->dest;
	out->has_ports = true;
	return FAULT_NONE;
}

static __always_inline enum fault read_icmp(const struct packet *packet, __u32 offset, __u32 room, enum part part,
					    struct transport_header *out)
{
	struct icmp_header copy, *icmp;

	if (room < sizeof(*icmp))
		return cut_short(part, FAULT_MALFORMED_ICMP);
	icmp = header_at(packet, offset, &copy, sizeof(*icmp));
	if (!icmp)
		return FAULT_MALFORMED_ICMP;
	out->icmp_type = icmp->type;
	out->source_port = out->destination_port = icmp->echo_id;
	out->has_ports = icmp->type == ICMP_ECHO_REQUEST || icmp->type == ICMP_ECHO_REPLY ||
			 icmp->type == ICMPV6_ECHO_REQUEST || icmp->type == ICMPV6_ECHO_REPLY;
	return FAULT_NONE;
}

static __always_inline enum fault find_transport(const struct packet *packet, const struct network_header *network,
						 struct transport_header *out)
{
	bool is_ipv6 = network->network == NETWORK_IPV6;
	enum part part = PART_WHOLE;
	__u32 offset = network->payload;
	__u8 next = network->protocol;
	enum fault fault;
	__u32 room;

	*out = (struct transport_header){};
	if (is_ipv6) {
		fault = read_extensions(packet, network, &offset, &next, &part);
		if (fault)
			return fault;
	} else if (network->fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET)) {
		part = network->fragment & IPV4_OFFSET ? PART_LATER : PART_FIRST;
		fault = check_fragment(network, offset, (network->fragment & IPV4_OFFSET) * 8,
				       network->fragment & IPV4_MORE_FRAGMENTS, next);
		if (fault)
			return fault;
	}
	out->protocol = next;
	if (part == PART_LATER)
		return FAULT_NONE;
	room = network->end - offset;
	if (next == IPPROTO_TCP)
		return read_tcp(packet, offset, room, part, out);
	if (next == IPPROTO_UDP)
		return read_udp(packet, offset, room, part, out);
	if (next == (is_ipv6 ? NEXT_ICMPV6 : IPPROTO_ICMP))
		return read_icmp(packet, offset, room, part, out);
	return FAULT_NONE;
}

static __always_inline enum fault read_transport(const struct packet *packet, const struct network_header *network,
						 struct transport_header *out)
{
	enum fault fault = find_transport(packet, network, out);

	out->protocol = blur(packet, out->protocol, 0xff);
	out->has_ports = blur(packet, out->has_ports, 1);
	return fault;
}
