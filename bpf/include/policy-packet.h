/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a packet of an endpoint into the key of its flow, whatever it is: with options, extension headers, fragments,
 * tags, ICMP, or malformed. By transport.h.
 */
#pragma once

#include "policy-view.h"

/* The identifier stands at the end that asks, so that both ends may ask with the same one. */
static __always_inline void set_echo(struct packet_view *view, bool is_request, bool arrives, __be16 id)
{
	bool remote_asks = is_request == arrives;

	view->key.local_port = remote_asks ? 0 : id;
	view->key.remote_port = remote_asks ? id : 0;
}

static __always_inline bool is_echo_request(bool is_ipv6, __u8 type)
{
	return type == (is_ipv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST);
}

static __always_inline bool is_echo_answer(bool is_ipv6, __u8 type)
{
	return type == (is_ipv6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY);
}

/* Unreachable, too big, time exceeded, parameter problem. */
static __always_inline bool is_icmp_error(bool is_ipv6, __u8 type)
{
	return is_ipv6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12;
}

/* What a packet inside an ICMP error was: it went the other way. False: no flow can be told. */
static __always_inline bool read_inner_transport(const struct packet *packet, bool arrives, __u32 offset,
						 struct packet_view *view)
{
	struct icmp_header copy, *header = header_at(packet, offset, &copy, sizeof(*header));
	__u32 protocol = view->key.protocol;

	/* At once, here and elsewhere: Linux 5.10 forgets in between that it was asked. */
	if (!header)
		return false;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == NEXT_SCTP) {
		set_ports(&view->key, !arrives, ((__be16 *)header)[0], ((__be16 *)header)[1]);
		return true;
	}
	if (protocol == (view->is_ipv6 ? NEXT_ICMPV6 : IPPROTO_ICMP)) {
		if (!is_echo_request(view->is_ipv6, header->type))
			return false;
		set_echo(view, true, !arrives, header->echo_id);
		return true;
	}
	set_ports(&view->key, arrives, 0, 0);
	return true;
}

static __always_inline bool read_inner(const struct packet *packet, bool arrives, __u32 offset,
				       struct packet_view *view)
{
	if (view->is_ipv6) {
		struct ipv6hdr copy, *header = header_at(packet, offset, &copy, sizeof(*header));
		struct extension rest, *fragment;

		if (!header)
			return false;
		offset += sizeof(*header);
		view->key.protocol = header->nexthdr;
		set_ipv6(&view->key, !arrives, header->saddr.in6_u.u6_addr32, header->daddr.in6_u.u6_addr32);
		if (header->nexthdr == NEXT_FRAGMENT) {
			fragment = header_at(packet, offset, &rest, sizeof(*fragment));
			if (!fragment || bpf_ntohs(fragment->fragment) & IPV6_OFFSET)
				return false;
			offset += sizeof(*fragment);
			view->key.protocol = fragment->next;
		}
	} else {
		struct iphdr copy, *header = header_at(packet, offset, &copy, sizeof(*header));

		if (!header || bpf_ntohs(header->frag_off) & IPV4_OFFSET)
			return false;
		offset += (*(__u8 *)header & 15) * 4;
		view->key.protocol = header->protocol;
		set_ipv4(&view->key, !arrives, header->saddr, header->daddr);
	}
	return read_inner_transport(packet, arrives, blur(packet, offset, 0x7fff), view);
}

static __always_inline void set_addresses(const struct network_header *network, bool arrives, struct packet_view *view)
{
	const struct address *source = &network->source, *destination = &network->destination;

	if (network->network == NETWORK_IPV4) {
		set_ipv4(&view->key, arrives, bpf_htonl(source->high >> 32), bpf_htonl(destination->high >> 32));
	} else {
		const struct address *local = arrives ? destination : source, *remote = arrives ? source : destination;

		view->key.local_low = bpf_htonl(local->low);
		view->key.remote_low = bpf_htonl(remote->low);
		view->key.local_high[0] = bpf_htonl(local->high >> 32);
		view->key.local_high[1] = bpf_htonl(local->high);
		view->key.local_high[2] = bpf_htonl(local->low >> 32);
		view->key.remote_high[0] = bpf_htonl(remote->high >> 32);
		view->key.remote_high[1] = bpf_htonl(remote->high);
		view->key.remote_high[2] = bpf_htonl(remote->low >> 32);
	}
}

/*
 * RFC 4861: nobody but a neighbour can have sent a hop limit of 255. RFC 3810: who listens to which group, by which
 * switches choose whom they send solicitations; of hop limit 1.
 */
static __always_inline bool is_neighbour(const struct packet *packet, const struct network_header *network, __u8 type)
{
	bool is_discovery = type >= 133 && type <= 137, is_listening = (type >= 130 && type <= 132) || type == 143;
	__u8 copy, *hop_limit;

	if (!is_discovery && !is_listening)
		return false;
	hop_limit = header_at(packet, network->offset + offsetof(struct ipv6hdr, hop_limit), &copy, sizeof(copy));
	return hop_limit && *hop_limit == (is_discovery ? 255 : 1);
}

/*
 * Who is told of an error has sent what it is about: else an endpoint with one flow could tell anybody anything. The
 * key is that of what it is about.
 */
static __always_inline bool is_told_to_sender(const struct network_header *network, bool arrives,
					      const struct flow_key *key)
{
	const struct address *told = &network->destination;
	const __be32 *high = arrives ? key->local_high : key->remote_high;
	__be32 low = arrives ? key->local_low : key->remote_low;

	if (network->network == NETWORK_IPV4)
		return low == bpf_htonl(told->high >> 32);
	return !((low ^ bpf_htonl(told->low)) | (high[0] ^ bpf_htonl(told->high >> 32)) |
		 (high[1] ^ bpf_htonl(told->high)) | (high[2] ^ bpf_htonl(told->low >> 32)));
}

static __always_inline enum fault view_icmp(const struct packet *packet, const struct network_header *network,
					    bool arrives, __u32 offset, enum part part, __u64 now_ns,
					    struct packet_view *view)
{
	struct transport_header icmp = {};
	enum fault fault = read_icmp(packet, offset, network->end - offset, part, &icmp);
	struct flow *flow;

	if (fault)
		return fault;
	view->icmp_type = icmp.icmp_type;
	if (is_echo_request(view->is_ipv6, icmp.icmp_type)) {
		set_echo(view, true, arrives, icmp.source_port);
	} else if (is_echo_answer(view->is_ipv6, icmp.icmp_type)) {
		view->kind = PACKET_ANSWER;
		set_echo(view, false, arrives, icmp.source_port);
	} else if (is_icmp_error(view->is_ipv6, icmp.icmp_type)) {
		view->kind = PACKET_RELATED;
		if (read_inner(packet, arrives, offset + sizeof(struct icmp_header), view) &&
		    is_told_to_sender(network, arrives, &view->key)) {
			flow = find_flow(&view->key, view->is_ipv6);
			if (flow && is_live(flow, view->key.protocol, now_ns))
				return FAULT_NONE;
		}
		view->kind = PACKET_ALONE;
		view->key.protocol = view->is_ipv6 ? NEXT_ICMPV6 : IPPROTO_ICMP;
		set_ports(&view->key, arrives, 0, 0);
		set_addresses(network, arrives, view);
	} else {
		view->kind = view->is_ipv6 && is_neighbour(packet, network, icmp.icmp_type) ? PACKET_NEIGHBOUR :
											     PACKET_ALONE;
	}
	return FAULT_NONE;
}

static __always_inline void view_sctp(const struct packet *packet, bool arrives, __u32 offset, __u32 room,
				      struct packet_view *view)
{
	struct icmp_header copy, *header = header_at(packet, offset, &copy, sizeof(*header));

	if (!header || room < SCTP_HEADER)
		return refuse(view, REASON_MALFORMED_SCTP);
	set_ports(&view->key, arrives, ((__be16 *)header)[0], ((__be16 *)header)[1]);
}

static __always_inline enum fault view_transport(const struct packet *packet, const struct network_header *network,
						 bool arrives, __u32 offset, enum part part, __u64 now_ns,
						 struct packet_view *view)
{
	__u32 room = network->end - offset, protocol = view->key.protocol;
	struct transport_header transport = {};
	enum fault fault;
	__u8 copy, *flags;

	if (protocol == IPPROTO_TCP) {
		fault = read_tcp(packet, offset, room, part, &transport);
		flags = header_at(packet, offset + 13, &copy, sizeof(copy));
		view->tcp_flags = flags ? *flags : 0;
	} else if (protocol == IPPROTO_UDP) {
		fault = read_udp(packet, offset, room, part, &transport);
	} else if (protocol == NEXT_SCTP) {
		view_sctp(packet, arrives, offset, room, view);
		return FAULT_NONE;
	} else if (protocol == (view->is_ipv6 ? NEXT_ICMPV6 : IPPROTO_ICMP)) {
		return view_icmp(packet, network, arrives, offset, part, now_ns, view);
	} else {
		return FAULT_NONE;
	}
	set_ports(&view->key, arrives, transport.source_port, transport.destination_port);
	return fault;
}

static __always_inline void read_identification(const struct packet *packet, const struct network_header *network,
						__u32 at, struct packet_view *view)
{
	__be32 identification = 0;

	/* Two bytes in IPv4. */
	bpf_skb_load_bytes(packet->ctx, at, &identification, 4);
	if (network->network == NETWORK_IPV4)
		identification &= bpf_htonl(0xffff0000);
	view->identification = identification;
}

/* Makes the key that of the fragmented datagram: the flow's, without ports. In place, for stacks are short. */
static __always_inline void set_fragment_key(bool arrives, struct packet_view *view)
{
	view->key.local_port = view->identification >> 16;
	view->key.remote_port = view->identification;
	view->key.protocol |= (arrives ? FLOW_INGRESS + 1 : FLOW_EGRESS + 1) << 16;
}

static __always_inline enum fault view_datagram(const struct packet *packet, const struct network_header *network,
						bool arrives, __u64 now_ns, struct packet_view *view)
{
	__u32 offset = network->payload, identification_at = network->offset + offsetof(struct iphdr, id);
	struct fragment_record *record;
	enum part part = PART_WHOLE;
	enum fault fault;

	view->key.protocol = network->protocol;
	if (view->is_ipv6) {
		struct fragment fragment = {};
		__u8 next = network->protocol;

		fault = skip_extensions(packet, network, &offset, &next, &fragment);
		if (fault)
			return fault;
		offset = blur(packet, offset, 0x7fff);
		view->key.protocol = next;
		if (fragment.headers > 1)
			return FAULT_MALFORMED_FRAGMENT;
		if (fragment.bits & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)) {
			part = fragment.bits & IPV6_OFFSET ? PART_LATER : PART_FIRST;
			identification_at = fragment.at - 4;
			fault = check_fragment(network, fragment.at, fragment.bits & IPV6_OFFSET,
					       fragment.bits & IPV6_MORE_FRAGMENTS, next);
		}
	} else if (network->fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET)) {
		part = network->fragment & IPV4_OFFSET ? PART_LATER : PART_FIRST;
		fault = check_fragment(network, offset, (network->fragment & IPV4_OFFSET) * 8,
				       network->fragment & IPV4_MORE_FRAGMENTS, network->protocol);
	} else {
		fault = FAULT_NONE;
	}
	if (fault)
		return fault;
	part = blur(packet, part, 3);
	view->key.protocol = blur(packet, view->key.protocol, 0xff);
	if (part != PART_WHOLE)
		read_identification(packet, network, identification_at, view);
	if (part != PART_LATER) {
		view->records_fragment = part == PART_FIRST;
		return view_transport(packet, network, arrives, offset, part, now_ns, view);
	}
	set_fragment_key(arrives, view);
	record = bpf_map_lookup_elem(&fragments, &view->key);
	view->key.protocol &= 0xff;
	if (!record) {
		refuse(view, REASON_FRAGMENT_WITHOUT_FIRST);
		return FAULT_NONE;
	}
	view->kind = record->kind;
	view->icmp_type = record->icmp_type;
	view->key.local_port = record->local_port;
	view->key.remote_port = record->remote_port;
	return FAULT_NONE;
}

/* Everything that is not simple. */
static __always_inline void view_packet(const struct packet *packet, bool arrives, __u64 now_ns,
					struct packet_view *view)
{
	struct network_header network;
	enum fault fault = read_network(packet, &network);

	view->is_ipv6 = network.network == NETWORK_IPV6;
	view->network_at = network.offset;
	if (fault)
		return refuse(view, REASON_FAULT + fault);
	if (network.network == NETWORK_NONE) {
		if (((struct __sk_buff *)packet->ctx)->protocol == bpf_htons(ETH_P_ARP))
			view->kind = PACKET_NEIGHBOUR;
		else
			refuse(view, REASON_NOT_IP);
		return;
	}
	set_addresses(&network, arrives, view);
	fault = view_datagram(packet, &network, arrives, now_ns, view);
	if (fault)
		refuse(view, REASON_FAULT + fault);
}
