"""`python -m simulation --seeds A:B`: a line per seed; exit 1 when a promise was broken."""

import argparse
import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from simulation.universe import Verdict, run_seed


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.trace is not None and arguments.replay is None:
        parser.error("--trace needs --replay")
    gc.freeze()  # what was imported stays: the collector need not look at it for every seed
    if arguments.replay is not None:
        with _opened(arguments.trace) as trace:
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
        "--trace",
        nargs="?",
        const="-",
        metavar="FILE",
        help="with --replay: every step, segment, call and log line, to FILE or standard output",
    )
    return parser


@contextlib.contextmanager
def _opened(trace: str | None) -> Iterator[IO[str] | None]:
    if trace is None or trace == "-":
        yield sys.stdout if trace else None
    else:
        with Path(trace).open("w") as file:
            yield file


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    seeds = range(int(first), int(last))
    if not seeds:
        raise argparse.ArgumentTypeError("no seed lies between the two numbers")
    return seeds


if __name__ == "__main__":
    raise SystemExit(main())
