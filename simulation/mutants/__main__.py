"""`python -m simulation.mutants`: plants bugs one by one; exit 1 when one was not caught."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from simulation.leaving import exit_code
from simulation.mutants.catalogue import MUTANTS, says
from simulation.mutants.hunt import MOST_SEEDS, hunt_quietly


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    names = arguments.names or list(MUTANTS)
    unknown = [name for name in names if name not in MUTANTS]
    if unknown:
        parser.error(f"no planted bug is called {unknown[0]!r}: --list names them")
    if arguments.list:
        for name in names:
            print(f"{name}: {says(name)}")
        return 0
    seeds = range(arguments.seeds)
    hiding = []
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        hunts = [pool.submit(hunt_quietly, name, seeds, sweeps=arguments.sweep) for name in names]
        for found in as_completed(hunts):
            caught = found.result()
            print(caught, flush=True)
            if caught.where is None:
                hiding.append(caught.name)
    if hiding:
        print(f"{len(hiding)} of {len(names)} were not caught: {hiding}", file=sys.stderr)
    return 1 if hiding else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulation.mutants",
        description="Plant bugs in the services, and see at which seed each is caught.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="the bugs; without names: all")
    parser.add_argument("--list", action="store_true", help="say what they are, plant none")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at a time")
    parser.add_argument(
        "--seeds", type=int, default=MOST_SEEDS, metavar="N", help="the most for each"
    )
    parser.add_argument(
        "--no-sweep", dest="sweep", action="store_false", help="seeds only, and no crash points"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
