"""What a task in Python needs in its container: drawbar's runner and what flows import, read only.

The two have no dependencies, so that they run on whatever Python an image has.
"""

import hashlib
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

KIT: Final = "/opt/drawbar"
BUNDLE: Final = "/opt/drawbar-flow"
PYTHON: Final = ("python3", "-I", f"{KIT}/drawbar/runner/__main__.py")
PARTS: Final = ("__init__.py", "py.typed", "runner/*.py", "sdk/*.py")


def prepare_kit(home: Path) -> Path:
    """A folder below `home` with a copy of them, as they are now. OSError.

    A copy, because what an installation has beside them is not the container's business.
    """
    spec = find_spec("drawbar")
    assert spec is not None, "a worker without drawbar"
    assert spec.origin is not None, "drawbar is a package"
    source = Path(spec.origin).parent
    files = sorted(file for part in PARTS for file in source.glob(part))
    kit = home / "kits" / _digest(source, files)
    if not kit.is_dir():
        half = kit.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        for file in files:
            copy = half / "drawbar" / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copy.chmod(0o644)
        for folder in (half, *half.rglob("*/")):
            folder.chmod(0o755)
        half.rename(kit)
    return kit


def _digest(source: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(source)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
