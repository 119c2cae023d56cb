"""Runs in a pod's network namespace: for every line of JSON [[protocol, address, port], ...] one line with a list of booleans.

All targets of a line are tried at once; what has not answered within TIMEOUT is not reachable.
"""
import json
import select
import socket
import sys
import time

TIMEOUT = 0.25


def probe(targets):
    sockets, answers = {}, [False] * len(targets)
    for index, (protocol, address, port) in enumerate(targets):
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
        one.setblocking(False)
        try:
            one.connect((address, port))
        except BlockingIOError:
            pass
        except OSError:
            one.close()
            continue
        if protocol == "UDP":
            one.send(b"hello\n")
        sockets[one.fileno()] = (one, index, protocol)
    poll = select.poll()
    for number, (_, _, protocol) in sockets.items():
        poll.register(number, select.POLLOUT if protocol == "TCP" else select.POLLIN)
    deadline, left = time.monotonic() + TIMEOUT, set(sockets)
    while left and time.monotonic() < deadline:
        for number, _ in poll.poll(max(1, int((deadline - time.monotonic()) * 1000))):
            one, index, protocol = sockets[number]
            poll.unregister(number)
            left.discard(number)
            try:
                if protocol == "TCP":
                    answers[index] = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                else:
                    answers[index] = len(one.recv(4096)) > 0
            except OSError:
                pass
    for one, _, _ in sockets.values():
        one.close()
    return answers


for line in sys.stdin:
    print(json.dumps(probe(json.loads(line))), flush=True)
