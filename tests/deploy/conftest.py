"""What the tests of this folder find in place."""

from tests.deploy.played import podman

__all__ = ["podman"]
