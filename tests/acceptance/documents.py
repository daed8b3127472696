"""Code blocks of the documents, made into programs that a test can run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import BINARY, ROOT

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# The ports of region k in the documents, which all speak of the default ones.
DEFAULT_PORT = re.compile(r"127\.0\.0\.1:8([012])(0[0-5])\b")
# What the commands need besides the binary.
CLIENTS = ["aws", "jq"]


def need_clients():
    """Skips without the AWS CLI and jq, unless they must be there."""
    missing = [client for client in CLIENTS if shutil.which(client) is None]
    if not missing:
        return
    message = f"{', '.join(missing)} missing; `pip install awscli`, or on Debian: apt install awscli jq"
    assert os.environ.get("MERIDIAN_REQUIRE_CLIENTS") != "1", message
    pytest.skip(f"NOTICE: {message}; the documents' commands were not run")


def blocks(document: str) -> list:
    """The shell and Python blocks of a document, in order: (language, text)."""
    found = FENCE.findall((ROOT / document).read_text())
    return [(language, text) for language, text in found if language in ("sh", "python")]


def block_with(document: str, words: str) -> tuple:
    """The one block that contains the words."""
    [found] = [block for block in blocks(document) if words in block[1]]
    return found


def script(parts, base_port: int) -> str:
    """One shell script of the blocks, each announced by a line `== NUMBER`, with the ports of a cluster at `base_port`."""
    lines = ["set -euo pipefail"]
    for number, (language, text) in enumerate(parts):
        text = DEFAULT_PORT.sub(lambda port: f"127.0.0.1:{base_port + 100 * int(port[1]) + int(port[2])}", text)
        if language == "python":
            text = f"{shlex.quote(sys.executable)} - <<'END_OF_PYTHON'\n{text}END_OF_PYTHON"
        lines += [f"echo '== {number}'", text]
    return "\n".join(lines) + "\n"


def clone(folder: Path, cluster=None) -> Path:
    """A folder in which the documents' paths lead to the binary under test, and to the cluster if one runs already."""
    (folder / "target/release").mkdir(parents=True)
    (folder / "target/release/meridian").symlink_to(Path(BINARY).resolve())
    if cluster is not None:
        (folder / "meridian-dev").symlink_to(cluster.folder, target_is_directory=True)
    return folder


def run(parts, base_port: int, folder: Path, timeout=300) -> list:
    """Runs the blocks as one script in `folder`; what each of them printed."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MERIDIAN_", "AWS_"))
    }
    # Neither the configuration of a person nor a pager.
    quiet = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": ""}
    done = subprocess.run(
        ["bash", "-c", script(parts, base_port)],
        cwd=folder, env={**environment, **quiet}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return re.split(r"^== \d+\n", done.stdout, flags=re.MULTILINE)[1:]
