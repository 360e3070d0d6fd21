"""The pipelines that are measured. Every job is a process: `sh -c true`, unless it says more."""

from pathlib import Path

from shared.protocol.pipeline import JobSpec, PipelineSpec

TRUE = "true"


def stamping(sample: int, fifo: Path) -> PipelineSpec:
    """One job that says that it has started. The write is the shell's own: nothing is forked."""
    return PipelineSpec(
        name="stamp", jobs=(JobSpec(id="stamp", command=f"echo {sample} > {fifo}"),)
    )


def independent(jobs: int) -> PipelineSpec:
    """Jobs that wait for nothing."""
    return PipelineSpec(
        name="independent", jobs=tuple(JobSpec(id=f"j{n}", command=TRUE) for n in range(jobs))
    )


def chain(hops: int) -> PipelineSpec:
    """Each job needs the one before it."""
    return PipelineSpec(
        name="chain",
        jobs=tuple(
            JobSpec(id=f"j{n}", command=TRUE, needs=(f"j{n - 1}",) if n else ())
            for n in range(hops)
        ),
    )


def layered(layers: int, width: int) -> PipelineSpec:
    """Each job needs two of the layer before its own."""
    return PipelineSpec(
        name="layered",
        jobs=tuple(
            JobSpec(id=f"l{y}j{x}", command=TRUE, needs=tuple(needs_of(y, x, width)))
            for y in range(layers)
            for x in range(width)
        ),
    )


def needs_of(layer: int, place: int, width: int) -> list[str]:
    """Two neighbours of the layer before; none in the first layer."""
    if layer == 0:
        return []
    return [f"l{layer - 1}j{place}", f"l{layer - 1}j{(place + 1) % width}"]
