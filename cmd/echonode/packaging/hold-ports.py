#!/usr/bin/env python3
"""Print so many TCP ports of 127.0.0.1 and keep them from everybody else until this ends: a server that sets SO_REUSEADDR,
as servers do, binds them all the same."""
import signal
import socket
import sys

held = []
for _ in range(int(sys.argv[1])):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    held.append(s)
print(*(s.getsockname()[1] for s in held), flush=True)
signal.pause()
