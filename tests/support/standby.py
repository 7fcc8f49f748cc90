"""`worker` as a process that has imported everything and forks itself for each call: a command is there at once.

Run as a program it is the server; `CLIENT` is the program that takes the command's place in a shell.
"""

import json
import os
import signal
import socket
import sys
from importlib import import_module
from typing import NoReturn

_MODULES = (
    *("worker.app", "worker.cli.program", "worker.config", "worker.ops.doctor", "worker.ops.logging"),
    *("worker.broker.letterbox", "worker.flows.dead_letters", "worker.flows.reconcile", "worker.ledger.migrate"),
)
_LONGEST = 1 << 17
CLIENT = """#!{python} -IS
import json, os, socket, sys
call = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
call.connect({path!r})
told = {{"arguments": sys.argv[1:], "directory": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(call, [json.dumps(told).encode()], [0, 1, 2])
sys.exit(int(call.recv(16) or b"70"))
"""
"""Hands its arguments, directory, environment and standard files to the server at `path`; ends as the command does."""


def serve(path: str) -> NoReturn:
    """Answer calls for ever; a line on standard output says when the first may come."""
    for name in _MODULES:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    print(flush=True)  # noqa: T201 - the line
    while True:
        call, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _be_the_command(call)
        call.close()


def _be_the_command(call: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, files, _, _ = socket.recv_fds(call, _LONGEST, 3)
    given = json.loads(told)
    for standard, file in enumerate(files):
        os.dup2(file, standard)
    os.chdir(given["directory"])
    os.environ.clear()
    os.environ.update(given["environment"])
    sys.argv = ["worker", *given["arguments"]]
    code = 70
    try:
        import_module("worker.cli").main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        call.sendall(str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
