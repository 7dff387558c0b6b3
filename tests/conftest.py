"""What every test finds in place."""

import hypothesis

pytest_plugins = [
    f"tests.support.{name}"
    for name in (
        "certificates",
        "clock",
        "daemon",
        "javascript",
        "matrix",
        "network",
        "receiver",
        "relay",
        "replay",
        "server",
        "shell",
        "users",
    )
]

# A busy machine is not a wrong answer: pytest's own timeout catches what hangs.
hypothesis.settings.register_profile(
    "syncdaemon", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("syncdaemon")
