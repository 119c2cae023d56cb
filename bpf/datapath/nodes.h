/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What other nodes send to workloads here, where it comes in: part of pod.bpf.c, whose steps it shares.
 *   bl_from_tunnel  tcx/clsact ingress of the VXLAN device: everything. Nothing passes whose outer source is not the node of
 *                   its inner source.
 *   bl_from_netdev  tcx/clsact ingress of the device towards nodes that are reached without a tunnel: what workloads there
 *                   send; all else is the host's stack's.
 * Both judge as bl_to_pod does and deliver straight into the workload.
 */

/* Does this end of a connection sit behind an interface of this node? */
static __always_inline bool is_here(__u32 end)
{
	return end && !(end & BL_END_REMOTE);
}

BL_STEP int from_node_slow(struct __sk_buff *skb, struct bl_packet *p)
{
	__u32 epoch = ct_epoch(), sender, in, out;
	int dir = CT_CLIENT, verdict;
	struct bl_endpoint *ep;
	struct answer back;
	struct bl_ct *ct;
	bool answer;

	if (!p)
		return TC_ACT_SHOT;
	verdict = encap_arrived(skb, p);
	if (verdict < 0)
		return TC_ACT_OK;
	ep = endpoint_lookup(&p->key.dst);
	if (verdict || !ep)
		return drop(skb, p, NULL, verdict ?: BL_DROP_UNKNOWN_ENDPOINT);
	out = ep->ifindex;
	ct = p->flags & PKT_NEW ? NULL : ct_lookup(&p->key, &dir);
	if (ct && ct->flags & BL_CT_FRONTEND)
		return drop(skb, p, NULL, BL_DROP_SERVICE_TUPLE);
	if (!ct || ct_reopens(ct, p)) {
		struct translation none = {};

		return open_connection(skb, p, &none, false) ? TC_ACT_SHOT : forward(skb, p, out);
	}
	sender = encap_sender(&p->key.src);
	in = dir == CT_CLIENT ? ct->ifindex[CT_CLIENT] : ct->ifindex[CT_SERVER];
	if (ct->epoch != epoch || in != sender || ct->flags & BL_CT_REVOKED) {
		verdict = judge_again(skb, ct, p, dir, epoch);
		if (verdict)
			return drop(skb, p, ct, verdict | DROP_BY(dir));
		if (dir == CT_CLIENT)
			ct->ifindex[CT_CLIENT] = sender;
		else
			ct->ifindex[CT_SERVER] = sender;
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
	return forward(skb, p, out);
}

static __always_inline int from_node(struct __sk_buff *skb, __u8 tunnel)
{
	struct bl_packet p;
	int dir = CT_CLIENT, reason = parse_packet(skb, &p);
	struct bl_ct *ct;

	p.flags |= PKT_TO_POD | PKT_FROM_NODE | tunnel;
	if (unlikely(reason)) {
		if (!tunnel)
			return TC_ACT_OK;
		return reason == PARSE_LINK ? TC_ACT_SHOT : drop(skb, &p, NULL, reason);
	}
	if (unlikely(p.flags & PKT_ICMP_ERROR))
		return related(skb, &p);
	ct = ct_lookup(&p.key, &dir);
	if (!ct)
		p.flags |= PKT_NEW;
	else if (likely(settled(ct, &p))) {
		__u32 in, out;

		if (dir == CT_CLIENT) {
			in = ct->ifindex[CT_CLIENT];
			out = ct->ifindex[CT_SERVER];
		} else {
			in = ct->ifindex[CT_SERVER];
			out = ct->ifindex[CT_CLIENT];
		}
		if (likely(in & BL_END_REMOTE && is_here(out) &&
			   (!tunnel || encap_sent_by(skb, in)))) {
			if (unlikely(ct->flags & BL_CT_L7))
				l7_capture(skb, ct, &p, dir);
			ct_accept(skb, ct, &p, dir);
			return forward(skb, &p, out);
		}
	}
	return from_node_slow(skb, &p);
}

SEC("tcx/ingress")
int bl_from_tunnel(struct __sk_buff *skb)
{
	return from_node(skb, PKT_TUNNEL);
}

SEC("tcx/ingress")
int bl_from_netdev(struct __sk_buff *skb)
{
	return from_node(skb, 0);
}
