"""A Dify that runs on its own: the Service API of several versions, with faults on request.

`create_simulator` makes it; `DEMO_APPS` are its apps by key, `DEMO_MODELS` names
one of them for each app mode. Questions steer it by words, which
`opendify.simulator.words` lists. `serve_in_background` puts it on a socket.
"""

from opendify.simulator.application import create_simulator
from opendify.simulator.apps import DEMO_APPS, DEMO_MODELS
from opendify.simulator.options import SimulatorOptions
from opendify.simulator.server import serve_in_background

__all__ = ["DEMO_APPS", "DEMO_MODELS", "SimulatorOptions", "create_simulator", "serve_in_background"]
