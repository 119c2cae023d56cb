/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The workload's interface.
 *   bl_from_pod  tcx/clsact ingress of the host side of a veth pair: everything that a workload
 * sends. Does the whole job: parse, connection, service, egress and (for a local receiver) ingress
 * policy, delivery, also to other nodes. bl_to_pod    tcx/clsact egress of the same device: what the host's stack sends
 * in, from itself or from outside. bl_from_tunnel, bl_from_netdev  in nodes.h: from other nodes. bl_ct_sweep  run by the agent every few seconds: removes idle
 * connections, reports TCP connections that were answered. bl_l7_stop    run by the agent: a connection's payload is
 * wanted no more. Reads bl_endpoint bl_ipcache bl_node bl_policy bl_svc bl_slot bl_backend bl_state bl_sock bl_owner;
 * writes bl_ct bl_frag bl_affinity bl_metric bl_drop bl_l7_account; events to bl_flows, payload of chosen
 * connections to bl_l7. On any error the packet
 * is dropped with a reason that is counted and reported; nothing is let through because something
 * failed.
 */
#include "lib/common.h"
#include "lib/conntrack.h"
#include "lib/encap.h"
#include "lib/lb.h"
#include "lib/l7.h"
#include "lib/nat.h"
#include "lib/policy.h"
#include "abi/config.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct bl_config bl_config = {
	.timeout_s =
		{
#define X(name, number, timeout) [BL_CT_##name] = timeout,
			BL_CT_STATES(X)
#undef X
		},
};

/* Where a service connection goes, while its first packets are handled. */
struct translation {
	struct nat_end svc; /* what the client asked for */
	__u32 svc_id;	    /* 0: not a service */
	__u32 backend;
	bool hairpin;
};

/* To the end that `ifindex` (of bl_ct) says. */
static __always_inline int forward(struct __sk_buff *skb, const struct bl_packet *p, __u32 ifindex)
{
	if (!ifindex)
		return TC_ACT_OK;
	if (unlikely(ifindex & BL_END_REMOTE))
		return encap_send(skb, p, ifindex);
	/* Behind a bridge the frame was addressed to another station; the receiver's stack would
	 * ignore it. */
	if (unlikely(skb->pkt_type != 0 /* PACKET_HOST */))
		bpf_skb_change_type(skb, 0);
	return bpf_redirect_peer(ifindex, 0);
}

static __always_inline bool mac_matches(struct __sk_buff *skb, const __u8 *mac)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return false;
	return *(__u32 *)eth->h_source == *(const __u32 *)mac &&
	       *(__u16 *)(eth->h_source + 4) == *(const __u16 *)(mac + 4);
}

/* Does a workload send what is not its own? 0, or the reason to drop. */
static __always_inline int spoofed(struct __sk_buff *skb, const struct bl_packet *p)
{
	struct bl_endpoint *src = endpoint_lookup(&p->key.src);

	if (!src || src->ifindex != skb->ifindex)
		return BL_DROP_INVALID_SOURCE_IP;
	return mac_matches(skb, src->mac) ? 0 : BL_DROP_INVALID_SOURCE_MAC;
}

/* Is this the receiver's interface, and may the sender be where it is? 0, or the reason to drop. */
static __always_inline int misdirected(struct __sk_buff *skb, const struct bl_packet *p)
{
	struct bl_endpoint *dst = endpoint_lookup(&p->key.dst), *src;

	if (!dst || dst->ifindex != skb->ifindex)
		return BL_DROP_UNKNOWN_ENDPOINT;
	if (!skb->ingress_ifindex)
		return 0;
	/* From outside nobody may speak for a workload of this machine. */
	src = endpoint_lookup(&p->key.src);
	if (src ? src->flags & BL_EP_HOST || src->ifindex != skb->ingress_ifindex
		: encap_bypassed(&p->key.src))
		return BL_DROP_INVALID_SOURCE_IP;
	return 0;
}

/* Sent by the node itself, not forwarded by it. */
static __always_inline bool from_host(struct __sk_buff *skb, const struct bl_packet *p)
{
	return p->flags & PKT_TO_POD && !skb->ingress_ifindex;
}

/* What drop() is told: the reason, the direction of the check that refused, the end that sent. */
#define DROP_DIRECTION(direction) ((direction) << 8)
#define DROP_BY(dir) ((dir) << 16)

/* A function of its own: drop()'s stack is as large as the longest chain of its callers leaves it. */
static __noinline void drop_count(__u32 why, bool to_pod)
{
	bool ingress = to_pod || (why >> 8 & 0xff) == BL_DIR_INGRESS;

	count_drop((why & 0xff) | (ingress ? BL_DROP_INGRESS : 0));
}

/* Counts and reports a dropped packet. `ct` gives what is known of the ends, NULL if nothing is. */
BL_STEP int drop(struct __sk_buff *skb, const struct bl_packet *p, const struct bl_ct *ct,
		 __u32 why)
{
	__u32 reason = why & 0xff, by = why >> 16 & 1;
	struct bl_flow_event *event;
	struct bl_sock *record;
	struct bl_flow_key key;

	drop_count(why, p && p->flags & PKT_TO_POD);
	if (!p)
		return TC_ACT_SHOT;
	event = emit_reserve();
	if (!event)
		return TC_ACT_SHOT;
	flow_of_client(&p->key, by, &key);
	if (ct) {
		ct_event(event, ct, &key, BL_FLOW_dropped);
		event->opened_ns = 0;
	} else {
		__builtin_memset(event, 0, sizeof(*event));
		event->time_ns = bpf_ktime_get_ns();
		event->key = key;
		event->kind = BL_FLOW_dropped;
	}
	/* The counters are those of this one packet. */
	event->packets[0] = event->packets[1] = 0;
	event->bytes[0] = event->bytes[1] = 0;
	event->tcp_flags[0] = event->tcp_flags[1] = 0;
	record = sock_of(skb);
	if (by == CT_CLIENT) {
		if (record)
			event->process[CT_CLIENT] = record->process;
		else if (!ct)
			owner_of(skb, &event->process[CT_CLIENT]);
		event->packets[CT_CLIENT] = 1;
		event->bytes[CT_CLIENT] = p->bytes;
		event->tcp_flags[CT_CLIENT] = p->tcp_flags;
	} else {
		event->packets[CT_SERVER] = 1;
		event->bytes[CT_SERVER] = p->bytes;
		event->tcp_flags[CT_SERVER] = p->tcp_flags;
	}
	event->reason = reason;
	event->direction = why >> 8 & 0xff;
	event->ifindex = skb->ifindex;
	event->hook = p->flags & PKT_TO_POD ? BL_AT_TO_POD : BL_AT_FROM_POD;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
	emit_submit(event);
	return TC_ACT_SHOT;
}

/* Fills what is known of one end of `ct` from its address; returns the endpoint's flags. */
BL_STEP __u32 identify(struct bl_ct *ct, const union bl_addr *addr, int end)
{
	struct bl_endpoint *ep;
	__u32 i = end & 1;

	if (!ct || !addr)
		return 0;
	ep = endpoint_lookup(addr);
	if (!ep) {
		struct bl_ipcache *other = ipcache_lookup(addr);

		ct->identity[i] = other ? other->identity : BL_ID_world;
		ct->endpoint[i] = 0;
		ct->ifindex[i] = other && other->flags & BL_IPC_NODE ? 0 : encap_end(other);
		return 0;
	}
	ct->identity[i] = ep->identity;
	ct->endpoint[i] = ep->id;
	ct->ifindex[i] = ep->ifindex;
	__builtin_memcpy(ct->mac[i], ep->mac, 6);
	return ep->flags;
}

/*
 * Judges the connection of `ct` whose client sends `key`. Fills identities, interfaces and rules.
 * 0, or reason | direction << 8.
 */
BL_STEP int judge(struct bl_ct *ct, const struct bl_flow_key *key)
{
	__u32 client, server, rule = BL_FLOW_NO_RULE;
	__be16 port;
	int reason;

	if (!ct || !key)
		return BL_DROP_POLICY_DENIED;
	port = proto_has_ports(key->proto) ? key->dport : 0;
	client = identify(ct, &key->src, CT_CLIENT);
	server = identify(ct, &key->dst, CT_SERVER);
	ct->rule[BL_DIR_EGRESS] = ct->rule[BL_DIR_INGRESS] = BL_FLOW_NO_RULE;
	if (ct->flags & BL_CT_FROM_HOST)
		ct->identity[CT_CLIENT] = BL_ID_host;
	l7_choose(ct, key, client | server);
	if (addr_equal(&key->src, &key->dst))
		return 0;
	if (client & BL_EP_EGRESS && !(ct->flags & BL_CT_FROM_HOST)) {
		reason = policy_check(ct->identity[CT_CLIENT], ct->identity[CT_SERVER],
				      BL_DIR_EGRESS << 8 | key->proto, port, &rule);
		ct->rule[BL_DIR_EGRESS] = rule;
		if (reason)
			return reason | DROP_DIRECTION(BL_DIR_EGRESS);
	}
	if (server & BL_EP_INGRESS && !(client & BL_EP_HOST) && !(ct->flags & BL_CT_FROM_HOST)) {
		reason = policy_check(ct->identity[CT_SERVER], ct->identity[CT_CLIENT],
				      BL_DIR_INGRESS << 8 | key->proto, port, &rule);
		ct->rule[BL_DIR_INGRESS] = rule;
		if (reason)
			return reason | DROP_DIRECTION(BL_DIR_INGRESS);
	}
	return 0;
}

/*
 * An established connection met a newer epoch (or was revoked): judge it again. 0, or reason | direction << 8.
 * An end that was reached through the host's stack stays so: its addresses may be translated there. So does another node
 * itself that came through the tunnel.
 */
BL_STEP int judge_again(struct __sk_buff *skb, struct bl_ct *ct, const struct bl_packet *p, int dir,
			__u32 epoch)
{
	struct bl_flow_event *event;
	struct bl_flow_key key;
	__u32 client;
	int verdict;

	if (!ct || !p)
		return BL_DROP_POLICY_DENIED;
	if (ct->flags & BL_CT_HAIRPIN) {
		ct->epoch = epoch;
		return 0;
	}
	client = ct->ifindex[CT_CLIENT];
	flow_of_client(&p->key, dir, &key);
	verdict = judge(ct, &key);
	if (!client && dir == CT_SERVER)
		ct->ifindex[CT_CLIENT] = 0;
	else if (client & BL_END_REMOTE && !ct->ifindex[CT_CLIENT])
		ct->ifindex[CT_CLIENT] = encap_sender(&key.src);
	ct->epoch = epoch;
	if (!verdict) {
		ct->flags &= ~BL_CT_REVOKED;
		return 0;
	}
	if (ct->flags & BL_CT_REVOKED)
		return verdict;
	ct->flags |= BL_CT_REVOKED;
	event = emit_reserve();
	if (event) {
		ct_event(event, ct, &key, BL_FLOW_revoked);
		event->reason = verdict & 0xff;
		event->direction = verdict >> 8 & 0xff;
		event->hook = p->flags & PKT_TO_POD ? BL_AT_TO_POD : BL_AT_FROM_POD;
		event->ifindex = skb->ifindex;
		emit_submit(event);
	}
	return verdict;
}

/* Hands the packet to the host's firewall, which answers with a TCP reset or an ICMP unreachable. */
BL_STEP int refuse(struct __sk_buff *skb, const struct bl_packet *p)
{
	count(BL_METRIC_svc_no_backend);
	drop(skb, p, NULL, BL_DROP_SERVICE_BACKEND_NOT_FOUND);
	skb->mark = BL_MARK_REFUSE;
	return TC_ACT_OK;
}

/* The client -> service entry of a new service connection: which backend it has. */
static __always_inline int remember_backend(const struct bl_packet *p, const struct translation *t,
					    const struct bl_backend *backend)
{
	struct bl_ct *ct = ct_new();

	if (!ct)
		return BL_DROP_CT_MAP_INSERTION_FAILED;
	ct->flags = BL_CT_FRONTEND;
	ct->svc_addr = backend->addr;
	ct->svc_port = backend->port;
	ct->svc_id = t->svc_id;
	ct->backend = t->backend;
	ct->state = ct_first_state(p->key.proto);
	ct->seen_ns = clock_tick_ns();
	count(BL_METRIC_svc_translated_packet);
	return ct_insert(&p->key, BPF_ANY);
}

/*
 * Finds the backend of a packet to a service address and rewrites the packet. `front` is the entry that
 * client -> service already has, or NULL.
 * 0 (t->svc_id tells whether it was a service), a drop reason, or -1: refuse.
 */
BL_STEP int translate(struct __sk_buff *skb, struct bl_packet *p, struct bl_ct *front,
		      struct translation *t)
{
	struct bl_backend *backend = NULL;
	struct nat_end to;
	struct bl_svc *svc;
	int reason;

	if (!p || !t)
		return -1;
	t->svc_id = 0;
	if (!proto_has_ports(p->key.proto))
		return 0;
	svc = lb_service(&p->key.dst, p->key.dport, p->key.proto);
	if (svc && svc->flags & BL_SVC_MOVED) {
		struct bl_sock *record = sock_of(skb);

		if (!record || record->svc_id != svc->id)
			svc = NULL;
	}
	if (!svc && !front)
		return 0;
	t->svc.addr = p->key.dst;
	t->svc.port = p->key.dport;
	if (front) {
		t->backend = front->backend;
		t->svc_id = front->svc_id;
		backend = lb_backend(t->backend);
		/* A TCP connection cannot change its backend. */
		if (!backend && p->key.proto == IPPROTO_TCP &&
		    (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			return -1;
		front->seen_ns = clock_tick_ns();
	}
	if (!backend) {
		if (!svc)
			return -1;
		t->backend = lb_select(svc, &p->key.src);
		backend = lb_backend(t->backend);
		if (!backend)
			return -1;
		t->svc_id = svc->id;
		reason = remember_backend(p, t, backend);
		if (reason)
			return reason;
	}
	t->hairpin = addr_equal(&backend->addr, &p->key.src);
	to.addr = backend->addr;
	to.port = backend->port;
	reason = nat_rewrite(skb, p, &to, NAT_DESTINATION);
	if (!reason && t->hairpin) {
		/* The workload would take a packet from its own address for a stray one. */
		const volatile union bl_addr *gateway =
			p->flags & PKT_V4 ? &bl_config.gateway4 : &bl_config.gateway6;

		to.addr.half[0] = gateway->half[0];
		to.addr.half[1] = gateway->half[1];
		to.port = p->key.sport;
		reason = nat_rewrite(skb, p, &to, NAT_SOURCE);
	}
	return reason;
}

/* What an answer of a translated connection gets back. */
struct answer {
	struct nat_end svc;
	__u32 hairpin;
};

static __always_inline void translation_of(const struct bl_ct *ct, struct answer *back)
{
	back->svc.addr = ct->svc_addr;
	back->svc.port = ct->svc_port;
	back->hairpin = ct->flags & BL_CT_HAIRPIN;
}

/* Puts the service's address back as the source of an answer. */
BL_STEP int translate_answer(struct __sk_buff *skb, struct bl_packet *p, const struct answer *back)
{
	struct nat_end to = {};
	union bl_addr own;
	int reason;

	if (!p || !back)
		return BL_DROP_ERROR_WRITING_TO_PACKET;
	to = back->svc;
	own = p->key.src;
	reason = nat_rewrite(skb, p, &to, NAT_SOURCE);
	if (!reason && back->hairpin) {
		to.addr = own;
		to.port = p->key.dport;
		reason = nat_rewrite(skb, p, &to, NAT_DESTINATION);
	}
	return reason;
}

/* An ICMP error in the names that its receiver knows. */
struct renaming {
	struct nat_end quoted_src;
	struct nat_end quoted_dst;
	union bl_addr src;
	union bl_addr dst;
};

BL_STEP int rename_error(struct __sk_buff *skb, struct bl_packet *p, struct bl_packet *inner,
			 const struct renaming *to)
{
	struct nat_end end = {};
	int reason;

	if (!p || !inner || !to)
		return BL_DROP_ERROR_WRITING_TO_PACKET;
	reason = nat_rewrite_quoted(skb, p, inner, &to->quoted_src, NAT_SOURCE);
	if (!reason)
		reason = nat_rewrite_quoted(skb, p, inner, &to->quoted_dst, NAT_DESTINATION);
	if (!reason && !addr_equal(&p->key.src, &to->src)) {
		end.addr = to->src;
		reason = nat_rewrite(skb, p, &end, NAT_SOURCE);
	}
	if (!reason && !addr_equal(&p->key.dst, &to->dst)) {
		end.addr = to->dst;
		reason = nat_rewrite(skb, p, &end, NAT_DESTINATION);
	}
	return reason;
}

/*
 * A client's error about an answer quotes the service's address, by which it knows its server (`front`).
 * Renames it to the backend's and finds the connection. 0, or the reason to drop.
 */
static __noinline int error_about_answer(const struct bl_packet *p, const struct bl_packet *inner,
					 const struct bl_ct *front, struct renaming *to,
					 struct bl_ct **ct)
{
	struct bl_flow_key key = inner->key;
	int dir = CT_CLIENT;

	key.src = front->svc_addr;
	key.sport = front->svc_port;
	if (addr_equal(&key.src,
		       &p->key.src)) { /* a hairpin: the backend knows the client by another name */
		const volatile union bl_addr *gateway =
			p->flags & PKT_V4 ? &bl_config.gateway4 : &bl_config.gateway6;

		key.dst.half[0] = gateway->half[0];
		key.dst.half[1] = gateway->half[1];
		to->src = key.dst;
	}
	*ct = ct_lookup(&key, &dir);
	if (!*ct || dir != CT_SERVER || !((*ct)->flags & BL_CT_NAT) ||
	    (*ct)->svc_port != inner->key.sport || !addr_equal(&(*ct)->svc_addr, &inner->key.src))
		return BL_DROP_UNRELATED_ICMP;
	to->quoted_src.addr = to->dst = key.src;
	to->quoted_src.port = key.sport;
	to->quoted_dst.addr = key.dst;
	return 0;
}

/* A backend's (or router's) error about a packet of the client, which knows its server by the service's address. */
static __always_inline void error_about_request(const struct bl_packet *p, const struct bl_ct *ct,
						struct renaming *to)
{
	to->quoted_dst.addr = ct->svc_addr;
	to->quoted_dst.port = ct->svc_port;
	if (ct->flags & BL_CT_HAIRPIN) {
		to->quoted_src.addr = p->key.src;
		to->src = p->key.dst;
		to->dst = p->key.src;
	}
}

/*
 * An ICMP error passes when the packet it quotes belongs to a known connection that its receiver takes part in;
 * from a workload, when that is the other end. It goes where the quoted packet came from.
 */
BL_STEP int related(struct __sk_buff *skb, struct bl_packet *p)
{
	struct renaming to = {};
	struct bl_packet inner;
	__u32 ifindex, sender;
	struct bl_ct *ct;
	int dir = CT_CLIENT, reason;
	bool from_pod;

	if (!p)
		return TC_ACT_SHOT;
	from_pod = !(p->flags & PKT_TO_POD);
	reason = from_pod		    ? spoofed(skb, p)
		 : p->flags & PKT_FROM_NODE ? encap_arrived(skb, p)
					    : misdirected(skb, p);
	if (reason < 0)
		return TC_ACT_OK;
	if (reason)
		return drop(skb, p, NULL, reason);
	reason = parse_quoted(skb, p->inner_off, p->flags & PKT_V4, &inner);
	if (reason)
		return drop(skb, p, NULL, reason);
	ct = ct_lookup(&inner.key, &dir);
	if (!addr_equal(&p->key.dst, &inner.key.src))
		return drop(skb, p, NULL, BL_DROP_UNRELATED_ICMP);
	/* A service without backends was refused by the host's firewall: that packet became no connection. */
	if (from_host(skb, p) && (!ct || ct->flags & BL_CT_FRONTEND))
		return TC_ACT_OK;
	if (!ct)
		return drop(skb, p, NULL, BL_DROP_UNRELATED_ICMP);
	to.quoted_src.addr = inner.key.src;
	to.quoted_src.port = inner.key.sport;
	to.quoted_dst.addr = inner.key.dst;
	to.quoted_dst.port = inner.key.dport;
	to.src = p->key.src;
	to.dst = p->key.dst;
	if (ct->flags & BL_CT_FRONTEND) {
		if (!from_pod || dir != CT_SERVER || error_about_answer(p, &inner, ct, &to, &ct))
			return drop(skb, p, NULL, BL_DROP_UNRELATED_ICMP);
	} else if (ct->flags & BL_CT_NAT && dir == CT_CLIENT) {
		error_about_request(p, ct, &to);
	}
	if (ct->flags & BL_CT_REVOKED)
		return drop(skb, p, NULL, BL_DROP_UNRELATED_ICMP);
	ifindex = dir == CT_CLIENT ? ct->ifindex[CT_CLIENT] : ct->ifindex[CT_SERVER];
	sender = dir == CT_CLIENT ? ct->ifindex[CT_SERVER] : ct->ifindex[CT_CLIENT];
	if (p->flags & PKT_FROM_NODE ? !ifindex || ifindex & BL_END_REMOTE
				     : (from_pod ? sender : ifindex) != skb->ifindex)
		return drop(skb, p, NULL, BL_DROP_UNRELATED_ICMP);
	if (ct->flags & BL_CT_NAT) {
		reason = rename_error(skb, p, &inner, &to);
		if (reason)
			return drop(skb, p, NULL, reason);
	}
	return from_pod || p->flags & PKT_FROM_NODE ? forward(skb, p, ifindex) : TC_ACT_OK;
}

/* A connection that is not known yet. 0: it may pass, is stored and reported (ct_made() has it); else
 * the packet was dropped. */
BL_STEP int open_connection(struct __sk_buff *skb, const struct bl_packet *p,
			    const struct translation *t, bool from_pod)
{
	struct bl_sock *record;
	__u32 epoch =
		ct_epoch(); /* before anything is looked up: what changes meanwhile is judged again */
	struct bl_ct *ct;
	int verdict = 0;

	if (!p || !t)
		return TC_ACT_SHOT;
	ct = ct_new();
	if (!ct)
		return drop(skb, p, NULL, BL_DROP_CT_MAP_INSERTION_FAILED);
	if (from_host(skb, p))
		ct->flags |= BL_CT_FROM_HOST;
	record = sock_of(skb);
	if (record) {
		ct->process[CT_CLIENT] = record->process;
		ct->svc_addr = record->svc_addr;
		ct->svc_port = record->svc_port;
		ct->svc_id = record->svc_id;
		ct->backend = record->backend;
	} else {
		owner_of(skb, &ct->process[CT_CLIENT]);
	}
	if (t->svc_id) {
		ct->flags |= BL_CT_NAT;
		ct->svc_addr = t->svc.addr;
		ct->svc_port = t->svc.port;
		ct->svc_id = t->svc_id;
		ct->backend = t->backend;
	}
	if (t->hairpin) {
		ct->flags |= BL_CT_HAIRPIN;
		identify(ct, &p->key.dst, CT_CLIENT);
		l7_choose(ct, &p->key, identify(ct, &p->key.dst, CT_SERVER));
	} else {
		verdict = judge(ct, &p->key);
	}
	if (verdict)
		return drop(skb, p, ct, verdict);
	if (!(p->flags & PKT_FROM_NODE)) {
		if (!from_pod)
			ct->ifindex[CT_CLIENT] = 0;
	} else if (!ct->ifindex[CT_CLIENT]) {
		ct->ifindex[CT_CLIENT] = encap_sender(&p->key.src);
	}
	if (ct_stray(skb, p))
		return 0;
	ct->epoch = epoch;
	ct->state = ct_first_state(p->key.proto);
	ct->opened_ns = bpf_ktime_get_ns();
	ct->seen_ns = clock_tick_ns();
	ct->packets[CT_CLIENT] = 1;
	ct->bytes[CT_CLIENT] = p->bytes;
	ct->tcp_flags[CT_CLIENT] = p->tcp_flags;
	if (unlikely(ct->flags & BL_CT_L7)) {
		if (p->key.proto != IPPROTO_TCP || p->tcp_flags & TCP_SYN)
			ct->l7 = BL_CT_L7_FIRST;
		l7_capture(skb, ct, p, CT_CLIENT);
	}
	verdict = ct_insert(&p->key, BPF_ANY);
	if (verdict)
		return drop(skb, p, ct, verdict);
	ct_report(skb, ct, p, BL_FLOW_opened << 1 | CT_CLIENT);
	return 0;
}

/* Do the same two ends already talk by another name? Their answers could not be told apart. */
static __always_inline bool collides(const struct bl_ct *ct, const struct translation *t)
{
	if (!t->svc_id)
		return ct->flags & BL_CT_NAT;
	return !(ct->flags & BL_CT_NAT) || ct->svc_port != t->svc.port ||
	       !addr_equal(&ct->svc_addr, &t->svc.addr);
}

/* Everything that is not a plain packet of a known, settled connection. */
BL_STEP int from_pod_slow(struct __sk_buff *skb, struct bl_packet *p)
{
	struct bl_ct *ct, *front = NULL;
	struct translation t = {};
	int dir = CT_CLIENT, verdict;
	__u32 epoch = ct_epoch(), in, out;
	bool known = false, answer;
	struct answer back;

	if (!p)
		return TC_ACT_SHOT;
	verdict = spoofed(skb, p);
	if (verdict)
		return drop(skb, p, NULL, verdict);
	ct = p->flags & PKT_NEW ? NULL : ct_lookup(&p->key, &dir);
	if (ct ? dir == CT_CLIENT && (ct->flags & BL_CT_FRONTEND || ct->epoch != epoch)
	       : !(p->key.proto == IPPROTO_TCP && owner_known(skb))) {
		if (ct && ct->flags & BL_CT_FRONTEND)
			front = ct;
		verdict = translate(skb, p, front, &t);
		if (verdict < 0)
			return refuse(skb, p);
		if (verdict)
			return drop(skb, p, NULL, verdict);
		if (t.svc_id)
			ct = ct_lookup(&p->key, &dir);
	}
	if (ct && ct->flags & BL_CT_FRONTEND)
		return drop(skb, p, NULL, BL_DROP_SERVICE_TUPLE);
	if (ct && dir == CT_CLIENT && collides(ct, &t)) {
		if (ct->state != BL_CT_closing)
			return drop(skb, p, ct, BL_DROP_SERVICE_TUPLE);
		ct = NULL;
	}
	if (!ct || ct_reopens(ct, p)) {
		if (open_connection(skb, p, &t, true))
			return TC_ACT_SHOT;
		ct = ct_made();
		dir = CT_CLIENT;
		if (!ct)
			return TC_ACT_SHOT;
	} else {
		in = dir == CT_CLIENT ? ct->ifindex[CT_CLIENT] : ct->ifindex[CT_SERVER];
		if (ct->epoch != epoch || in != skb->ifindex || ct->flags & BL_CT_REVOKED) {
			verdict = judge_again(skb, ct, p, dir, epoch);
			if (verdict)
				return drop(skb, p, ct, verdict | DROP_BY(dir));
		}
		known = true;
	}
	out = dir == CT_CLIENT ? ct->ifindex[CT_SERVER] : ct->ifindex[CT_CLIENT];
	answer = dir == CT_SERVER && ct->flags & BL_CT_NAT;
	if (answer)
		translation_of(ct, &back);
	if (known) {
		if (unlikely(ct->flags & BL_CT_L7))
			l7_capture(skb, ct, p, dir);
		ct_accept(skb, ct, p, dir);
		if (front)
			front->state = ct->state;
	}
	if (answer) {
		verdict = translate_answer(skb, p, &back);
		if (verdict)
			return drop(skb, p, NULL, verdict);
	}
	return forward(skb, p, out);
}

/* Known, judged in this epoch, untranslated: nothing is left but counting and delivery. */
static __always_inline bool settled(const struct bl_ct *ct, const struct bl_packet *p)
{
	return ct->epoch == ct_epoch() &&
	       !(ct->flags & (BL_CT_FRONTEND | BL_CT_NAT | BL_CT_REVOKED)) && !ct_reopens(ct, p);
}

SEC("tcx/ingress")
int bl_from_pod(struct __sk_buff *skb)
{
	struct bl_packet p;
	int dir = CT_CLIENT, reason = parse_packet(skb, &p);
	struct bl_ct *ct;

	if (unlikely(reason == PARSE_LINK))
		return TC_ACT_OK;
	if (unlikely(reason))
		return drop(skb, &p, NULL, reason);
	if (unlikely(p.flags & PKT_ICMP_ERROR))
		return related(skb, &p);
	ct = ct_lookup(&p.key, &dir);
	if (!ct)
		p.flags |= PKT_NEW;
	else if (likely(settled(ct, &p))) {
		__u32 in, out;
		const __u8 *mac;

		if (dir == CT_CLIENT) {
			in = ct->ifindex[CT_CLIENT];
			out = ct->ifindex[CT_SERVER];
			mac = ct->mac[CT_CLIENT];
		} else {
			in = ct->ifindex[CT_SERVER];
			out = ct->ifindex[CT_CLIENT];
			mac = ct->mac[CT_SERVER];
		}
		if (likely(in == skb->ifindex && mac_matches(skb, mac))) {
			if (unlikely(ct->flags & BL_CT_L7))
				l7_capture(skb, ct, &p, dir);
			ct_accept(skb, ct, &p, dir);
			return forward(skb, &p, out);
		}
	}
	return from_pod_slow(skb, &p);
}

BL_STEP int to_pod_slow(struct __sk_buff *skb, struct bl_packet *p)
{
	struct translation none = {};
	struct answer back;
	struct bl_ct *ct;
	__u32 epoch = ct_epoch();
	int dir = CT_CLIENT, verdict;
	bool answer;

	if (!p)
		return TC_ACT_SHOT;
	verdict = misdirected(skb, p);
	if (verdict)
		return drop(skb, p, NULL, verdict);
	ct = p->flags & PKT_NEW ? NULL : ct_lookup(&p->key, &dir);
	if (ct && ct->flags & BL_CT_FRONTEND) {
		/* The host's firewall resets a connection whose backend is gone. */
		if (from_host(skb, p) && dir == CT_SERVER && p->tcp_flags & TCP_RST) {
			ct->state = BL_CT_closing;
			return TC_ACT_OK;
		}
		return drop(skb, p, NULL, BL_DROP_SERVICE_TUPLE);
	}
	if (!ct || ct_reopens(ct, p))
		return open_connection(skb, p, &none, false) ? TC_ACT_SHOT : TC_ACT_OK;
	if (ct->epoch != epoch || ct->flags & BL_CT_REVOKED) {
		verdict = judge_again(skb, ct, p, dir, epoch);
		if (verdict)
			return drop(skb, p, ct, verdict | DROP_BY(dir));
		if (dir == CT_CLIENT)
			ct->ifindex[CT_CLIENT] = 0;
	}
	answer = dir == CT_SERVER && ct->flags & BL_CT_NAT;
	if (answer)
		translation_of(ct, &back);
	if (unlikely(ct->flags & BL_CT_L7))
		l7_capture(skb, ct, p, dir);
	ct_accept(skb, ct, p, dir);
	if (answer) {
		verdict = translate_answer(skb, p, &back);
		if (verdict)
			return drop(skb, p, NULL, verdict);
	}
	return TC_ACT_OK;
}

SEC("tcx/egress")
int bl_to_pod(struct __sk_buff *skb)
{
	struct bl_packet p;
	int dir = CT_CLIENT, reason = parse_packet(skb, &p);
	struct bl_ct *ct;

	p.flags |= PKT_TO_POD;
	if (unlikely(reason == PARSE_LINK))
		return TC_ACT_OK;
	if (unlikely(reason))
		return drop(skb, &p, NULL, reason);
	if (unlikely(p.flags & PKT_ICMP_ERROR))
		return related(skb, &p);
	ct = ct_lookup(&p.key, &dir);
	if (!ct)
		p.flags |= PKT_NEW;
	else if (likely(settled(ct, &p))) {
		__u32 from, to;

		if (dir == CT_CLIENT) {
			from = ct->ifindex[CT_CLIENT];
			to = ct->ifindex[CT_SERVER];
		} else {
			from = ct->ifindex[CT_SERVER];
			to = ct->ifindex[CT_CLIENT];
		}
		if (likely(!from && to == skb->ifindex)) {
			if (unlikely(ct->flags & BL_CT_L7))
				l7_capture(skb, ct, &p, dir);
			ct_accept(skb, ct, &p, dir);
			return TC_ACT_OK;
		}
	}
	return to_pod_slow(skb, &p);
}

#include "datapath/nodes.h"

static __noinline void sweep_report(const struct bl_flow_key *key, const struct bl_ct *ct,
				    __u32 kind)
{
	struct bl_flow_event *event = emit_reserve();
	struct bl_flow_key client;

	if (!event)
		return;
	ct_client_key(key, ct, &client);
	ct_event(event, ct, &client, kind);
	event->hook = BL_AT_SWEEP;
	emit_submit(event);
}

static long sweep_entry(struct bpf_map *map, struct bl_flow_key *key, struct bl_ct *ct,
			struct bl_sweep *sweep)
{
	__u32 state = ct->state, timeout;

	sweep->seen++;
	if (state >= BL_CT_STATE_MAX)
		return 0;
	timeout = bl_config.timeout_s[state];
	if (sweep->pressure) {
		if (state == BL_CT_closing)
			timeout = 0;
		else if (state != BL_CT_established && timeout > 5)
			timeout = 5;
	}
	if (ct->flags & BL_CT_REPLIED && !ct->told) {
		ct->told = 1;
		sweep_report(key, ct, BL_FLOW_replied);
	}
	if (sweep->now_ns < ct->seen_ns || sweep->now_ns - ct->seen_ns < timeout * 1000000000ULL)
		return 0;
	if (!(ct->flags & BL_CT_FRONTEND))
		sweep_report(key, ct, BL_FLOW_closed);
	bpf_map_delete_elem(&bl_ct, key);
	sweep->removed++;
	count(BL_METRIC_ct_expired);
	return 0;
}

SEC("syscall")
int bl_ct_sweep(struct bl_sweep *sweep)
{
	struct bl_sweep local = *sweep;

	local.now_ns = clock_tick_ns();
	bpf_for_each_map_elem(&bl_ct, sweep_entry, &local, 0);
	sweep->seen = local.seen;
	sweep->removed = local.removed;
	return 0;
}

SEC("syscall")
int bl_l7_stop(struct bl_l7_stop *stop)
{
	struct bl_flow_key flow = stop->key, key;
	struct bl_ct *ct;

	ct_key(&flow, &key);
	ct = bpf_map_lookup_elem(&bl_ct, &key);
	if (!ct || ct->opened_ns != stop->opened_ns)
		return 0;
	/* A packet at the same moment may undo it: then more payload comes, and the agent says it again. */
	ct->l7 |= BL_CT_L7_STOP;
	stop->found = 1;
	return 0;
}
