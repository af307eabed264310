"""OpenDify makes any Dify app look like an OpenAI model."""

import sys
from typing import Final

# httpx loads its own command line with it, if it can, and with that `rich` and `pygments`: megabytes
# that no server needs. Of a module that is None here, an import says that it is missing.
_NEEDLESS: Final = "httpx._main"
if "httpx" not in sys.modules:
    sys.modules[_NEEDLESS] = None  # type: ignore[assignment] # As the import system documents it.

__version__ = "0.1.0"
