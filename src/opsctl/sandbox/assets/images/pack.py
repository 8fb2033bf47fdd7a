"""Writes a docker-archive of the stack's images to stdout, from the layers in the folder given."""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

SERVICES = {
    "gateway-mcp": 8000,
    "orchestrator": 8001,
    "feature-dev": 8002,
    "code-review": 8003,
    "rag-context": 8007,
    "state-persistence": 8008,
    "agent-registry": 8009,
    "langgraph": 8010,
    "grafana": 3000,
    "loki": 3100,
    "promtail": 9080,
    "oauth2-proxy": 4180,
}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def images() -> dict[str, tuple[list[str], dict[str, object]]]:
    """Tag → layers and run configuration."""
    entry = ["/usr/local/lib/entrypoint.sh"]
    made: dict[str, tuple[list[str], dict[str, object]]] = {
        "devtools/postgres:17": (
            ["base", "postgres"],
            {
                "Env": [f"{PATH}:/usr/lib/postgresql/17/bin", "PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8"],
                "Entrypoint": entry,
                "Cmd": ["postgres"],
                "Volumes": {"/var/lib/postgresql/data": {}},
                "ExposedPorts": {"5432/tcp": {}},
                "StopSignal": "SIGINT",
            },
        ),
        "devtools/redis:8": (
            ["base", "redis"],
            {
                "Env": [PATH],
                "Entrypoint": entry,
                "Cmd": ["redis-server"],
                "Volumes": {"/data": {}},
                "WorkingDir": "/data",
                "ExposedPorts": {"6379/tcp": {}},
            },
        ),
        "devtools/caddy:2": (["base", "caddy"], {"Env": [PATH], "Cmd": ["caddy", "run"], "ExposedPorts": {"80/tcp": {}}}),
        "devtools/prometheus:2": (
            ["base", "prometheus"],
            {"Env": [PATH], "Cmd": ["prometheus"], "WorkingDir": "/data", "ExposedPorts": {"9090/tcp": {}}},
        ),
    }
    for name, port in SERVICES.items():
        made[f"devtools/{name}:1"] = (
            ["base", "service"],
            {
                "Env": [PATH, f"SERVICE_NAME={name}", f"PORT={port}", "PYTHONUNBUFFERED=1"],
                "Cmd": ["python3", "-I", "-u", "/app/service.py"],
                "ExposedPorts": {f"{port}/tcp": {}},
            },
        )
    return made


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(folder: Path, architecture: str) -> None:
    wanted = images()
    layers = {name: digest(folder / f"{name}.tar") for names, _ in wanted.values() for name in names}
    manifest = []
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for name, sha in layers.items():
            archive.add(folder / f"{name}.tar", f"{sha}/layer.tar")
        for tag, (names, config) in wanted.items():
            made = {
                "architecture": architecture,
                "os": "linux",
                "created": "2026-01-01T00:00:00Z",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layers[name]}" for name in names]},
                "history": [{"created": "2026-01-01T00:00:00Z", "created_by": f"packages of {name}"} for name in names],
            }
            data = json.dumps(made, sort_keys=True).encode()
            file = f"{hashlib.sha256(data).hexdigest()}.json"
            add(file, data)
            manifest.append({"Config": file, "RepoTags": [tag], "Layers": [f"{layers[name]}/layer.tar" for name in names]})
        add("manifest.json", json.dumps(manifest).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
