"""What `--push` names, read from this machine: bounded, mended, with the modes it shall have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from opsctl.jobs.call import Call
from opsctl.jobs.env_files import text_of
from opsctl.jobs.env_text import names
from opsctl.model.deploy import Bundle, Source, StagedFile
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.stack import Droplet
from opsctl.model.units import show_size

MAX_FILES = 500
MAX_FILE = 2_000_000  # bytes
MAX_ALL = 16_000_000
_SKIP = {".git", "__pycache__", "node_modules", ".venv", ".DS_Store"}
_SECRET_WORDS = ("secret", "token", "password", "credential")
_SECRET_ENDS = (".env", ".pem", ".key", ".p12", ".pfx")


def in_place(folder: str) -> Source:
    """What lies on the droplet already."""
    return Source("place", folder)


def pushed(what: Path, folder: str, compose: tuple[str, ...]) -> Source:
    """The files of a folder, or one file, to go beside the droplet's compose file.

    Raises UsageError for what is not there, ConfigError for what is too large.
    """
    if not what.exists():
        raise UsageError(f"--push: {what} is not there", next="opsctl deploy --push FOLDER_OR_FILE")
    left: list[str] = []
    if what.is_dir():
        pairs = [(path, f"{folder}/{path.relative_to(what).as_posix()}") for path in _walk(what, what, left)]
    else:
        pairs = [(what, _target(what, folder, compose))]
    if not pairs:
        raise UsageError(f"--push: there is no file in {what}", next="name the folder that holds the compose file")
    _bounded(what, [path for path, _ in pairs])
    files: dict[str, tuple[bytes, int]] = {}
    mended: list[str] = []
    for path, target in pairs:
        data = path.read_bytes()
        if b"\r\n" in data and b"\0" not in data:
            data = data.replace(b"\r\n", b"\n")
            mended.append(path.name)
        files[target] = (data, _mode(path))
    return Source("push", folder, Bundle(files, tuple(mended), tuple(left), str(what)))


def folder_of(droplet: Droplet, into: str, known: tuple[str, ...]) -> str:
    """The folder on the droplet that pushed files go to. Raises ConfigError where none is known."""
    files = droplet.compose or known
    if into:
        if not into.startswith("/"):
            raise UsageError(f"--into: {into} is not a whole path", next="--into /opt/stack/deploy")
        return into.rstrip("/")
    if not files:
        raise ConfigError(
            f"no compose file is known for {droplet.name}",
            why="the stack file names none, and no container there belongs to a compose project",
            next=f"add `compose: /path/to/docker-compose.yml` to droplet {droplet.name} in the stack file",
        )
    return str(PurePosixPath(files[0]).parent)


def _walk(top: Path, folder: Path, left: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _SKIP:
            continue
        if path.is_symlink():
            left.append(f"{path.relative_to(top)} (a symbolic link)")
        elif path.is_dir():
            yield from _walk(top, path, left)
        elif path.is_file():
            yield path


def _target(what: Path, folder: str, compose: tuple[str, ...]) -> str:
    """One file goes where a file of its name is; a compose file under another name replaces the only one."""
    for path in compose:
        if PurePosixPath(path).name == what.name:
            return path
    if len(compose) == 1 and what.suffix in (".yml", ".yaml") and "compose" in what.name:
        return compose[0]
    return f"{folder}/{what.name}"


def _bounded(what: Path, files: list[Path]) -> None:
    if len(files) > MAX_FILES:
        raise ConfigError(
            f"{what} holds {len(files)} files, more than the {MAX_FILES} that a deploy pushes",
            why="a deploy brings compose and configuration, not a whole source tree",
            next="name the folder that holds the compose file, or use --ref",
        )
    sizes = [(path.stat().st_size, path) for path in files]
    size, path = max(sizes)
    if size > MAX_FILE or sum(each for each, _ in sizes) > MAX_ALL:
        raise ConfigError(
            f"{path} has {show_size(size)}, all files {show_size(sum(each for each, _ in sizes))}",
            why=f"a deploy pushes at most {show_size(MAX_FILE)} a file and {show_size(MAX_ALL)} in all",
            next="name the folder that holds the compose file, or use --ref",
        )


def _mode(path: Path) -> int:
    """0600 for what may hold secrets, 0755 for programs, 0 for "as the one that is there"."""
    name = path.name.lower()
    secret = name.startswith(".env") or name.endswith(_SECRET_ENDS) or any(word in name for word in _SECRET_WORDS)
    if secret:
        return 0o600
    return 0o755 if path.stat().st_mode & 0o100 else 0


def lost_names(call: Call, source: Source) -> list[StagedFile]:
    """The pushed env files that lack variables which the droplet's have."""
    found = []
    for path, (data, _) in (source.bundle.files if source.bundle else {}).items():
        if path.endswith(".env"):
            left = names(data.decode(errors="replace"))
            gone = tuple(name for name in names(text_of(call, path)) if name not in left)
            found.append(StagedFile(path, "", "", "", removed=gone))
    return found


def told_here(error: ConfigError, source: Source) -> ConfigError:
    """What compose says of files that are not on the droplet yet, with where those are."""
    path, bundle = error.info.path or "", source.bundle
    if source.kind == "ref" and path:
        next_ = f"on the droplet: git -C {source.folder} show {source.ref}:./{PurePosixPath(path).name}"
        return ConfigError(f"compose rejects the file of {source.ref}", why=error.info.why, next=next_, path=path)
    if bundle is None or path not in bundle.files:
        return error
    local = Path(bundle.origin)
    local = local / PurePosixPath(path).relative_to(source.folder) if local.is_dir() else local
    return ConfigError(
        "compose rejects the file that is pushed",
        why=error.info.why,
        next=f"docker compose -f {local} config -q",
        path=str(local),
    )
