/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What of a packet of an endpoint is looked at: the key of its flow, and of which kind it is. What nearly all packets
 * are is read in place here; everything else by policy-packet.h.
 */
#pragma once

#include "policy-flow.h"
#include "policy-reasons.h"
#include "transport.h"

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

#define NEXT_SCTP 132
#define SCTP_HEADER 12
#define IPV4_DONT_FRAGMENT 0x4000

enum packet_kind {
	PACKET_OF_FLOW,
	PACKET_ANSWER, /* of a flow, and nothing without it: an answer to an ICMP echo */
	PACKET_ALONE, /* other ICMP: decided by its type, packet by packet */
	PACKET_RELATED, /* the key is of the flow that an ICMP error is about */
	PACKET_NEIGHBOUR,
	PACKET_REFUSED, /* `refused` says why, where anything is restricted */
};

struct packet_view {
	struct flow_key key;
	__be32 identification; /* of a fragmented datagram */
	__u32 kind;
	__u16 refused; /* reason */
	__u16 network_at; /* where IP's header begins; not told by read_simple() */
	__u8 is_ipv6;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 records_fragment;
};

static __always_inline void set_ports(struct flow_key *key, bool arrives, __be16 source, __be16 destination)
{
	key->local_port = arrives ? destination : source;
	key->remote_port = arrives ? source : destination;
}

static __always_inline void set_ipv4(struct flow_key *key, bool arrives, __be32 source, __be32 destination)
{
	key->local_low = arrives ? destination : source;
	key->remote_low = arrives ? source : destination;
}

static __always_inline void copy_high(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

static __always_inline void set_ipv6(struct flow_key *key, bool arrives, const __be32 *source, const __be32 *destination)
{
	const __be32 *local = arrives ? destination : source, *remote = arrives ? source : destination;

	key->local_low = local[3];
	key->remote_low = remote[3];
	copy_high(key->local_high, local);
	copy_high(key->remote_high, remote);
}

static __always_inline void refuse(struct packet_view *view, __u32 reason)
{
	view->kind = PACKET_REFUSED;
	view->refused = reason;
}

/* What lies behind a header of known length; false: not simple enough. `room` bytes are the datagram's. */
static __always_inline bool read_simple_transport(const struct packet *packet, bool arrives, void *at, __u32 room,
						  struct packet_view *view)
{
	if (view->key.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = at;
		__u32 length;

		if ((void *)(tcp + 1) > packet->data_end)
			return false;
		length = (((__u8 *)tcp)[12] >> 4) * 4;
		if (length < sizeof(*tcp) || length > room)
			return false;
		view->tcp_flags = ((__u8 *)tcp)[13];
		set_ports(&view->key, arrives, tcp->source, tcp->dest);
		return true;
	}
	if (view->key.protocol == IPPROTO_UDP) {
		struct udphdr *udp = at;
		__u32 length;

		if ((void *)(udp + 1) > packet->data_end || packet->gso_size)
			return false;
		length = bpf_ntohs(udp->len);
		if (length < sizeof(*udp) || length > room)
			return false;
		set_ports(&view->key, arrives, udp->source, udp->dest);
		return true;
	}
	return false;
}

/* TCP and UDP without anything before or in between, all there and in place. */
static __always_inline bool read_simple(const struct packet *packet, bool arrives, struct packet_view *view)
{
	struct ethhdr *ethernet = packet->data;
	__u32 told;

	if ((void *)(ethernet + 1) > packet->data_end)
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *header = (void *)(ethernet + 1);

		if ((void *)(header + 1) > packet->data_end)
			return false;
		told = bpf_ntohs(header->tot_len);
		if (*(__u8 *)header != 0x45 || header->frag_off & ~bpf_htons(IPV4_DONT_FRAGMENT) ||
		    told < sizeof(*header) || sizeof(*ethernet) + told > packet->length)
			return false;
		view->key.protocol = header->protocol;
		set_ipv4(&view->key, arrives, header->saddr, header->daddr);
		return read_simple_transport(packet, arrives, header + 1, told - sizeof(*header), view);
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *header = (void *)(ethernet + 1);

		if ((void *)(header + 1) > packet->data_end)
			return false;
		told = bpf_ntohs(header->payload_len);
		if (*(__u8 *)header >> 4 != 6 || sizeof(*ethernet) + sizeof(*header) + told > packet->length)
			return false;
		view->is_ipv6 = true;
		view->key.protocol = header->nexthdr;
		set_ipv6(&view->key, arrives, header->saddr.in6_u.u6_addr32, header->daddr.in6_u.u6_addr32);
		return read_simple_transport(packet, arrives, header + 1, told, view);
	}
	return false;
}
