"""What a worker daemon does not import: a fleet has thousands of them."""

import subprocess
import sys

from tests.support.golden import ROOT

SERVICES_ONLY = {"cryptography", "jwt", "aiosqlite", "jobstore", "registry", "gateway"}
PEOPLE_ONLY = {"rich", "yaml", "tomllib"}
WITH_CONTAINERS_ONLY = {"aiodocker"}

USE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import drawbar.cli.main, drawbar.cli.serving, worker.app
print(*sys.modules)
"""


def test_a_worker_imports_neither_keys_nor_services_nor_what_draws() -> None:
    out = subprocess.run([sys.executable, "-c", USE], capture_output=True, check=True, text=True)
    imported = set(out.stdout.split())
    assert "worker.daemon" in imported
    assert not imported & (SERVICES_ONLY | PEOPLE_ONLY | WITH_CONTAINERS_ONLY)
