"""What is wrong with an installation, and what to do: `opendify check`."""

from opendify.doctor.examination import examine
from opendify.doctor.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
