/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads and writes what of a packet is translated: the remote end's address and port, and sums over them. */
#pragma once

#include "policy-verdict.h"

static __always_inline __u32 side_of(__u32 protocol, bool is_ipv6, __u32 side)
{
	return (protocol & 0xff) | side | (is_ipv6 ? SIDE_IPV6 : 0);
}

static __always_inline void set_remote(struct flow_key *key, __be32 low, const __be32 *high, __be16 port)
{
	key->remote_low = low;
	copy_high(key->remote_high, high);
	key->remote_port = port;
}

static __always_inline void set_other(struct translation *to, const struct flow_key *key)
{
	to->low = key->remote_low;
	copy_high(to->high, key->remote_high);
	to->port = key->remote_port;
}

static __always_inline bool is_same_remote(const struct flow_key *key, const struct translation *other)
{
	return !((key->remote_low ^ other->low) | (key->remote_high[0] ^ other->high[0]) |
		 (key->remote_high[1] ^ other->high[1]) | (key->remote_high[2] ^ other->high[2]) |
		 (key->remote_port ^ other->port));
}

/* In `view` by then: addresses, protocol, and ports, or for later fragments the identification. */
static __always_inline bool read_datagram(const struct packet *packet, bool arrives, struct work *work)
{
	struct packet_view *view = &work->view;
	struct service_work *service = &work->service;
	struct network_header network;
	struct fragment fragment = {};
	__u32 offset, identification_at;
	__be16 ports[2];
	__u8 next;

	if (read_network(packet, &network) || network.network == NETWORK_NONE || network.offset != ETH_HLEN)
		return false;
	view->is_ipv6 = network.network == NETWORK_IPV6;
	set_addresses(&network, arrives, view);
	offset = network.payload;
	next = network.protocol;
	identification_at = network.offset + offsetof(struct iphdr, id);
	if (view->is_ipv6) {
		if (skip_extensions(packet, &network, &offset, &next, &fragment) || fragment.headers > 1)
			return false;
		if (fragment.bits & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)) {
			service->part = fragment.bits & IPV6_OFFSET ? PART_LATER : PART_FIRST;
			identification_at = fragment.at - 4;
		}
	} else if (network.fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET)) {
		service->part = network.fragment & IPV4_OFFSET ? PART_LATER : PART_FIRST;
	}
	offset = blur(packet, offset, 0x7fff);
	service->transport_at = offset;
	view->key.protocol = blur(packet, next, 0xff);
	if (view->key.protocol != IPPROTO_TCP && view->key.protocol != IPPROTO_UDP && view->key.protocol != NEXT_SCTP)
		return false;
	if (service->part != PART_WHOLE)
		read_identification(packet, &network, blur(packet, identification_at, 0x7fff), view);
	if (service->part == PART_LATER) {
		view->key.local_port = view->identification >> 16;
		view->key.remote_port = view->identification;
		return true;
	}
	if (bpf_skb_load_bytes(packet->ctx, offset, ports, sizeof(ports)))
		return false;
	set_ports(&view->key, arrives, ports[0], ports[1]);
	if (view->key.protocol == IPPROTO_TCP)
		bpf_skb_load_bytes(packet->ctx, offset + 13, &view->tcp_flags, 1);
	return true;
}

static __always_inline bool read_translatable(struct __sk_buff *skb, bool arrives, struct work *work)
{
	struct packet packet = packet_of_skb(skb, PACKET_TC);

	work->view = (struct packet_view){};
	work->view.key.ifindex = skb->ifindex;
	work->service.part = PART_WHOLE;
	if (read_simple(&packet, arrives, &work->view)) {
		work->service.transport_at =
			ETH_HLEN + (work->view.is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
		return true;
	}
	return read_datagram(&packet, arrives, work);
}

static __always_inline __u32 checksum_at(__u32 protocol, __u32 transport_at)
{
	return transport_at + (protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check));
}

/*
 * Writes the remote end of `is` where that of `was` stands. SCTP's checksum covers no address, and its ports are
 * not translated. What a network card summed up follows the bytes: in IPv4 the checksums of both layers change by
 * the address, in IPv6 one does.
 */
static __always_inline void rewrite_remote(struct __sk_buff *skb, bool arrives, const struct service_work *service,
					   bool is_ipv6, const struct flow_key *was, const struct flow_key *is)
{
	__u32 protocol = was->protocol & 0xff, sum_at = checksum_at(protocol, service->transport_at);
	bool has_transport = service->part != PART_LATER, has_sum = has_transport && protocol != NEXT_SCTP;
	__u64 flags = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	if (is_ipv6) {
		__be32 from[4] = { was->remote_high[0], was->remote_high[1], was->remote_high[2], was->remote_low };
		__be32 to[4] = { is->remote_high[0], is->remote_high[1], is->remote_high[2], is->remote_low };

		if (has_sum)
			bpf_l4_csum_replace(skb, sum_at, 0, bpf_csum_diff(from, 16, to, 16, 0),
					    BPF_F_PSEUDO_HDR | flags);
		bpf_skb_store_bytes(skb, ETH_HLEN + (arrives ? 8 : 24), to, sizeof(to), BPF_F_RECOMPUTE_CSUM);
	} else {
		__be32 from = was->remote_low, to = is->remote_low;

		if (has_sum)
			bpf_l4_csum_replace(skb, sum_at, from, to, BPF_F_PSEUDO_HDR | flags | sizeof(to));
		bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, sizeof(to));
		bpf_skb_store_bytes(skb, ETH_HLEN + (arrives ? 12 : 16), &to, sizeof(to), 0);
	}
	if (has_transport && was->remote_port != is->remote_port) {
		__be16 to = is->remote_port;

		bpf_l4_csum_replace(skb, sum_at, was->remote_port, to, flags | sizeof(to));
		bpf_skb_store_bytes(skb, service->transport_at + (arrives ? 0 : 2), &to, sizeof(to), 0);
	}
}
/* An ICMP error: what it is about was sent to the Service, and the back end that tells of it is one too. */
static __always_inline void restore_error(struct __sk_buff *skb, const struct service_work *service)
{
	__u32 icmp_at, inner_at, port_at;
	const struct flow_key *was = &service->from, *is = &service->to;
	__be32 told_by[4];
	__u8 first;

	if (service->is_ipv6) {
		__be32 from[4] = { was->remote_high[0], was->remote_high[1], was->remote_high[2], was->remote_low };
		__be32 to[4] = { is->remote_high[0], is->remote_high[1], is->remote_high[2], is->remote_low };
		__s64 difference = bpf_csum_diff(from, 16, to, 16, 0);

		icmp_at = ETH_HLEN + sizeof(struct ipv6hdr);
		inner_at = icmp_at + sizeof(struct icmp_header);
		port_at = inner_at + sizeof(struct ipv6hdr) + 2;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + 8, told_by, sizeof(told_by)))
			return;
		if (!((told_by[0] ^ from[0]) | (told_by[1] ^ from[1]) | (told_by[2] ^ from[2]) | (told_by[3] ^ from[3]))) {
			bpf_l4_csum_replace(skb, icmp_at + 2, 0, difference, BPF_F_PSEUDO_HDR);
			bpf_skb_store_bytes(skb, ETH_HLEN + 8, to, sizeof(to), BPF_F_RECOMPUTE_CSUM);
		}
		bpf_l4_csum_replace(skb, icmp_at + 2, 0, difference, 0);
		bpf_skb_store_bytes(skb, inner_at + 24, to, sizeof(to), 0);
	} else {
		__be32 from = was->remote_low, to = is->remote_low;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &first, 1))
			return;
		icmp_at = ETH_HLEN + (first & 15) * 4;
		inner_at = icmp_at + sizeof(struct icmp_header);
		if (bpf_skb_load_bytes(skb, inner_at, &first, 1) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + 12, told_by, sizeof(from)))
			return;
		port_at = inner_at + (first & 15) * 4 + 2;
		if (told_by[0] == from) {
			bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, sizeof(to));
			bpf_skb_store_bytes(skb, ETH_HLEN + 12, &to, sizeof(to), 0);
		}
		/* The header's own sum changes by as much, so that ICMP's does not. */
		bpf_l3_csum_replace(skb, inner_at + offsetof(struct iphdr, check), from, to, sizeof(to));
		bpf_skb_store_bytes(skb, inner_at + 16, &to, sizeof(to), 0);
	}
	if (was->remote_port != is->remote_port) {
		__be16 to = is->remote_port;

		bpf_l4_csum_replace(skb, icmp_at + 2, was->remote_port, to, sizeof(to));
		bpf_skb_store_bytes(skb, port_at, &to, sizeof(to), 0);
	}
}
