"""`opsctl memory report`: against docker stats, with few and many containers, and run on the droplet itself."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from droplet import BENCH, Droplet
from series import Contestant, Progress, Section, Series, Target, in_turn
from shelling import DidNotRun, run, timed
from startup import OPSCTL

THERE = "/var/tmp/opsctl-bench"
NEEDED = ("typer", "rich", "pydantic", "ruamel.yaml")
FEW, MANY = 5, 50
WITHOUT, WITH = "report -d local", "report, stack file"


def report(droplet: Droplet) -> float:
    """Seconds of one report over a connection of its own."""
    return timed([OPSCTL, "memory", "report", "--stack", str(droplet.stack_file), "-d", droplet.name])


def docker_stats(droplet: Droplet) -> float:
    """Seconds of what people type today, over a connection of its own."""
    return timed(["ssh", "-F", str(droplet.ssh_config), "droplet", "docker", "stats", "--no-stream"])


def against_stats(droplet: Droplet, rounds: int, progress: Progress) -> Section:
    """One report of the running stack, and `docker stats` for the same containers."""
    connect = ["ssh", "-F", str(droplet.ssh_config), "droplet", "true"]
    contestants = (
        Contestant("opsctl", lambda: report(droplet)),
        Contestant("docker stats", lambda: docker_stats(droplet)),
        Contestant("ssh true", lambda: timed(connect)),
    )
    series = in_turn(contestants, rounds, progress)
    count = len([each for each in droplet.seen().values() if each.running])
    return Section(
        "memory",
        f"memory report of {count} containers over a fresh connection",
        "s",
        series,
        (Target("opsctl", 0.5, "docker stats", words="at most half of docker stats"),),
        ("docker stats: ssh host docker stats --no-stream; ssh true: the connection alone, OpenSSH",),
        series.failed,
    )


def few_and_many(droplet: Droplet, rounds: int, progress: Progress) -> Section:
    """The same report with 5 and with 50 containers on the droplet, and no others; in blocks, few many few many."""
    figures: dict[int, list[float]] = {FEW: [], MANY: []}
    try:
        droplet.remove_all()
        for count in (FEW, MANY, FEW, MANY):
            progress(f"{count} small containers")
            _populate(droplet, count)
            report(droplet)
            series = in_turn([Contestant(_of(count), lambda: report(droplet))], rounds, progress)
            if series.failed:
                raise DidNotRun(series.failed[_of(count)])
            figures[count].extend(series[_of(count)].values)
    finally:
        droplet.remove_all()
    return Section(
        "memory-scale",
        "memory report of 5 and of 50 containers",
        "s",
        {_of(count): Series(_of(count), tuple(values)) for count, values in figures.items()},
        (Target(_of(MANY), 1.5, _of(FEW), words="50 containers at most 1.5 × 5"),),
        ("containers that sleep, no other on the droplet; two blocks of each",),
    )


def _of(count: int) -> str:
    return f"report of {count}"


def _populate(droplet: Droplet, count: int) -> None:
    """Leave exactly the small containers 1 to `count`, running."""
    droplet.sh(
        f"""set -e
        image=$(docker images -q devtools/redis | head -1)
        for n in $(seq {count + 1} {MANY}); do echo bench-small-$n; done | xargs -r docker rm -f >/dev/null 2>&1 || true
        have=$(docker ps -q --filter name=bench-small- | wc -l)
        for n in $(seq $((have + 1)) {count}); do
            docker run -d --name bench-small-$n --network none --memory 16m --entrypoint sleep \\
                "$image" infinity >/dev/null
        done
        [ "$(docker ps -aq | wc -l)" = {count} ]""",
        timeout=600,
    )


def on_the_droplet(droplet: Droplet, rounds: int, progress: Progress) -> Section:
    """Peak memory of a report that runs on the droplet itself, with the droplet's own Python."""
    try:
        _carry(droplet, progress)
        command = f"cd {THERE} && PYTHONPATH={THERE}/lib python3 rss.py"
        own = f"{command} python3 -m opsctl memory report"

        def peak(words: str) -> Contestant:
            measured = f"set -o pipefail; {commands[words]} 2>&1 >/dev/null | tail -n 3"
            return Contestant(words, lambda: _bytes(droplet.sh(measured)))

        commands = {
            WITHOUT: f"{own} -d local",
            WITH: f"{own} --stack stack.yaml",
            "bare Python there": f"{command} python3 -c pass",
        }
        contestants = [peak(words) for words in commands]
        series = in_turn(contestants, rounds, progress)
    finally:
        droplet.sh(f"rm -rf {THERE}")
    return Section(
        "memory-droplet",
        "peak memory of a report on the droplet itself",
        "bytes",
        series,
        (
            Target(WITHOUT, 45e6, words="at most 45 MB"),
            Target(WITH, 45e6, words="at most 45 MB, with a stack file to read"),
        ),
        ("the largest process of the tree (RUSAGE_CHILDREN); byte-compiled beforehand, as an installer does",),
        series.failed,
    )


def _bytes(answer: str) -> float:
    """What rss.py said; DidNotRun when that was something else."""
    last = answer.strip().rpartition("\n")[2]
    if not last.isdigit():
        raise DidNotRun(f"no report on the droplet: {answer[-500:]}")
    return float(last)


def _carry(droplet: Droplet, progress: Progress) -> None:
    """Bring opsctl and what it needs there, built for the droplet's Python: the droplet needs no network."""
    version = droplet.sh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").strip()
    progress(f"carrying opsctl to the droplet, for its Python {version}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        platforms = [f"--platform=manylinux{each}_x86_64" for each in ("2014", "_2_17", "_2_28")]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
        chosen = ["--target", folder, "--python-version", version, "--only-binary=:all:", *platforms]
        run([*pip, *chosen, *_closure(NEEDED)], timeout=600)
        package = ["tar", "-C", str(BENCH.parent / "src"), "--exclude", "__pycache__", "-cf", "-", "opsctl"]
        subprocess.run(f"{' '.join(package)} | tar -C {folder} -xf -", shell=True, check=True)
        Path(folder, "rss.py").write_text((BENCH / "rss.py").read_text())
        Path(folder, "stack.yaml").write_text(_local_stack(droplet))
        there = f"rm -rf {THERE} && mkdir -p {THERE}/lib && cd {THERE}/lib && tar -xf - && mv rss.py stack.yaml .."
        into = f"ssh -F {droplet.ssh_config} droplet '{there}'"
        subprocess.run(f"tar -C {folder} -cf - . | {into}", shell=True, check=True)
    droplet.sh(f"python3 -m compileall -q -j 2 {THERE}/lib")


def _local_stack(droplet: Droplet) -> str:
    """The sandbox's stack file as it would stand on the droplet itself."""
    text = re.sub(r"(?m)^( +)address: .*$", r"\1address: local", droplet.stack_file.read_text())
    return re.sub(r"(?m)^ +(key|known_hosts): .*\n", "", text)


def _closure(names: tuple[str, ...]) -> list[str]:
    """These distributions and what they require here, pinned to what is installed here."""
    found: dict[str, str] = {}
    wanted = list(names)
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in importlib.metadata.requires(name) or []:
            if "extra ==" not in requirement:
                wanted.append(re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0])
    return [f"{name}=={version}" for name, version in sorted(found.items())]
