"""Hubble's gRPC API against a client that is not ours: every rpc, filter field and ordering rule, masks, followers, errors.
The flows are those of real workloads."""
import os
import socket
import time

import grpc

import harness
import hubble_client
import scene
from hubble_client import Client, Follower, details_of, flow, nanoseconds, observer, peer, relay, timestamp, unix
from scene import policy, service

VIP = "10.96.0.10"


class Api(scene.SharedNode):
    options = {"outside": True, "config": {"hubble": {"nodeLabels": ["zone=a", "disk=fast"]}}}

    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web", "tier": "front"})
        node.run("client", namespace="shop", labels={"app": "client"})
        node.run("client", namespace="blog", labels={"app": "reader"})
        node.serve("outside", "world", tcp=[80])
        cls.client = Client(unix(node))
        cls.addClassCleanup(cls.client.close)
        web = node.address("shop/web")
        node.apply([service("web", VIP, [("http", "TCP", 8080, 80)], selector={"app": "web"}),
                    policy("web", {"app": "web"}, ingress=[{"from": [{"podSelector": {}}]}])])
        cls.node.tcp("shop/client", web, 80)
        cls.node.tcp("shop/client", node.address("shop/web", 6), 80)
        cls.node.udp("shop/client", web, 53)
        cls.node.tcp("shop/client", VIP, 8080)
        cls.node.tcp("blog/client", web, 80, timeout_ms=300)
        cls.node.tcp("outside", web, 80, timeout_ms=300)
        cls.node.tcp("shop/client", harness.OUTSIDE_V4, 80)
        cls.node.ping("shop/client", node.address("blog/client"))
        cls.node.wait_flow(lambda f: f["kind"] == "closed" and f["destination"]["kind"] == "world")
        cls.node.wait_flow(lambda f: f.get("protocol") == "ICMP")
        time.sleep(0.3)

    def everything(self):
        return self.client.flows()

    def check_filter(self, predicate, **fields):
        """The filter lets exactly those through for which the predicate holds, and as a blacklist exactly the others."""
        flows = self.everything()
        expected = [one.uuid for one in flows if predicate(one)]
        last = flows[-1].time
        self.assertEqual([one.uuid for one in self.client.flows(whitelist=[flow.FlowFilter(**fields)], until=last)], expected)
        others = [one.uuid for one in flows if not predicate(one)]
        self.assertEqual([one.uuid for one in self.client.flows(blacklist=[flow.FlowFilter(**fields)], until=last)], others)
        return expected

    def check_some(self, predicate, **fields):
        found = self.check_filter(predicate, **fields)
        self.assertTrue(found)
        self.assertLess(len(found), len(self.everything()))

    def refused(self, text, code=grpc.StatusCode.INVALID_ARGUMENT, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.flows(**fields)
        self.assertEqual(caught.exception.code(), code)
        self.assertIn(text, caught.exception.details())

    # --- what a flow says ---------------------------------------------------------------------------------------------

    def test_new_connection(self):
        found = [f for f in self.client.where(source_pod=["shop/client"], destination_pod=["shop/web"], protocol=["tcp"])
                 if f.l4.TCP.flags.SYN and f.IP.ipVersion == flow.IPv4 and not f.HasField("destination_service")]
        one = found[0]
        web, client = self.node.workload("shop/web"), self.node.workload("shop/client")
        self.assertEqual(one.verdict, flow.FORWARDED)
        self.assertEqual((one.IP.source, one.IP.destination), (self.node.address("shop/client"), self.node.address("shop/web")))
        self.assertEqual(one.l4.TCP.destination_port, 80)
        self.assertEqual((one.source.namespace, one.source.pod_name, one.source.ID, one.source.identity),
                         ("shop", "client", client["id"], client["identity"]))
        self.assertEqual(list(one.destination.labels), ["k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=default",
                                                        "k8s:io.kubernetes.pod.namespace=shop", "k8s:tier=front"])
        self.assertEqual((one.destination.workloads[0].name, one.destination.workloads[0].kind), ("web", "Pod"))
        self.assertEqual(one.event_type.type, 5)
        self.assertEqual(one.traffic_direction, flow.INGRESS)
        self.assertEqual([(p.kind, p.namespace, p.name) for p in one.ingress_allowed_by], [("NetworkPolicy", "shop", "web")])
        self.assertTrue(one.HasField("is_reply"))
        self.assertFalse(one.is_reply.value)
        self.assertEqual(one.Summary, "TCP Flags: SYN")
        self.assertEqual(one.Type, flow.L3_L4)
        self.assertEqual(one.node_name, "node-under-test")
        self.assertEqual(list(one.node_labels), ["zone=a", "disk=fast"])
        self.assertEqual(one.emitter.name, "Beeline")
        self.assertEqual(len(one.uuid), 36)
        self.assertNotEqual(web["identity"], 0)
        details = details_of(one)
        self.assertEqual(details.source.comm, "bltest")
        if details.source.binary:  # the client may have ended before it was looked at
            self.assertEqual(os.path.realpath(details.source.binary), os.path.realpath(harness.BLTEST))
        self.assertGreater(details.source.pid, 0)
        self.assertEqual(details.ingress_rule, "NetworkPolicy shop/web ingress[0]")
        self.assertEqual(details.kind, "opened")

    def test_denied_connection(self):
        one = self.client.where(source_pod=["blog/client"], verdict=[flow.DROPPED])[0]
        self.assertEqual((one.event_type.type, one.event_type.sub_type), (1, 133))
        self.assertEqual((one.drop_reason, one.drop_reason_desc), (133, flow.POLICY_DENIED))
        self.assertFalse(one.HasField("is_reply"))
        self.assertEqual(one.traffic_direction, flow.INGRESS)
        self.assertEqual([(p.namespace, p.name) for p in one.ingress_denied_by], [("shop", "web")])

    def test_service(self):
        one = next(f for f in self.client.where(destination_service=["shop/web"]) if f.l4.TCP.flags.SYN)
        self.assertEqual((one.destination_service.name, one.destination_service.namespace), ("web", "shop"))
        self.assertEqual(details_of(one).service_port, 8080)

    def test_world(self):
        one = self.client.where(destination_ip=[harness.OUTSIDE_V4])[0]
        self.assertEqual((one.destination.identity, list(one.destination.labels)), (2, ["reserved:world"]))
        self.assertEqual(one.traffic_direction, flow.EGRESS)

    def test_responses_repeat_node_and_time(self):
        for one in self.client.responses():
            self.assertEqual(one.node_name, "node-under-test")
            self.assertEqual(one.time, one.flow.time)

    def test_text_form_is_what_the_cli_reads(self):
        from google.protobuf import json_format
        one = next(iter(self.client.responses(number=1, whitelist=[flow.FlowFilter(verdict=[flow.DROPPED])])))
        text = json_format.MessageToDict(one, preserving_proto_field_name=True, descriptor_pool=None)
        self.assertEqual(text["flow"]["verdict"], "DROPPED")
        self.assertEqual(text["flow"]["IP"]["ipVersion"], "IPv4")
        self.assertEqual(text["flow"]["Type"], "L3_L4")
        self.assertEqual(text["flow"]["event_type"], {"type": 1, "sub_type": 133})
        self.assertIn("Summary", text["flow"])

    # --- filters ------------------------------------------------------------------------------------------------------

    def test_filter_addresses(self):
        client, web = self.node.address("shop/client"), self.node.address("shop/web")
        self.check_some(lambda f: f.IP.source == client, source_ip=[client])
        self.check_some(lambda f: f.IP.destination == web, destination_ip=[web])
        self.check_some(lambda f: f.IP.source.startswith("10.88."), source_ip=["10.88.0.0/16"])
        self.check_some(lambda f: f.IP.ipVersion == flow.IPv6, destination_ip=["fd00:88::/64"])
        self.check_filter(lambda f: f.IP.destination in (web, client), destination_ip=[web, client])
        self.check_filter(lambda f: False, source_ip_xlated=["10.0.0.1"])
        self.check_some(lambda f: f.IP.ipVersion == flow.IPv6, ip_version=[flow.IPv6])
        self.check_filter(lambda f: False, encrypted=[True])
        self.check_filter(lambda f: True, encrypted=[False, True])

    def test_filter_pods(self):
        self.check_some(lambda f: f.source.namespace == "shop", source_pod=["shop/"])
        self.check_some(lambda f: f.source.namespace == "shop" and f.source.pod_name == "client", source_pod=["shop/cli"])
        self.check_some(lambda f: f.destination.pod_name == "web", destination_pod=["/we"])
        self.check_filter(lambda f: False, source_pod=["client"])
        self.check_some(lambda f: f.source.namespace == "blog" and f.destination.pod_name == "web",
                        source_pod=["blog/client"], destination_pod=["shop/web"])

    def test_filter_services(self):
        self.check_some(lambda f: f.destination_service.name == "web", destination_service=["shop/web"])
        self.check_some(lambda f: f.destination_service.name == "web", destination_service=["shop/"])
        self.check_filter(lambda f: f.source_service.name == "web", source_service=["shop/web"])
        self.check_filter(lambda f: False, destination_service=["web"])

    def test_filter_names(self):
        self.check_filter(lambda f: any(n.endswith("example.com") for n in f.destination_names), destination_fqdn=["*example.com"])
        self.check_filter(lambda f: any(n.endswith("example.com") for n in f.source_names), source_fqdn=["*.example.com."])

    def test_filter_labels(self):
        web = lambda end: "k8s:app=web" in end.labels
        self.check_some(lambda f: web(f.destination), destination_label=["k8s:app=web"])
        self.check_some(lambda f: web(f.destination), destination_label=["app=web,tier in (front, back)"])
        self.check_some(lambda f: not web(f.source), source_label=["app!=web"])
        self.check_some(lambda f: "reserved:world" in f.destination.labels, destination_label=["reserved:world"])
        self.check_filter(lambda f: web(f.source) or "k8s:app=reader" in f.source.labels, source_label=["app=web", "k8s:app=reader"])
        self.check_filter(lambda f: False, destination_label=["any:app=web,!tier"])
        self.check_filter(lambda f: True, node_labels=["zone=a"])
        self.check_filter(lambda f: False, node_labels=["zone=b"])

    def test_filter_workloads_and_identities(self):
        self.check_some(lambda f: any(w.name == "web" for w in f.destination.workloads),
                        destination_workload=[flow.Workload(name="web")])
        self.check_some(lambda f: len(f.source.workloads) > 0, source_workload=[flow.Workload(kind="Pod")])
        self.check_filter(lambda f: False, source_workload=[flow.Workload(name="web", kind="Deployment")])
        identity = self.node.workload("shop/web")["identity"]
        self.check_some(lambda f: f.destination.identity == identity, destination_identity=[identity])
        self.check_some(lambda f: f.source.identity in (identity, 2), source_identity=[identity, 2])
        self.check_some(lambda f: f.source.cluster_name == "default", source_cluster_name=["default"])
        self.check_filter(lambda f: False, destination_cluster_name=["other"])

    def test_filter_ports_and_protocols(self):
        ports = lambda f: {"TCP": f.l4.TCP, "UDP": f.l4.UDP}.get(f.l4.WhichOneof("protocol"))
        self.check_some(lambda f: ports(f) is not None and ports(f).destination_port == 53, destination_port=["53"])
        self.check_filter(lambda f: ports(f) is not None and ports(f).source_port in (80, 53), source_port=["80", "53"])
        self.check_some(lambda f: f.l4.HasField("UDP"), protocol=["UDP"])
        self.check_some(lambda f: f.l4.HasField("ICMPv4"), protocol=["icmp"])
        self.check_some(lambda f: f.l4.HasField("ICMPv4"), protocol=["ICMPv4"])
        for name in ("icmpv6", "sctp", "vrrp", "igmp", "dns", "http", "kafka"):
            self.check_filter(lambda f: False, protocol=[name])
        self.check_some(lambda f: f.l4.TCP.flags.SYN, tcp_flags=[flow.TCPFlags(SYN=True)])
        self.check_some(lambda f: f.l4.TCP.flags.FIN and f.l4.TCP.flags.ACK or f.l4.TCP.flags.RST,
                        tcp_flags=[flow.TCPFlags(FIN=True, ACK=True), flow.TCPFlags(RST=True)])

    def test_filter_events(self):
        self.check_some(lambda f: f.verdict == flow.DROPPED, verdict=[flow.DROPPED, flow.ERROR])
        self.check_some(lambda f: f.event_type.type == 1, event_type=[flow.EventTypeFilter(type=1)])
        self.check_some(lambda f: f.event_type.type == 4 and f.event_type.sub_type == 0,
                        event_type=[flow.EventTypeFilter(type=4, match_sub_type=True)])
        self.check_filter(lambda f: True, event_type=[flow.EventTypeFilter()])
        self.check_some(lambda f: f.verdict == flow.DROPPED and f.drop_reason_desc == flow.POLICY_DENIED,
                        drop_reason_desc=[flow.POLICY_DENIED])
        self.check_filter(lambda f: f.HasField("is_reply") and f.is_reply.value, reply=[True])
        self.check_filter(lambda f: f.verdict == flow.DROPPED or f.HasField("is_reply") and not f.is_reply.value, reply=[False])
        self.check_some(lambda f: f.traffic_direction == flow.EGRESS, traffic_direction=[flow.EGRESS])
        one = self.everything()[3]
        self.check_some(lambda f: f.uuid == one.uuid, uuid=[one.uuid])
        self.check_filter(lambda f: False, trace_id=["0af7651916cd43dd8448eb211c80319c"])
        self.check_filter(lambda f: False, ip_trace_id=[7])
        name = next(f.interface.name for f in self.everything() if f.interface.name)
        self.check_some(lambda f: f.interface.name == name, interface=[flow.NetworkInterface(name=name)])
        self.check_filter(lambda f: False, interface=[flow.NetworkInterface(name=name, index=99999)])

    def test_filter_nodes(self):
        for pattern in ("node-under-test", "node-*", "default/", "default/node-under-test", "*/node-*"):
            self.check_filter(lambda f: True, node_name=[pattern])
        for pattern in ("other", "node", "blue/", "blue/*"):
            self.check_filter(lambda f: False, node_name=[pattern])

    def test_filter_l7_without_any(self):
        for fields in ({"http_status_code": ["404", "5+"]}, {"http_method": ["GET"]}, {"http_path": ["^/a"]}, {"http_url": ["x"]},
                       {"http_header": [flow.HTTPHeader(key="a", value="b")]}, {"dns_query": ["example"]}):
            self.check_filter(lambda f: False, **fields)

    def test_fields_and_values_and_lists(self):
        dropped, shop = flow.FlowFilter(verdict=[flow.DROPPED]), flow.FlowFilter(source_pod=["shop/"])
        flows = self.everything()
        of = lambda predicate: [f.uuid for f in flows if predicate(f)]
        ids = lambda **lists: [f.uuid for f in self.client.flows(until=flows[-1].time, **lists)]
        is_dropped, is_shop = lambda f: f.verdict == flow.DROPPED, lambda f: f.source.namespace == "shop"
        self.assertEqual(ids(whitelist=[dropped, shop]), of(lambda f: is_dropped(f) or is_shop(f)))
        self.assertEqual(ids(whitelist=[shop], blacklist=[dropped]), of(lambda f: is_shop(f) and not is_dropped(f)))
        self.assertEqual(ids(blacklist=[dropped, shop]), of(lambda f: not is_dropped(f) and not is_shop(f)))
        self.assertEqual(ids(blacklist=[flow.FlowFilter()]), [])
        self.assertEqual(ids(whitelist=[flow.FlowFilter()]), of(lambda f: True))

    def test_bad_filters_are_refused(self):
        rows = (({"source_ip": ["10.0.0"]}, "source_ip"), ({"destination_ip": ["10.0.0.0/40"]}, "destination_ip"),
                ({"source_pod": [""]}, "source_pod"), ({"destination_service": [""]}, "destination_service"),
                ({"source_fqdn": ["a b"]}, "source_fqdn"), ({"destination_label": ["a in (b"]}, "destination_label"),
                ({"source_port": ["http"]}, "source_port"), ({"destination_port": ["65536"]}, "destination_port"),
                ({"protocol": ["tpc"]}, "protocol"), ({"http_status_code": ["40"]}, "http_status_code"),
                ({"http_path": ["("]}, "http_path"), ({"dns_query": ["*"]}, "dns_query"), ({"node_name": ["a/b/c"]}, "node_name"),
                ({"source_cluster_name": [""]}, "source_cluster_name"), ({"node_labels": ["=x"]}, "node_labels"),
                ({"http_method": ["GET"], "event_type": [flow.EventTypeFilter(type=1)]}, "http_method"),
                ({"http_url": ["x" * 5000]}, "http_url"),
                ({"experimental": flow.FlowFilter.Experimental(cel_expression=["true"])}, "experimental.cel_expression"))
        for fields, name in rows:
            with self.subTest(field=name):
                self.refused(f"whitelist[1].{name}", whitelist=[flow.FlowFilter(), flow.FlowFilter(**fields)])
                self.refused(f"blacklist[0].{name}", blacklist=[flow.FlowFilter(**fields)])

    def test_every_filter_field_has_a_test(self):
        with open(__file__) as file:
            text = file.read()
        for field in flow.FlowFilter.DESCRIPTOR.fields:
            self.assertTrue(f"{field.name}=" in text or f'"{field.name}":' in text, field.name)

    # --- where to begin and end ---------------------------------------------------------------------------------------

    def test_order_and_number(self):
        flows = self.everything()
        self.assertEqual([nanoseconds(f.time) for f in flows], sorted(nanoseconds(f.time) for f in flows))
        ids = [f.uuid for f in flows]
        self.assertEqual([f.uuid for f in self.client.flows(number=3)], ids[-3:])
        self.assertEqual([f.uuid for f in self.client.flows(number=3, first=True)], ids[:3])
        self.assertEqual([f.uuid for f in self.client.flows(number=2**64 - 1)], ids)
        self.assertEqual([f.uuid for f in self.client.flows(number=0)], ids)
        self.assertEqual([f.uuid for f in self.client.flows(first=True)], ids)
        dropped = [f.uuid for f in flows if f.verdict == flow.DROPPED]
        wanted = [flow.FlowFilter(verdict=[flow.DROPPED])]
        self.assertEqual([f.uuid for f in self.client.flows(number=1, whitelist=wanted)], dropped[-1:])
        self.assertEqual([f.uuid for f in self.client.flows(number=1, first=True, whitelist=wanted)], dropped[:1])

    def test_since_and_until(self):
        flows = self.everything()
        at = flows[len(flows) // 2].time
        after = [f.uuid for f in flows if nanoseconds(f.time) >= nanoseconds(at)]
        before = [f.uuid for f in flows if nanoseconds(f.time) <= nanoseconds(at)]
        self.assertEqual([f.uuid for f in self.client.flows(since=at)], after)
        self.assertEqual([f.uuid for f in self.client.flows(until=at)], before)
        # since decides where to begin, number only how many.
        self.assertEqual([f.uuid for f in self.client.flows(since=at, number=2)], after[:2])
        self.assertEqual([f.uuid for f in self.client.flows(since=at, number=2, first=True)], after[:2])
        self.assertEqual([f.uuid for f in self.client.flows(since=at, until=at)], [f.uuid for f in flows if f.time == at])
        # until does not move the beginning that number gives.
        self.assertEqual(self.client.flows(number=1, until=timestamp(nanoseconds(flows[0].time))), [])
        self.assertEqual(self.client.flows(since=timestamp(hubble_client.now() + 10**12)), [])
        self.assertEqual([f.uuid for f in self.client.flows(since=timestamp(0))], [f.uuid for f in flows])

    def test_follow(self):
        before = {f.uuid for f in self.everything()}
        wanted = [flow.FlowFilter(source_pod=["blog/client"], destination_pod=["shop/client"])]
        with Follower(self.client.responses(follow=True, whitelist=wanted)) as live, \
             Follower(self.client.responses(follow=True, number=2)) as last, \
             Follower(self.client.responses(follow=True, since=timestamp(0))) as whole:
            last.wait(lambda one: len(last.seen) >= 2)
            whole.wait(lambda one: len(whole.seen) >= len(before))
            self.assertLessEqual(before, {one.flow.uuid for one in whole.seen})
            self.node.tcp("blog/client", self.node.address("shop/client"), 81, timeout_ms=300)
            new = live.wait(lambda one: one.flow.l4.TCP.destination_port == 81)
            for follower in (last, whole):
                follower.wait(lambda one: one.flow.uuid == new.flow.uuid)
            self.assertTrue(all(one.flow.uuid not in before for one in live.seen))
            self.assertIn(last.seen[0].flow.uuid, before)

    def test_follower_is_heard_before_anything_happens(self):
        call = self.client.responses(follow=True, whitelist=[flow.FlowFilter(uuid=["none"])])
        self.assertIn("hubble-server-version", dict(call.initial_metadata()))
        self.assertTrue(call.is_active())
        call.cancel()

    def test_follow_ends_after_until(self):
        with Follower(self.client.responses(follow=True, until=timestamp(hubble_client.now()))) as live:
            self.node.udp("shop/client", self.node.address("shop/web"), 53)
            harness.wait_for(lambda: live.call.code() is not None if live.call.done() else False, 15, "the end of the stream")
            self.assertEqual((live.call.code(), live.seen), (grpc.StatusCode.OK, []))

    def test_bad_requests_are_refused(self):
        self.refused("first cannot be specified with follow", first=True, follow=True)
        from google.protobuf.timestamp_pb2 import Timestamp
        self.refused("since", since=Timestamp(seconds=1, nanos=2 * 10**9))
        self.refused("until", until=Timestamp(seconds=2**60))
        self.refused("whitelist", whitelist=[flow.FlowFilter()] * 1001)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.client.stream("/observer.Observer/GetFlows", b"\xff\xff\xff", observer.GetFlowsResponse))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    # --- masks --------------------------------------------------------------------------------------------------------

    def test_field_mask(self):
        from google.protobuf.field_mask_pb2 import FieldMask
        paths = ["time", "verdict", "IP", "l4", "source.identity", "source.namespace", "source.pod_name", "Type", "node_name",
                 "event_type", "is_reply", "Summary"]
        for one, whole in zip(self.client.responses(field_mask=FieldMask(paths=paths)), self.client.responses()):
            part = flow.Flow()
            FieldMask(paths=paths).MergeMessage(whole.flow, part)
            self.assertEqual(one.flow, part)
            self.assertEqual((one.time, one.node_name), (whole.time, whole.node_name))
        one = next(iter(self.client.responses(field_mask=FieldMask(paths=["verdict"]))))
        self.assertEqual((one.HasField("time"), one.node_name, one.flow.uuid), (False, "", ""))
        one = next(iter(self.client.responses(field_mask=FieldMask(paths=["extensions"]))))
        self.assertTrue(details_of(one.flow).kind)
        # A filter sees what the mask hides.
        some = self.client.flows(field_mask=FieldMask(paths=["uuid"]), whitelist=[flow.FlowFilter(verdict=[flow.DROPPED])])
        self.assertEqual([f.uuid for f in some], [f.uuid for f in self.everything() if f.verdict == flow.DROPPED])
        self.refused("field_mask: 'sauce'", field_mask=FieldMask(paths=["time", "sauce"]))
        self.refused("field_mask: 'source.pod'", field_mask=FieldMask(paths=["source.pod"]))

    # --- the other calls ----------------------------------------------------------------------------------------------

    def test_server_status(self):
        status = self.client.status()
        self.assertEqual(status.num_flows, status.seen_flows)
        self.assertGreaterEqual(status.num_flows, len(self.everything()))
        self.assertGreaterEqual(status.max_flows, status.num_flows)
        self.assertGreater(status.uptime_ns, 0)
        self.assertGreater(status.flows_rate, 0)
        self.assertTrue(status.version)
        self.assertFalse(status.HasField("num_connected_nodes"))

    def test_version_header(self):
        _, call = self.client.channel.unary_unary("/observer.Observer/ServerStatus").with_call(b"", timeout=20)
        version = dict(call.initial_metadata())["hubble-server-version"]
        self.assertRegex(version, r"^\d+\.\d+\.\d+")
        self.assertIn("hubble-server-version", dict(self.client.responses(number=1).initial_metadata()))

    def test_nodes_and_namespaces(self):
        nodes = self.client.nodes()
        self.assertEqual([(n.name, n.state) for n in nodes], [("node-under-test", relay.NODE_CONNECTED)])
        self.assertGreater(nodes[0].num_flows, 0)
        for _ in range(2):
            self.assertEqual([(n.cluster, n.namespace) for n in self.client.namespaces()], [("default", "blog"), ("default", "shop")])

    def test_agent_events(self):
        events = list(self.client.agent_events())
        self.assertEqual(events[0].agent_event.type, flow.AGENT_STARTED)
        self.assertGreater(events[0].agent_event.agent_start.time.seconds, 0)
        created = [e.agent_event.endpoint_update for e in events if e.agent_event.type == flow.ENDPOINT_CREATED]
        self.assertEqual({(e.namespace, e.pod_name) for e in created}, {("shop", "web"), ("shop", "client"), ("blog", "client")})
        self.assertTrue(any(e.agent_event.type == flow.POLICY_UPDATED for e in events))
        self.assertEqual(list(self.client.agent_events(number=1, first=True)), events[:1])
        self.assertEqual(list(self.client.agent_events(number=2))[0].time, events[-2].time)
        self.assertEqual(list(self.client.agent_events(since=events[2].time))[0].time, events[2].time)
        self.assertEqual(len(list(self.client.agent_events(until=events[0].time))), 1)
        with Follower(self.client.agent_events(follow=True)) as live:
            time.sleep(0.5)
            self.node.run("new", namespace="blog")
            one = live.wait(lambda e: e.agent_event.type == flow.ENDPOINT_CREATED)
            self.assertEqual(one.agent_event.endpoint_update.pod_name, "new")
            self.node.stop("blog/new")
            live.wait(lambda e: e.agent_event.type == flow.ENDPOINT_DELETED)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.client.agent_events(first=True, follow=True))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_debug_events(self):
        self.assertEqual(list(self.client.debug_events(number=5)), [])

    def test_peers(self):
        one = next(iter(self.client.notify()))
        self.assertEqual((one.name, one.type, one.HasField("tls")), ("node-under-test", peer.PEER_ADDED, False))
        self.assertEqual(one.address, unix(self.node))

    def test_health_and_reflection(self):
        for name in ("", "hubble.server.Observer"):
            self.assertEqual(self.client.health(name), 1)
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.health("nobody")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        # list_services = "" of ServerReflectionRequest
        call = self.client.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        answer = next(iter(call(iter([b"\x3a\x00"]), timeout=20)))
        for name in (b"observer.Observer", b"peer.Peer", b"grpc.health.v1.Health"):
            self.assertIn(name, answer)

    def test_socket_is_closed_to_others(self):
        mode = os.stat(unix(self.node).removeprefix("unix://")).st_mode
        self.assertEqual(mode & 0o777, 0o660)

    # --- many and bad clients -----------------------------------------------------------------------------------------

    def test_thousand_followers(self):
        count = 1000
        wanted = observer.GetFlowsRequest(follow=True, whitelist=[flow.FlowFilter(destination_port=["82"])])
        clients = [Client(unix(self.node)) for _ in range(10)]
        calls = [clients[i % 10].stream("/observer.Observer/GetFlows", wanted, observer.GetFlowsResponse, 120) for i in range(count)]
        try:
            self.node.wait_for(lambda: self.node.api("GET", "/v1/status")["hubble"]["streams"] >= count, 60)
            with open(f"/proc/{self.node.agent.pid}/status") as file:
                threads = int(next(line for line in file if line.startswith("Threads")).split()[1])
            self.assertLess(threads, 100)
            self.node.tcp("blog/client", self.node.address("shop/client"), 82, timeout_ms=300)
            for call in calls:
                self.assertEqual(next(call).flow.l4.TCP.destination_port, 82)
            # Others are served meanwhile.
            self.assertTrue(self.client.flows(number=1))
        finally:
            for call in calls:
                call.cancel()
            for client in clients:
                client.close()
        self.node.wait_for(lambda: self.node.api("GET", "/v1/status")["hubble"]["streams"] < 10, 30)

    def test_garbage_is_survived(self):
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500, b""):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(unix(self.node).removeprefix("unix://"))
                one.sendall(garbage)
        self.assertTrue(self.client.flows(number=1))


class Limits(scene.SharedNode):
    options = {"config": {"hubble": {"streams": 3, "stallSeconds": 1}, "flows": {"memory": 2048}}}

    @classmethod
    def prepare(cls):
        cls.node.run("web", *harness.serve("web", tcp=[80]), namespace="shop")
        cls.node.run("client", namespace="shop")

    def test_too_many_streams(self):
        client = Client(unix(self.node))
        self.addCleanup(client.close)
        calls = [client.responses(follow=True) for _ in range(3)]
        for call in calls:
            call.initial_metadata()
        self.node.wait_for(lambda: self.node.api("GET", "/v1/status")["hubble"]["streams"] == 3)
        with self.assertRaises(grpc.RpcError) as caught:
            client.flows()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        calls[0].cancel()
        self.node.wait_for(lambda: self.node.api("GET", "/v1/status")["hubble"]["streams"] == 2)
        client.flows()

    def test_client_that_does_not_read_is_cut_off(self):
        web = self.node.address("shop/web")
        client = Client(unix(self.node), options=[("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65535)])
        self.addCleanup(client.close)
        call = client.responses(follow=True, since=timestamp(0), timeout=60)
        for _ in range(20):
            self.node.requests("shop/client", "tcp", web, 80, 500)
            if self.node.api("GET", "/v1/status")["hubble"]["streams_cut"]:
                break
            time.sleep(0.5)
        self.node.wait_for(lambda: self.node.api("GET", "/v1/status")["hubble"]["streams_cut"] == 1, 15)
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in call:
                pass
        self.assertEqual(caught.exception.code(), grpc.StatusCode.CANCELLED)


if __name__ == "__main__":
    harness.main()
