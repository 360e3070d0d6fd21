"""For own checks: `from drawbar.checks import Context, Failed, Passed`."""

from worker.checks.contract import Context, Failed, Passed

__all__ = ["Context", "Failed", "Passed"]
