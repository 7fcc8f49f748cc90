"""`worker relay`: takes the gateways' callbacks over HTTP and puts them, confirmed, where the worker finds them.

It needs no database, and understands a callback only as far as its signature.
"""

from worker.relay.process import RelayProcess
from worker.relay.receiver import Receiver
from worker.relay.server import RelayServer

__all__ = ["Receiver", "RelayProcess", "RelayServer"]
