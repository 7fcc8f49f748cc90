"""A pytest plugin (`-p beside`): lets the gateway in `paperplane/` be found beside the real ones.

Houses are a namespace package, so they only need that directory on the path.
"""

from pathlib import Path

import worker.gateways
import worker.sandbox.simulators

HOME = Path(__file__).with_name("paperplane")

worker.gateways.__path__.append(str(HOME / "gateways"))
worker.sandbox.simulators.__path__.append(str(HOME / "simulators"))
