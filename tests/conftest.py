"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A machine that is busy with something else makes no test fail: time is measured by benchmarks.
settings.register_profile("drawbar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("drawbar")
