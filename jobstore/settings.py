"""What an operator may set of the job service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobStoreSettings:
    """Times and bounds. The lease is 15 heartbeats long: one may be late without harm."""

    lease_s: float = 30.0
    heartbeat_s: float = 2.0
    start_ttl_s: float = 15.0
    rest_s: float = 10.0  # a refused job is not offered to the same worker again so soon
    max_lost: int = 3
    max_log_bytes: int = 4 << 30
    max_artifact_bytes: int = 16 << 30
    keep_s: float | None = None  # ended runs that are older are pruned; None: none is

    @classmethod
    def scaled_to(cls, lease_s: float) -> "JobStoreSettings":
        """A lease of `lease_s`, and every other time in its usual proportion to it."""
        usual = cls()
        scale = lease_s / usual.lease_s
        return cls(
            lease_s=lease_s,
            heartbeat_s=usual.heartbeat_s * scale,
            start_ttl_s=usual.start_ttl_s * scale,
            rest_s=usual.rest_s * scale,
        )
