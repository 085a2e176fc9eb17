"""Settings of the whole suite."""

from hypothesis import HealthCheck, settings

# The same examples every time, and no verdict about speed: a busy machine is no reason to fail.
settings.register_profile(
    "gossamer", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gossamer")
