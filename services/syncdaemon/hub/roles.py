"""What one party needs of the server that it logs in to, as nats-server configuration. Pure.

Between two sites only their accounts separate. Inside one account these permissions keep the harm of a stolen login
small.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncdaemon.hub.accounts import AUDITOR, WORKER, Layout, shares, site_account
from syncdaemon.hub.site_list import HubSite

ROLES = ("site", "worker", "auditor", "leaf")
_ANSWERS = ("_INBOX.>",)


def role_conf(role: str, site: str, layout: Layout, sites: Sequence[HubSite] = ()) -> str:
    """The rights of a direct `site`, of the workers or the auditor of these `sites`, or the leaf node of a `site`."""
    if role == "leaf":
        return _leaf(site, layout)
    known = [HubSite(site)] if role == "site" else sites
    account = {"site": site_account(site), "worker": WORKER, "auditor": AUDITOR}[role]
    allowed = [share.subject for share in shares(known, layout) if share.importer == account and not share.stream]
    lines = [
        f"# Printed by `syncdaemon permissions --role {role}`: for the user in the account {account}.",
        "permissions {",
        "  publish { allow: [",
        *(f'    "{subject}"' for subject in dict.fromkeys(allowed)),
        "  ] }",
        f'  subscribe {{ allow: ["{_ANSWERS[0]}"] }}',
        "}",
        "",
    ]
    return "\n".join(lines)


def _leaf(site: str, layout: Layout) -> str:
    """The site's own server. Without `deny_exports` a message also goes to the hub at once, beside the hub's source."""
    messages = layout.subject.split("{", 1)[0]
    return f"""# Printed by `syncdaemon permissions --role leaf`: for the site's own nats-server.
jetstream {{
  include "jetstream.conf"  # store_dir, max_file_store
  domain: "{site}"
}}
leafnodes {{
  remotes: [
    {{
      include "hub.conf"  # url, and credentials or nkey, or tls
      deny_exports: ["{messages}>", "$O.>"]
    }}
  ]
}}
"""
