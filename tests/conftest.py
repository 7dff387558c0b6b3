"""What every test finds in place."""

import hypothesis

pytest_plugins = ["tests.support.server", "tests.support.daemon", "tests.support.matrix", "tests.support.network"]

# A busy machine is not a wrong answer: pytest's own timeout catches what hangs.
hypothesis.settings.register_profile("syncdaemon", deadline=None)
hypothesis.settings.load_profile("syncdaemon")
