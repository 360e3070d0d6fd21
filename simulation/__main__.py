"""`python -m simulation --seeds A:B`: a line per seed; exit 1 when a promise was broken."""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from simulation.batch import Universe, run_all, sweep_all
from simulation.leaving import exit_code
from simulation.regressions import Kept, keep_seed, kept_seeds
from simulation.sweep import STORIES, moments
from simulation.universe import Mode, Verdict, run_seed
from simulation.vacuity import Tally


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.replay is None and (arguments.trace or arguments.keep):
        parser.error("--trace and --keep need --replay")
    if arguments.jobs < 1:
        parser.error("--jobs takes a number from 1 on")
    if arguments.sweep:
        return _sweep(arguments.sweep, arguments.jobs)
    modes = list(Mode) if arguments.mode == "both" else [Mode(arguments.mode)]
    if arguments.replay is not None:
        if len(modes) > 1:
            parser.error("--replay takes one mode")
        return _replay(arguments.replay, modes[0], arguments.trace, arguments.keep)
    if arguments.regressions:
        universes = [Universe(kept.seed, kept.mode) for kept in kept_seeds()]
    else:
        universes = [Universe(seed, mode) for seed in arguments.seeds for mode in modes]
    return _judge(run_all(universes, arguments.jobs))


def _judge(verdicts: Iterable[Verdict]) -> int:
    began, count, bad, tally = time.monotonic(), 0, [], Tally()
    for verdict in verdicts:
        count += 1
        _print(verdict)
        tally.add(verdict)
        if not verdict.is_good:
            bad.append(f"{verdict.seed} ({verdict.mode})")
    took_s = time.monotonic() - began
    print(f"{count} universes in {took_s:.1f} s, {count / took_s:.2f} a second", file=sys.stderr)
    if bad:
        print(f"{len(bad)} of {count} broke a promise: {', '.join(bad)}", file=sys.stderr)
        print('keep one: --replay SEED --mode MODE --keep "COMMIT: NOTE"', file=sys.stderr)
    for shortfall in tally.shortfalls():
        print(f"too little to go by: {shortfall}", file=sys.stderr)
    return 1 if bad or tally.shortfalls() else 0


def _replay(seed: int, mode: Mode, trace: str | None, note: str | None) -> int:
    try:
        opened = _opened(trace)
    except OSError as error:
        print(f"--trace {trace}: {error.strerror}", file=sys.stderr)
        return 2
    with opened as file:
        verdict = run_seed(seed, file, mode)
    _print(verdict)
    if note is not None:
        keep_seed(Kept(seed, mode, note))
    return 0 if verdict.is_good else 1


def _sweep(story: str, jobs: int) -> int:
    began = time.monotonic()
    places = moments(story)
    parts = sweep_all(len(places), jobs, story)
    broken = {kill: found for part in parts for kill, found in part.items()}
    for kill, violations in broken.items():
        print(f"killed {kill}:")
        for violation in violations:
            print(f"  {violation}")
    nodes = {place.split(" at ")[0] for place in places}
    print(
        f"{2 * len(places)} crash points on {len(nodes)} nodes, {len(broken)} broke a promise,"
        f" {time.monotonic() - began:.1f} s"
    )
    return 1 if broken else 0


def _print(verdict: Verdict) -> None:
    faults = sum(verdict.faults.values())
    print(
        f"seed={verdict.seed} mode={verdict.mode} digest={verdict.digest} steps={verdict.steps}"
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
    what.add_argument(
        "--regressions", action="store_true", help="the seeds that once broke a promise"
    )
    what.add_argument(
        "--sweep",
        nargs="?",
        const="commands",
        choices=STORIES,
        help="kill each node at every store call and every fault point of a small story",
    )
    parser.add_argument(
        "--mode",
        choices=[*Mode, "both"],
        default=Mode.SAFETY,
        help="safety: faults everywhere; liveness: some never heal, and all must end in time",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; usually 1")
    parser.add_argument(
        "--trace",
        nargs="?",
        const="-",
        metavar="FILE",
        help="with --replay: every step, segment, call and log line, to FILE or standard output",
    )
    parser.add_argument(
        "--keep", metavar="NOTE", help="with --replay: run the seed before all others from now on"
    )
    return parser


def _opened(trace: str | None) -> contextlib.AbstractContextManager[IO[str] | None]:
    if trace is None or trace == "-":
        return contextlib.nullcontext(sys.stdout if trace else None)
    return Path(trace).open("w")


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        raise argparse.ArgumentTypeError(f"two numbers with a colon are wanted, found {text!r}")
    seeds = range(int(first), int(last))
    if not seeds:
        raise argparse.ArgumentTypeError("no seed lies between the two numbers")
    return seeds


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
