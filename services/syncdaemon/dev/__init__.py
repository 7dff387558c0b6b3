"""A server and a site on a developer's machine."""
