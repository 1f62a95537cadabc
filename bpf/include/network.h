/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the link and network headers: Ethernet with up to two VLAN tags, IPv4, IPv6.
 *
 * What cannot be read cannot be checked, so every malformed form is a fault of its own and is dropped
 * by its name. Frames that carry no IP are nobody's business here: NETWORK_NONE, no fault.
 */
#pragma once

#include "packet.h"

#include <linux/ip.h>
#include <linux/ipv6.h>

#define MAX_VLAN_TAGS 2

/* Features count these under the same names, behind their own reasons. */
enum fault {
	FAULT_NONE,
	FAULT_MALFORMED_ETHERNET, /* shorter than its header */
	FAULT_MALFORMED_VLAN, /* ends inside a tag */
	FAULT_MALFORMED_VLAN_DEPTH, /* a third tag */
	FAULT_MALFORMED_IPV4_TRUNCATED, /* fewer than 20 bytes */
	FAULT_MALFORMED_IPV4_VERSION,
	FAULT_MALFORMED_IPV4_IHL, /* header length below 20, or beyond the packet */
	FAULT_MALFORMED_IPV4_LENGTH, /* total length below the header's, or beyond the packet */
	FAULT_MALFORMED_IPV6_TRUNCATED, /* fewer than 40 bytes */
	FAULT_MALFORMED_IPV6_VERSION,
	FAULT_MALFORMED_IPV6_LENGTH, /* payload length beyond the packet */
	FAULT_MALFORMED_IPV6_EXTENSION, /* an extension header does not fit the payload */
	FAULT_MALFORMED_IPV6_CHAIN, /* more extension headers than MAX_EXTENSIONS */
	FAULT_MALFORMED_FRAGMENT,
	FAULT_MALFORMED_TCP,
	FAULT_MALFORMED_UDP,
	FAULT_MALFORMED_ICMP,
};

enum network { NETWORK_NONE = 0, NETWORK_IPV4 = 4, NETWORK_IPV6 = 6 };

/* Host order, left-aligned: an IPv4 address is the upper half of `high`. */
struct address {
	__u64 high;
	__u64 low;
};

struct network_header {
	enum network network;
	struct address source;
	struct address destination;
	__u32 offset; /* of the header, from the start of the packet */
	__u32 payload; /* offset of what follows the fixed header and IPv4's options */
	__u32 end; /* offset behind the last byte that belongs to the datagram */
	__u16 fragment; /* IPv4: flags and offset, host order */
	__u16 first_word; /* version, IPv4 header length, DSCP … as they stand, host order */
	__u8 protocol; /* IPv4: transport; IPv6: first next header */
};

struct vlan_tag {
	__be16 control;
	__be16 ethertype;
};

static __always_inline bool is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Without a link header: an skb knows, a frame tells by its version. */
static __always_inline __be16 network_protocol(const struct packet *packet)
{
	__u8 *first = packet->data;

	if (packet->source != PACKET_XDP)
		return ((struct __sk_buff *)packet->ctx)->protocol;
	if ((void *)(first + 1) > packet->data_end)
		return 0;
	return *first >> 4 == 4 ? bpf_htons(ETH_P_IP) : *first >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : 0;
}

static __always_inline enum fault read_link(const struct packet *packet, __u32 *offset, __be16 *ethertype)
{
	struct ethhdr ethernet_copy, *ethernet;
	struct vlan_tag tag_copy, *tag;

	if (packet->starts_at_network) {
		*offset = 0;
		*ethertype = network_protocol(packet);
		return FAULT_NONE;
	}
	ethernet = header_at(packet, 0, &ethernet_copy, sizeof(*ethernet));
	if (!ethernet)
		return FAULT_MALFORMED_ETHERNET;
	*offset = sizeof(*ethernet);
	*ethertype = ethernet->h_proto;
#pragma unroll
	for (int tags = 0; tags < MAX_VLAN_TAGS; tags++) {
		if (!is_vlan(*ethertype))
			return FAULT_NONE;
		tag = header_at(packet, *offset, &tag_copy, sizeof(*tag));
		if (!tag)
			return FAULT_MALFORMED_VLAN;
		*offset += sizeof(*tag);
		*ethertype = tag->ethertype;
	}
	return is_vlan(*ethertype) ? FAULT_MALFORMED_VLAN_DEPTH : FAULT_NONE;
}

static __always_inline enum fault read_ipv4(const struct packet *packet, __u32 offset, struct network_header *out)
{
	struct iphdr copy, *header = header_at(packet, offset, &copy, sizeof(*header));
	__u32 header_length, total_length;

	if (!header)
		return FAULT_MALFORMED_IPV4_TRUNCATED;
	out->first_word = bpf_ntohs(*(__be16 *)header);
	if (out->first_word >> 12 != 4)
		return FAULT_MALFORMED_IPV4_VERSION;
	header_length = (out->first_word >> 8 & 15) * 4;
	if (header_length < sizeof(*header) || offset + header_length > packet->length)
		return FAULT_MALFORMED_IPV4_IHL;
	total_length = told_length(packet, offset, bpf_ntohs(header->tot_len));
	if (total_length < header_length || offset + total_length > packet->length)
		return FAULT_MALFORMED_IPV4_LENGTH;
	out->network = NETWORK_IPV4;
	out->source = (struct address){ .high = (__u64)bpf_ntohl(header->saddr) << 32 };
	out->destination = (struct address){ .high = (__u64)bpf_ntohl(header->daddr) << 32 };
	out->offset = offset;
	out->payload = offset + header_length;
	out->end = offset + total_length;
	out->fragment = bpf_ntohs(header->frag_off);
	out->protocol = header->protocol;
	return FAULT_NONE;
}

static __always_inline struct address read_address(const struct in6_addr *address)
{
	const __be32 *words = address->in6_u.u6_addr32;

	return (struct address){
		.high = (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]),
		.low = (__u64)bpf_ntohl(words[2]) << 32 | bpf_ntohl(words[3]),
	};
}

static __always_inline enum fault read_ipv6(const struct packet *packet, __u32 offset, struct network_header *out)
{
	struct ipv6hdr copy, *header = header_at(packet, offset, &copy, sizeof(*header));
	__u32 payload_length;

	if (!header)
		return FAULT_MALFORMED_IPV6_TRUNCATED;
	out->first_word = bpf_ntohs(*(__be16 *)header);
	if (out->first_word >> 12 != 6)
		return FAULT_MALFORMED_IPV6_VERSION;
	out->payload = offset + sizeof(*header);
	payload_length = told_length(packet, out->payload, bpf_ntohs(header->payload_len));
	if (out->payload + payload_length > packet->length)
		return FAULT_MALFORMED_IPV6_LENGTH;
	out->network = NETWORK_IPV6;
	out->source = read_address(&header->saddr);
	out->destination = read_address(&header->daddr);
	out->offset = offset;
	out->end = out->payload + payload_length;
	out->fragment = 0;
	out->protocol = header->nexthdr;
	return FAULT_NONE;
}

static __always_inline enum fault read_network(const struct packet *packet, struct network_header *out)
{
	__be16 ethertype;
	__u32 offset;
	enum fault fault = read_link(packet, &offset, &ethertype);

	*out = (struct network_header){};
	if (fault)
		return fault;
	offset = blur(packet, offset, 31);
	if (ethertype == bpf_htons(ETH_P_IP))
		return read_ipv4(packet, offset, out);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return read_ipv6(packet, offset, out);
	return FAULT_NONE;
}
