"""A Dify that runs on its own: the Service API of several versions, with faults on request.

`create_simulator` makes it; `DEMO_APPS` are its apps by key, `DEMO_MODELS` names
one of them for each app mode. Questions steer it by words, see
`opendify.simulator.words` and `opendify.simulator.faults`.
"""

from opendify.simulator.application import create_simulator
from opendify.simulator.apps import DEMO_APPS, DEMO_MODELS
from opendify.simulator.options import SimulatorOptions

__all__ = ["DEMO_APPS", "DEMO_MODELS", "SimulatorOptions", "create_simulator"]
