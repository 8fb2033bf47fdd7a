"""The second stack of a sandbox: a droplet with Weaviate beside the one with the agents."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.sandbox import procs
from opsctl.sandbox.kinds import Progress
from opsctl.sandbox.locks import locked
from opsctl.sandbox.paths import tools_dir

VERSION = "v1.35.2"
IMAGE = f"devtools/weaviate:{VERSION.removeprefix('v')}"
FOLDER = "/opt/vector"
COMPOSE = f"{FOLDER}/docker-compose.yml"
_MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
_PROGRAM = "weaviate-server"
_BASE = "devtools/redis:8"  # of the droplet's images the smallest that has what the server needs: a C library
_BUILD = 1800.0
_SEND = 300.0
_LOOK = 30.0

_ASK = r"GET /v1/.well-known/ready HTTP/1.0\\r\\n\\r\\n"
_TEXT = f"""\
# The vector node: Weaviate alone, reachable from this droplet and over SSH.
name: vector
services:
  weaviate:
    image: {IMAGE}
    restart: always
    command: [weaviate, --host, 0.0.0.0, --port, "8080", --scheme, http]
    environment:
      AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED: "true"
      PERSISTENCE_DATA_PATH: /data
      DEFAULT_VECTORIZER_MODULE: none
      ENABLE_MODULES: ""
      CLUSTER_HOSTNAME: node1
      PROMETHEUS_MONITORING_ENABLED: "true"
      DISABLE_TELEMETRY: "true"
      GOMEMLIMIT: 700MiB
    ports: ["127.0.0.1:8080:8080", "127.0.0.1:50051:50051", "127.0.0.1:2112:2112"]
    volumes: ["weaviate-data:/data"]
    healthcheck:
      test: ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf '{_ASK}' >&3 && grep -q ' 200 ' <&3"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 60s
    logging: {{driver: json-file, options: {{max-size: 10m, max-file: "3"}}}}
    deploy: {{resources: {{limits: {{memory: 1G}}}}}}
volumes:
  weaviate-data:
"""

_TAKE = f"umask 022; mkdir -p {FOLDER} && cat >{FOLDER}/{_PROGRAM} && chmod 755 {FOLDER}/{_PROGRAM}"
# A container of the base, with the program in it, becomes the image.
_INSTALL = f"""
set -e
umask 022
mkdir -p {FOLDER}
cat >{COMPOSE}
docker image inspect {IMAGE} >/dev/null 2>&1 && exit 0
docker rm -f weaviate-image >/dev/null 2>&1 || true
docker create --name weaviate-image {_BASE} >/dev/null
docker cp -q {FOLDER}/{_PROGRAM} weaviate-image:/usr/local/bin/weaviate
docker commit -c 'ENTRYPOINT []' -c 'CMD ["weaviate"]' weaviate-image {IMAGE} >/dev/null
docker rm -f weaviate-image >/dev/null
rm -f {FOLDER}/{_PROGRAM}
"""


def ready(progress: Progress, cancel: Cancel) -> Path:
    """The server's program, built with Go when it is not in the cache yet. Raises ConfigError where it cannot be."""
    wanted = tools_dir() / f"{_PROGRAM}-{VERSION}"
    if wanted.is_file():
        return wanted
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        raise ConfigError(
            f"the vector stack needs Weaviate {VERSION}, and it cannot be built here",
            why=f"Go is not installed, and there is no {wanted}",
            next=f"install Go (https://go.dev/dl), or put the program of {_MODULE}@{VERSION} there",
            code="sandbox-cannot-build",
        )
    with locked(tools_dir() / "weaviate.lock", "builds Weaviate", progress, cancel):
        if not wanted.is_file():
            _build(go, wanted, progress, cancel)
    return wanted


def _build(go: str, wanted: Path, progress: Progress, cancel: Cancel) -> None:
    progress(f"building Weaviate {VERSION} with Go, once (some minutes; waits for the module proxy)")
    argv = ["env", f"GOBIN={wanted.parent}", go, "install", f"{_MODULE}@{VERSION}"]
    try:
        procs.output(argv, cancel=cancel, timeout=_BUILD)
    except StepFailed as error:
        raise StepFailed(
            f"Weaviate {VERSION} could not be built",
            why=error.info.why[-500:],
            next="opsctl sandbox up --stack vector   (it goes on where it was)",
        ) from None
    (wanted.parent / _PROGRAM).rename(wanted)


def install(ssh: Sequence[str], program: Path, progress: Progress, cancel: Cancel) -> None:
    """Leave compose file and image on the droplet; what is there already is not sent again. Raises StepFailed."""
    known, _, _ = procs.attempt([*ssh, f"docker image inspect {IMAGE}"], cancel=cancel, timeout=_LOOK)
    if known != 0:
        progress(f"sending Weaviate {VERSION} to the vector droplet")
        procs.output([*ssh, _TAKE], stdin=program, cancel=cancel, timeout=_SEND)
    procs.output([*ssh, _INSTALL], stdin=_TEXT.encode(), cancel=cancel, timeout=_SEND)
