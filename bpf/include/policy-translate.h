/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an endpoint sends to a Service gets a back end before policy looks at it, and what comes back gets the
 * Service's address again after that.
 */
#pragma once

#include "policy-backend.h"

const volatile bool translates_services;

static __always_inline __u64 services_serial(void)
{
	const struct service_directory *directory;
	struct table_view table;

	if (!open_services(&table))
		return 0;
	directory = line_at(&table, 0);
	return directory ? directory->serial : 0;
}

/* Sets `service.to` to what is on record; false: it is to be looked for. */
static __always_inline bool follow_translation(struct work *work)
{
	struct service_work *service = &work->service;
	struct translation *known;
	bool opens = work->view.key.protocol != IPPROTO_TCP ||
		     (work->view.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;

	service->from.protocol =
		side_of(work->view.key.protocol, work->view.is_ipv6,
			service->part == PART_LATER ? SIDE_FRAGMENT : SIDE_OUT);
	known = bpf_map_lookup_elem(&translations, &service->from);
	service->from.protocol = work->view.key.protocol;
	if (!known)
		return false;
	set_remote(&service->to, known->low, known->high, known->port);
	if (service->part == PART_LATER)
		return true;
	service->is_known = true;
	service->serial = known->serial;
	service->is_new = (__u32)bpf_jiffies64() - known->tick > YOUNG_TICKS;
	return !opens || known->serial == services_serial();
}

/*
 * Before policy looks at what the endpoint sends. `service.refused` is why it cannot be translated, which judge()
 * takes for a reason to drop it.
 */
__noinline int translate_egress(struct __sk_buff *skb)
{
	struct work *work = work_in_hand();
	struct service_work *service;

	if (!work)
		return 0;
	service = &work->service;
	service->is_translated = false;
	service->refused = 0;
	service->is_known = false;
	service->keeps_affinity = false;
	if (!read_translatable(skb, false, work))
		return 0;
	forget();
	service->from = work->view.key;
	service->to = work->view.key;
	forget();
	if (!follow_translation(work)) {
		forget();
		if (service->part == PART_LATER || !ask_services(skb->ifindex) || service->refused)
			return 0;
	}
	forget();
	service->identification = work->view.identification;
	service->is_ipv6 = work->view.is_ipv6;
	service->is_translated = true;
	rewrite_remote(skb, false, service, work->view.is_ipv6, &service->from, &service->to);
	return 0;
}

/* Once policy let the packet pass. */
__noinline int keep_translation(void)
{
	struct work *work = work_in_hand();
	struct service_work *service;
	__u32 family, protocol;

	if (!work || dry_run)
		return 0;
	service = &work->service;
	if (!service->is_translated || service->part == PART_LATER)
		return 0;
	family = service->is_ipv6 ? SIDE_IPV6 : 0;
	protocol = service->from.protocol;
	service->record = (struct translation){ .serial = service->serial, .tick = bpf_jiffies64() };
	set_other(&service->record, &service->to);
	if (service->is_new) {
		service->from.protocol = protocol | SIDE_OUT | family;
		bpf_map_update_elem(&translations, &service->from, &service->record, BPF_ANY);
	}
	if (service->part == PART_FIRST) {
		struct flow_key *key = &service->fragment;

		*key = service->from;
		key->local_port = service->identification >> 16;
		key->remote_port = service->identification;
		key->protocol = protocol | SIDE_FRAGMENT | family;
		bpf_map_update_elem(&translations, key, &service->record, BPF_ANY);
	}
	if (service->keeps_affinity) {
		service->affinity_record = (struct affinity){ .seen_ns = flow_clock() };
		service->affinity_record.low = service->to.remote_low;
		copy_high(service->affinity_record.high, service->to.remote_high);
		service->affinity_record.port = service->to.remote_port;
		bpf_map_update_elem(&affinities, &service->affinity, &service->affinity_record, BPF_ANY);
	}
	if (service->is_new) {
		set_other(&service->record, &service->from);
		service->to.protocol = protocol | SIDE_BACK | family;
		bpf_map_update_elem(&translations, &service->to, &service->record, BPF_ANY);
	}
	return 0;
}

/* After the packet was read. */
static __always_inline void take_translation(enum flow_direction direction, struct work *work)
{
	if (!translates_services)
		return;
	work->service.is_back = false;
	if (direction == FLOW_EGRESS && work->service.refused)
		refuse(&work->view, work->service.refused);
}

/*
 * A flow that is on record, as the packet in hand meets it. What the endpoint sends to the same back end by the
 * Service and without it cannot be told apart when it is answered: the last that was sent is taken for what is.
 * False: the record says the other, and is to be made anew.
 */
static __always_inline bool meet_flow(const struct flow *flow, enum flow_direction direction, struct work *work)
{
	if (!translates_services)
		return true;
	if (direction == FLOW_INGRESS) {
		work->service.from = work->view.key;
		work->service.is_back = flow->flags / FLOW_TRANSLATED & 1;
		work->service.is_guess = false;
		return true;
	}
	return work->view.kind != PACKET_OF_FLOW || (flow->flags / FLOW_TRANSLATED & 1) == work->service.is_translated;
}

/* There is none on record, and a translation may be one all the same. */
static __always_inline void meet_no_flow(enum flow_direction direction, struct work *work)
{
	if (!translates_services || direction != FLOW_INGRESS || work->view.kind != PACKET_OF_FLOW ||
	    (work->view.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return;
	work->service.from = work->view.key;
	work->service.is_back = true;
	work->service.is_guess = true;
}

static __always_inline __u8 flag_of_translation(enum flow_direction direction, const struct work *work)
{
	return translates_services && direction == FLOW_EGRESS && work->service.is_translated ? FLOW_TRANSLATED : 0;
}

/* False: it answers what was translated, and nobody knows from what. */
static __always_inline bool has_origin(struct work *work)
{
	struct service_work *service = &work->service;
	struct translation *back;

	if (!translates_services || !service->is_back)
		return true;
	service->is_ipv6 = work->view.is_ipv6;
	service->to = service->from;
	service->to.protocol = side_of(service->from.protocol, service->is_ipv6, SIDE_BACK);
	back = bpf_map_lookup_elem(&translations, &service->to);
	service->to.protocol = service->from.protocol;
	if (back) {
		set_remote(&service->to, back->low, back->high, back->port);
		return true;
	}
	service->is_back = false;
	return service->is_guess;
}
/* After policy let pass what the endpoint receives. */
__noinline int restore_ingress(struct __sk_buff *skb)
{
	struct work *work = work_in_hand();
	struct service_work *service;

	if (!work || !work->service.is_back)
		return 0;
	service = &work->service;
	if (work->view.kind == PACKET_RELATED) {
		restore_error(skb, service);
		return 0;
	}
	if (read_translatable(skb, true, work))
		rewrite_remote(skb, true, service, service->is_ipv6, &service->from, &service->to);
	return 0;
}
