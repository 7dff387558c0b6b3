"""The JavaScript client of the NATS project, @nats-io/obj: a reader of objects that shares no code with us."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import needs

PACKAGES = ("@nats-io/obj@3.4.0", "@nats-io/transport-node@3.4.0")

_READ = """
import { createHash } from "node:crypto";
import { connect } from "@nats-io/transport-node";
import { Objm } from "@nats-io/obj";

const [url, bucket, name] = process.argv.slice(2);
const connection = await connect({ servers: url });
const store = await new Objm(connection).open(bucket, { check: false });
const found = await store.get(name);
const digest = createHash("sha256");
let size = 0;
for await (const piece of found.data) {
  digest.update(piece);
  size += piece.length;
}
const error = await found.error;
if (error) throw error;
console.log(JSON.stringify({ sha256: digest.digest("hex"), size, chunks: found.info.chunks }));
await connection.close();
"""

ReadByJavaScript = Callable[[str, str, str], dict[str, object]]
"""Takes the server's URL, bucket and name; `sha256` and `size` of what was read, and the meta's `chunks`."""


@pytest.fixture(scope="session")
def read_by_javascript(tmp_path_factory: pytest.TempPathFactory) -> ReadByJavaScript:
    """Installs the client, once."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        needs.missing("npm and node are needed to read an object back by the JavaScript client")
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    (folder / "read.js").write_text(_READ)
    options = ("--no-audit", "--no-fund", "--loglevel=error")
    done = subprocess.run([str(npm), "install", *options, *PACKAGES], cwd=folder, capture_output=True, timeout=120)
    if done.returncode:
        needs.missing(f"npm install {' '.join(PACKAGES)} failed: {done.stderr.decode()[-500:]}")

    def read(url: str, bucket: str, name: str) -> dict[str, object]:
        return _run(folder, [str(node), "read.js", url, bucket, name])

    return read


def _run(folder: Path, command: list[str]) -> dict[str, object]:
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found
