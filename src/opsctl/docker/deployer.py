"""The engine of a droplet, with what a deploy needs beyond starting and stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsctl.docker import deploy_scripts
from opsctl.docker.compose import ComposeCall
from opsctl.docker.engine import DockerEngine
from opsctl.docker.release_list import parse_releases
from opsctl.docker.survey import parse_survey, survey_script, tar, text_of
from opsctl.model.cancel import Cancel
from opsctl.model.deploy import Bundle, Checkout, HalfMade, Release, Source, Survey
from opsctl.model.operate import DropletFacts
from opsctl.model.ports import Script

_KEPT = 5  # releases
_SURVEY = 240.0  # s; a fetch from a slow git server is part of it


class DockerDeployer(DockerEngine):
    """Implements the Deployer port over a Shell."""

    _known: DropletFacts | None = None

    def facts(self, *, cancel: Cancel) -> DropletFacts:
        """As DockerEngine.facts; after a survey, what that read."""
        return self._known or super().facts(cancel=cancel)

    def survey(self, source: Source, *, cancel: Cancel) -> Survey:
        """Read the droplet as it is and as it will be; changes nothing. Raises as `facts`, and StepFailed."""
        droplet = self._droplet
        call = ComposeCall(droplet.compose, droplet.env_file, droplet.project or "", "")
        script = survey_script(droplet, source, call, state_dir=self._state_dir)
        answer = self._shell.run(script, cancel=cancel, timeout=_SURVEY)
        survey, self._call = parse_survey(droplet, source, answer.text)
        self._known = survey.facts
        self._rootless = survey.facts.engine.rootless
        return survey

    def _with_releases(self, text: str, *args: str, stdin: bytes | None = None) -> Script:
        return Script(
            deploy_scripts.HEAD + text_of("releases.sh") + text, (self._socket, self._state_dir, *args), stdin=stdin
        )

    def _words(self) -> tuple[str, ...]:
        words = self._compose.arguments()
        return (self._compose.project, str(len(words)), *words)

    def keep_release(self, release: str, files: Sequence[tuple[str, str]], *, meta: str, adopt: bool) -> Script:
        """As Deployer.keep_release. What is kept is pinned by tags, and what is too old goes."""
        pairs = [word for pair in files for word in pair]
        head = (release, meta if adopt else "", str(_KEPT))
        return self._with_releases(deploy_scripts.KEEP, *head, *self._words(), *pairs)

    def begin_release(self, release: str, *, meta: str) -> Script:
        """As Deployer.begin_release."""
        return self._with_releases(deploy_scripts.BEGIN, release, meta)

    def begin_rollback(self, release: str, restart: Sequence[str]) -> Script:
        """As Deployer.begin_rollback."""
        return self._with_releases('release_back "$state" "$*"\n', release, *restart)

    def put_files(self, bundle: Bundle, olds: Mapping[str, str]) -> Script:
        """As Deployer.put_files."""
        triples = [word for path, (_, mode) in bundle.files.items() for word in (path, olds.get(path, ""), f"{mode:o}")]
        return self._with_releases(deploy_scripts.PUT, *triples, stdin=tar(bundle))

    def put_release(self, release: str, kinds: Sequence[str], paths: Sequence[str]) -> Script:
        """As Deployer.put_release."""
        return self._with_releases(deploy_scripts.PUT_BACK, release, ",".join(kinds), *paths)

    def checkout(self, checkout: Checkout, ref: str, ours: Sequence[str]) -> Script:
        """As Deployer.checkout."""
        args = (checkout.top, checkout.now, checkout.commit, checkout.remote, ref, *ours)
        return self._with_releases(deploy_scripts.CHECKOUT, *args)

    def tidy(self, half: HalfMade) -> Script:
        """As Deployer.tidy."""
        renames = [word for pair in half.renames for word in pair]
        return self._with_releases(deploy_scripts.TIDY, *renames, "--", *[ident for _, ident in half.removes])

    def recreate(self, services: Sequence[str]) -> Script:
        """As Deployer.recreate."""
        return self._with_releases(deploy_scripts.RECREATE, *self._words(), *services)

    def fetch_images(self, verb: str, services: Sequence[str]) -> Script:
        """As Deployer.fetch_images."""
        return self._with_releases(deploy_scripts.FETCH, verb, *self._words(), *services)

    def retag(self, images: Sequence[tuple[str, str]]) -> Script:
        """As Deployer.retag."""
        return self._with_releases(deploy_scripts.RETAG, *[word for pair in images for word in pair])

    def list_releases(self) -> Script:
        """As Deployer.list_releases."""
        return self._with_releases('releases_list "$state"\nexit 0\n')

    def parse_releases(self, output: str) -> tuple[Release, ...]:
        """As Deployer.parse_releases."""
        return parse_releases(output)

    def emptiness(self, places: Sequence[str]) -> Script:
        """As Deployer.emptiness."""
        return self._with_releases(deploy_scripts.EMPTY, *places)
