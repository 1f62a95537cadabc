/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which back end a Service's packet is given. */
#pragma once

#include "policy-rewrite.h"

static __always_inline bool open_services(struct table_view *view)
{
	__u32 zero = 0;

	view->lines = bpf_map_lookup_elem(&services, &zero);
	return view->lines;
}

static __always_inline const struct service_backend *backend_at(const struct table_view *table,
								const struct service_port *port, __u32 index)
{
	const struct service_backend *backends = line_at(table, port->backends + index / SERVICE_BACKENDS);

	return backends ? backends + (index & (SERVICE_BACKENDS - 1)) : NULL;
}

static __always_inline void take_backend(const struct service_backend *backend, bool is_ipv6, struct flow_key *key)
{
	key->remote_low = bpf_htonl(backend->low);
	key->remote_port = bpf_htons(backend->port);
	if (!is_ipv6)
		return;
	key->remote_high[0] = bpf_htonl(backend->high >> 32);
	key->remote_high[1] = bpf_htonl(backend->high);
	key->remote_high[2] = bpf_htonl(backend->low >> 32);
}

/* Line of the port of the Service that `service.from` is about; 0: there is none. */
static __always_inline __u32 find_service(const struct table_view *table, const struct service_directory *directory,
					  struct work *work)
{
	const struct flow_key *from = &work->service.from;
	__u32 place = (__u32)bpf_ntohs(from->remote_port) << 16 | (from->protocol & 0xff);
	__u64 high = work->high, low = work->low;
	__u32 line = directory->entries +
		     (policy_hash_address(directory->hash_seed, high, low, place) & directory->entry_mask);

#pragma clang loop unroll(disable)
	for (int lines = 0; lines < POLICY_BUCKET_LINES; lines++) {
		const struct service_bucket *bucket = line_at(table, line);

		if (!bucket)
			return 0;
#pragma unroll
		for (int way = 0; way < SERVICE_WAYS; way++) {
			const struct service_entry *entry = &bucket->entries[way];

			if (entry->service &&
			    !((entry->high ^ high) | (entry->low ^ low) | (entry->place ^ place)))
				return entry->service;
		}
		line = bucket->next;
		if (!line)
			return 0;
	}
	return 0;
}

static __always_inline const struct service_port *open_service(struct table_view *table, const struct work *work)
{
	return open_services(table) ? line_at(table, work->service.line) : NULL;
}

/*
 * Whether `service.to` is a back end still. They are ascending, and fewer than 65,536. Global, as all that follows,
 * so that the verifier goes through each once.
 */
__noinline int has_backend(void)
{
	struct work *work = work_in_hand();
	const struct service_port *port;
	struct table_view opened, *table = &opened;
	__u32 first = 0, behind, wanted;

	if (!work)
		return false;
	port = open_service(table, work);
	if (!port)
		return false;
	behind = port->backend_count;
	wanted = bpf_ntohs(work->service.to.remote_port);
	remote_words_of(&work->service.to, work->view.is_ipv6, &work->high, &work->low);
#pragma clang loop unroll(disable)
	for (int steps = 0; steps < 17; steps++) {
		__u32 middle = (first + behind) / 2;
		const struct service_backend *backend;

		if (first >= behind)
			return false;
		backend = backend_at(table, port, middle);
		if (!backend)
			return false;
		if (!((backend->high ^ work->high) | (backend->low ^ work->low) | (backend->port ^ wanted)))
			return true;
		if (backend->high < work->high ||
		    (backend->high == work->high &&
		     (backend->low < work->low || (backend->low == work->low && backend->port < wanted))))
			first = middle + 1;
		else
			behind = middle;
	}
	return false;
}

/* Whether another flow of the endpoint stands where one to `service.to` would: its answers would be taken for its own. */
__noinline int is_taken(void)
{
	struct work *work = work_in_hand();
	__u64 now_ns = flow_clock();
	struct translation *back;
	struct flow *flow;
	bool is_ours;

	if (!work)
		return false;
	flow = find_flow(&work->service.to, work->view.is_ipv6);
	if (!flow || flow->state == FLOW_CLOSING || !is_live(flow, work->service.to.protocol, now_ns))
		return false;
	if (!(flow->flags & FLOW_TRANSLATED))
		return flow->opened == FLOW_INGRESS || work->service.to.protocol == IPPROTO_TCP;
	work->service.to.protocol = side_of(work->view.key.protocol, work->view.is_ipv6, SIDE_BACK);
	back = bpf_map_lookup_elem(&translations, &work->service.to);
	is_ours = back && is_same_remote(&work->service.from, back);
	work->service.to.protocol = work->view.key.protocol;
	return back && !is_ours;
}

static __always_inline bool is_itself(const struct flow_key *key)
{
	return !((key->remote_low ^ key->local_low) | (key->remote_high[0] ^ key->local_high[0]) |
		 (key->remote_high[1] ^ key->local_high[1]) | (key->remote_high[2] ^ key->local_high[2]));
}

static __always_inline void name_affinity(const struct service_port *port, struct work *work)
{
	work->service.affinity = (struct affinity_key){ .service = port->id, .ifindex = work->view.key.ifindex };
}

static __always_inline bool follow_affinity(const struct service_port *port, struct work *work, __u64 now_ns)
{
	struct affinity *known;

	work->service.keeps_affinity = port->affinity_seconds != 0;
	if (!port->affinity_seconds)
		return false;
	name_affinity(port, work);
	known = bpf_map_lookup_elem(&affinities, &work->service.affinity);
	if (!known || now_ns - known->seen_ns >= port->affinity_seconds * SECOND_NS)
		return false;
	set_remote(&work->service.to, known->low, known->high, known->port);
	return has_backend() && !is_itself(&work->service.to) && !is_taken();
}

/*
 * The same for one pair of ports and addresses while the back ends are the same, so that a record that is lost
 * costs nothing.
 */
static __always_inline __u32 first_choice(const struct service_port *port, const struct flow_key *from)
{
	__u32 seed = (__u32)port->id;
	__u32 hash = policy_mix(policy_product(seed, from->local_low, POLICY_KEY1, from->remote_low, POLICY_KEY2) +
				policy_product(seed, (__u32)from->local_port << 16 | from->remote_port, POLICY_KEY3,
					       from->local_high[2], POLICY_KEY4));

	return (__u64)hash * port->backend_count >> 32;
}

/* So many back ends are tried, where others are the endpoint itself, or taken. */
#define BACKEND_TRIES 8

__noinline int choose_backend(void)
{
	struct work *work = work_in_hand();
	const struct service_port *port;
	struct service_work *service;
	struct table_view table;
	__u32 index;

	if (!work)
		return 0;
	service = &work->service;
	service->refused = REASON_NO_BACKEND;
	port = open_service(&table, work);
	if (!port)
		return 0;
	index = first_choice(port, &service->from);
#pragma clang loop unroll(disable)
	for (__u32 tries = 0; tries < BACKEND_TRIES; tries++) {
		const struct service_backend *backend;

		if (tries >= port->backend_count)
			return 0;
		backend = backend_at(&table, port, index);
		if (!backend)
			return 0;
		index = index + 1 < port->backend_count ? index + 1 : 0;
		take_backend(backend, work->view.is_ipv6, &service->to);
		forget();
		if (is_itself(&service->to)) {
			service->refused = REASON_SERVICE_IS_ITSELF;
			continue;
		}
		if (is_taken()) {
			service->refused = REASON_SERVICE_PORT_TAKEN;
			continue;
		}
		service->refused = 0;
		return 0;
	}
	return 0;
}

/*
 * Sets the back end of what `service.from` begins, or why there is none. Global, as ask_table_in_force(). Returns
 * whether it is a Service's, and the endpoint one whose sending is restricted.
 */
__noinline int ask_services(__u32 ifindex)
{
	struct work *work = work_in_hand();
	struct table_view table, in_force;
	const struct service_directory *directory;
	const struct service_port *port;
	struct service_work *service;
	__u64 now_ns = flow_clock();
	__u32 line = 0;

	if (!work || !open_services(&table))
		return 0;
	service = &work->service;
	directory = line_at(&table, 0);
	if (!directory)
		return 0;
	remote_words_of(&service->from, work->view.is_ipv6, &work->high, &work->low);
	line = find_service(&table, directory, work);
	if (!line)
		return 0;
	service->line = line;
	port = line_at(&table, line);
	if (!port || !open_table(&in_force))
		return 0;
	work->opened = FLOW_EGRESS;
	find_endpoint(&in_force, ifindex, work);
	forget();
	if (!work->is_known || !work->tables[0])
		return 0;
	service->serial = directory->serial;
	service->is_new = true;
	if (service->is_known && has_backend())
		return 1;
	forget();
	if (follow_affinity(port, work, now_ns))
		return 1;
	forget();
	choose_backend();
	if (work->view.key.protocol == NEXT_SCTP && service->to.remote_port != service->from.remote_port)
		service->refused = REASON_SERVICE_SCTP_PORT;
	return 1;
}
