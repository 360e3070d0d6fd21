"""What `run --dry-run` prints: the layers of jobs, and the command of each."""

from drawbar.cli.render.objects import write_json
from drawbar.cli.render.words import count, printable
from drawbar.document.graph import layers
from shared.protocol.pipeline import JobSpec, PipelineSpec


def print_plan(spec: PipelineSpec, *, as_json: bool) -> None:
    """Jobs of one layer can run side by side; each layer waits for the one before."""
    ranks = layers(spec)
    if as_json:
        write_json(
            {
                "name": spec.name,
                "max_workers": spec.max_workers,
                "layers": [[_plain(job) for job in rank] for rank in ranks],
            }
        )
        return
    limit = "" if spec.max_workers is None else f", at most {spec.max_workers} at a time"
    lines = [
        f"{printable(spec.name)}: {count(len(spec.jobs), 'job')} in "
        f"{count(len(ranks), 'layer')}{limit}; nothing is run"
    ]
    for number, rank in enumerate(ranks, start=1):
        stage = f"  stage {printable(rank[0].stage)}" if rank[0].stage else ""
        lines += ["", f"layer {number}{stage}"]
        for job in rank:
            needs = f"  ← {', '.join(map(printable, job.needs))}" if job.needs else ""
            lines.append(f"  {printable(job.id)}{needs}")
            lines += [f"      {printable(line)}" for line in _command(job)]
    print("\n".join(lines))  # noqa: T201  # this is the output


def _plain(job: JobSpec) -> dict[str, object]:
    return job.model_dump(
        mode="json", include={"id", "stage", "needs", "command", "script", "argv"}
    )


def _command(job: JobSpec) -> list[str]:
    """The lines that are run."""
    if job.argv:
        import shlex

        return [shlex.join(job.argv)]
    if job.script:
        return [line for block in job.script for line in block.rstrip("\n").split("\n")]
    return (job.command or "").rstrip("\n").split("\n")
