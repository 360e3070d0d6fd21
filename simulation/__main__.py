"""`python -m simulation --seeds A:B`: a line per seed; exit 1 when a promise was broken."""

import argparse
import contextlib
import gc
import sys
from pathlib import Path

from simulation.universe import Verdict, run_seed


def main() -> int:
    arguments = _parser().parse_args()
    gc.freeze()  # what was imported stays: the collector need not look at it for every seed
    if arguments.replay is not None:
        with contextlib.ExitStack() as stack:
            trace = stack.enter_context(arguments.trace.open("w")) if arguments.trace else None
            verdicts = [run_seed(arguments.replay, trace)]
        _print(verdicts[0])
    else:
        verdicts = []
        for seed in arguments.seeds:
            verdicts.append(run_seed(seed))
            _print(verdicts[-1])
    bad = [v.seed for v in verdicts if not v.is_good]
    if bad:
        print(f"{len(bad)} of {len(verdicts)} seeds broke a promise: {bad}", file=sys.stderr)
    return 1 if bad else 0


def _print(verdict: Verdict) -> None:
    faults = sum(verdict.faults.values())
    print(
        f"seed={verdict.seed} digest={verdict.digest} steps={verdict.steps}"
        f" virtual_s={verdict.virtual_s:.0f} drain_s={verdict.drain_s:.0f} faults={faults}"
        f" finishes={verdict.counts['finish.ok']} stale={verdict.counts['finish.StaleFence']}"
        f" verdict={'good' if verdict.is_good else 'VIOLATION'}",
        flush=True,
    )
    for violation in verdict.violations:
        print(f"  {violation}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulation",
        description="Run the real services through seeded faults on virtual time.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--seeds", type=_seeds, metavar="A:B", help="the seeds from A up to, not including, B"
    )
    what.add_argument("--replay", type=int, metavar="SEED", help="one seed again")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="with --replay: every step, byte and log line"
    )
    return parser


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last))


if __name__ == "__main__":
    raise SystemExit(main())
