"""What every test finds in place."""

import signal

import hypothesis

pytest_plugins = [
    f"tests.support.{name}"
    for name in (
        "certificates",
        "cgroup",
        "clock",
        "daemon",
        "javascript",
        "matrix",
        "network",
        "receiver",
        "relay",
        "replay",
        "server",
        "hub",
        "shell",
        "users",
    )
]

# A busy machine is not a wrong answer: pytest's own timeout catches what hangs.
hypothesis.settings.register_profile(
    "syncdaemon", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("syncdaemon")

# A shell starts what runs in its background, or under nohup, with these signals ignored, and a child inherits that.
for number, handler in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
