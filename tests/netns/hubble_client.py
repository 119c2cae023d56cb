"""A client of Hubble's API that shares no code with Beeline: Python's gRPC, messages made from the .proto files at run time."""
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

import harness

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "api", "proto")
FILES = ("flow/flow.proto", "relay/relay.proto", "peer/peer.proto", "observer/observer.proto", "beeline/extension.proto")

_folder = tempfile.mkdtemp(prefix="beeline-test-proto-")
subprocess.run(["protoc", f"-I{PROTO}", f"--python_out={_folder}", *FILES], check=True)
sys.path.insert(0, _folder)
flow = importlib.import_module("flow.flow_pb2")
observer = importlib.import_module("observer.observer_pb2")
peer = importlib.import_module("peer.peer_pb2")
relay = importlib.import_module("relay.relay_pb2")
extension = importlib.import_module("beeline.extension_pb2")
shutil.rmtree(_folder)

TIMEOUT = 20


class Client:
    """target: "unix:///path" or "host:port". credentials: of grpc; None: plain text."""

    def __init__(self, target, credentials=None, options=()):
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options=options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options=options)

    def close(self):
        self.channel.close()

    def unary(self, method, request, response, timeout=TIMEOUT, **options):
        return self.channel.unary_unary(method, type(request).SerializeToString, response.FromString)(
            request, timeout=timeout, **options)

    def stream(self, method, request, response, timeout=TIMEOUT):
        serialise = bytes if isinstance(request, bytes) else type(request).SerializeToString
        return self.channel.unary_stream(method, serialise, response.FromString)(request, timeout=timeout)

    def status(self):
        return self.unary("/observer.Observer/ServerStatus", observer.ServerStatusRequest(), observer.ServerStatusResponse)

    def nodes(self):
        return self.unary("/observer.Observer/GetNodes", observer.GetNodesRequest(), observer.GetNodesResponse).nodes

    def namespaces(self):
        return self.unary("/observer.Observer/GetNamespaces", observer.GetNamespacesRequest(),
                          observer.GetNamespacesResponse).namespaces

    def responses(self, timeout=TIMEOUT, **fields):
        """A stream of GetFlowsResponse."""
        return self.stream("/observer.Observer/GetFlows", observer.GetFlowsRequest(**fields), observer.GetFlowsResponse, timeout)

    def flows(self, timeout=TIMEOUT, **fields):
        """All flows of a request that does not follow."""
        return [one.flow for one in self.responses(timeout, **fields) if one.HasField("flow")]

    def where(self, timeout=TIMEOUT, **fields):
        """All flows that one filter lets through."""
        return self.flows(timeout, whitelist=[flow.FlowFilter(**fields)])

    def agent_events(self, timeout=TIMEOUT, **fields):
        return self.stream("/observer.Observer/GetAgentEvents", observer.GetAgentEventsRequest(**fields),
                           observer.GetAgentEventsResponse, timeout)

    def debug_events(self, timeout=TIMEOUT, **fields):
        return self.stream("/observer.Observer/GetDebugEvents", observer.GetDebugEventsRequest(**fields),
                           observer.GetDebugEventsResponse, timeout)

    def notify(self, timeout=TIMEOUT):
        return self.stream("/peer.Peer/Notify", peer.NotifyRequest(), peer.ChangeNotification, timeout)

    def health(self, name):
        """The status number of grpc.health.v1, whose messages have one field each."""
        text = name.encode()
        request = b"\x0a" + bytes([len(text)]) + text if text else b""
        answer = self.channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=TIMEOUT)
        return answer[1] if answer else 0


class Follower:
    """Reads a stream in the background: `with Follower(client.responses(follow=True)) as f: f.wait(predicate)`."""

    def __init__(self, call):
        self.call = call
        self.seen = []
        self.error = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        try:
            for one in self.call:
                self.seen.append(one)
        except grpc.RpcError as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.call.cancel()
        self._thread.join(10)

    def wait(self, predicate, timeout=15):
        return harness.wait_for(lambda: next((one for one in list(self.seen) if predicate(one)), None), timeout,
                                "a message of the stream")


def unix(node):
    return f"unix:///run/beeline/{node.instance}/hubble.sock"


def nanoseconds(time_message):
    return time_message.seconds * 10**9 + time_message.nanos


def timestamp(at_ns):
    return Timestamp(seconds=at_ns // 10**9, nanos=at_ns % 10**9)


def now():
    return time.time_ns()


def details_of(flow_message):
    out = extension.FlowExtension()
    assert flow_message.extensions.Unpack(out)
    return out
