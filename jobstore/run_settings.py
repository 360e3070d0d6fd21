"""What a run keeps of its pipeline beyond its jobs and stages, for those who go on from it."""

from pydantic import Field, JsonValue

from shared.protocol.base import Document
from shared.protocol.pipeline import (
    InheritEnv,
    Name,
    NotifySpec,
    PipelineSpec,
    ScheduleSpec,
    SecuritySpec,
    Text,
)


class RunSettings(Document):
    """The same fields as in `PipelineSpec`; what is as usual takes no room."""

    params: dict[Name, JsonValue] = Field(default_factory=dict)
    inherit_env: InheritEnv | None = None
    plugins: tuple[Text, ...] = ()
    security: SecuritySpec | None = None
    notify: NotifySpec | None = None
    schedule: ScheduleSpec | None = None


def settings_of(pipeline: PipelineSpec) -> str:
    """As JSON; `{}` for a pipeline that says nothing of all this."""
    kept = RunSettings(**{name: getattr(pipeline, name) for name in RunSettings.model_fields})
    return kept.model_dump_json(exclude_defaults=True)


NONE = RunSettings()


def read_settings(text: str) -> RunSettings:
    return NONE if text == "{}" else RunSettings.model_validate_json(text)
