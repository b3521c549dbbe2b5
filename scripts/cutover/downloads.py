"""The command `cutover downloads`: certificates fetched through the application, as its customers fetch them."""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover import settings
from cutover.arguments import natural, positive
from cutover.exit_codes import ExitCode
from cutover.http_client import HttpClient, NoAnswerError
from cutover.settings import SettingsError
from cutover.site_account import CERTIFICATES, SIGN_IN, VERIFY, SiteError, given_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.catalogue import Catalogue, Certificate

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

TIMEOUT_SECONDS = 30  # to connect and for each read; a customer's browser is not answered later by nginx
KINDS = ("migrated", "unmigrated")


@dataclass
class Counts:
    """Downloads of one kind: those that were asked for, with the issued bytes, with 404, and with anything else."""

    asked: int = 0
    equal: int = 0
    not_found: int = 0
    failed: int = 0
    slowest_ms: float | None = None


@dataclass(frozen=True)
class Failure:
    """A download that gave no certificate, or another's bytes; no status if there was no answer."""

    certificate_id: int
    status: int | None
    detail: str


@dataclass
class Downloads:
    """All downloads of a run; `wanted` are the kinds of which there must be one, `ids` all that were asked for."""

    wanted: frozenset[str]
    counts: dict[str, Counts] = field(default_factory=lambda: {kind: Counts() for kind in KINDS})
    failures: list[Failure] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    def add(self, row: Certificate, milliseconds: float | None, failure: Failure | None) -> None:
        """Counts a download; without an answer it took no time."""
        counts = self.counts[_kind(row)]
        counts.asked += 1
        self.ids.append(row.id)
        if milliseconds is not None:
            counts.slowest_ms = max(counts.slowest_ms or 0.0, milliseconds)
        if failure is None:
            counts.equal += 1
            return
        self.failures.append(failure)
        if failure.status == HTTPStatus.NOT_FOUND:
            counts.not_found += 1
        else:
            counts.failed += 1

    @property
    def verdict(self) -> ExitCode:
        """FAILED as soon as one failed; INCONCLUSIVE if of a wanted kind there was no row."""
        if self.failures:
            return ExitCode.FAILED
        asked = [self.counts[kind].asked for kind in self.wanted]
        return ExitCode.DONE if asked and all(asked) else ExitCode.INCONCLUSIVE

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        counts = {kind: asdict(counted) for kind, counted in self.counts.items()}
        return {**counts, "ids": self.ids, "failures": [asdict(failure) for failure in self.failures]}

    def lines(self) -> Iterator[str]:
        """The same for people."""
        for kind, counts in self.counts.items():
            slowest = "" if counts.slowest_ms is None else f", the slowest in {counts.slowest_ms:g} ms"
            yield f"{kind}: {counts.equal} of {counts.asked} downloads have the issued bytes{slowest}"
        for failure in self.failures:
            yield f"  certificate {failure.certificate_id}: {failure.detail}"
        if self.verdict is ExitCode.INCONCLUSIVE:
            yield "nothing to look at: the table has no such certificate that could be downloaded"


def register(commands: Subparsers) -> None:
    """Adds `downloads` to the parser of `cutover`."""
    parser = commands.add_parser(
        "downloads",
        help="download certificates through the application, and compare them with what was issued",
        description="Signs in with the account that standard input names as JSON (user, password), downloads the PDF "
        "of certain certificates, or of some by chance that are not revoked, and compares the SHA-256 with "
        "certificate_hash. Redirects are followed. The application counts each download. Exit 0: all have the issued "
        "bytes; 1: some have not; 2: usage or settings; 3: no row of a kind that was asked for; 4: the site let nobody "
        "in, or the database could not be read.",
        epilog="example: cutover downloads --env-file /etc/deltacrown/staging.env --site https://staging.deltacrown "
        "--migrated 10 --unmigrated 10 < account.json",
    )
    parser.add_argument("--site", type=_site, required=True, metavar="URL", help="where customers reach it")
    parser.add_argument("--migrated", type=natural, metavar="N", help="so many that are marked as migrated")
    parser.add_argument("--unmigrated", type=natural, metavar="N", help="so many that are not")
    parser.add_argument(
        "--certificate-id", type=positive, nargs="+", action="extend", metavar="ID", help="these, instead"
    )
    parser.add_argument(
        "--verification", action="store_true", help="also ask the public verification page, which reads the PDF itself"
    )
    parser.add_argument("--seed", type=natural, metavar="S", help="draw what this number drew before")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="the application's environment file")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    by_chance = options.migrated is not None or options.unmigrated is not None
    if by_chance == (options.certificate_id is not None):
        raise SettingsError("say which certificates: --migrated N and --unmigrated N, or --certificate-id ID")
    values, account = settings.load(options.env_file), given_fields("user", "password")
    # psycopg takes a tenth of a second to import, which the other commands need not pay.
    from cutover.catalogue import Catalogue  # noqa: PLC0415

    with Catalogue(values, read_only=True) as catalogue:
        rows, found = _rows(options, catalogue)
        codes = catalogue.verification_codes([row.id for row in rows]) if options.verification else {}
        client = HttpClient(TIMEOUT_SECONDS)
        if rows:
            _sign_in(client, options.site, str(account["user"]), str(account["password"]))
        for row in rows:
            milliseconds, failure = _download(client, options.site, row)
            if failure is None and options.verification:
                failure = _unverified(client, options.site, row, codes[row.id])
            if failure is None or not by_chance or _is_unchanged(row, catalogue):
                found.add(row, milliseconds, failure)
    print(json.dumps(found.document()) if options.json else "\n".join(found.lines()))
    return found.verdict


def _rows(options: argparse.Namespace, catalogue: Catalogue) -> tuple[list[Certificate], Downloads]:
    """The rows whose PDFs are downloaded, and the empty result for them."""
    from cutover.catalogue import Selection  # noqa: PLC0415 (as in _run)

    if options.certificate_id is not None:
        rows = catalogue.by_id(options.certificate_id)
        if absent := sorted(set(options.certificate_id) - {row.id for row in rows}):
            raise SettingsError(f"certificate {absent[0]}: no row of the table has this id; name another")
        return rows, Downloads(frozenset(map(_kind, rows)))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    counts = {"migrated": options.migrated or 0, "unmigrated": options.unmigrated or 0}
    rows = [
        row
        for kind, count in counts.items()
        for row in catalogue.drawn(Selection(pending=kind == "unmigrated", downloadable=True), count, seed)
    ]
    return rows, Downloads(frozenset(kind for kind, count in counts.items() if count))


def _sign_in(client: HttpClient, site: str, user: str, password: str) -> None:
    try:
        answer = client.post(site + SIGN_IN, {"username": user, "password": password})
    except NoAnswerError as error:
        raise SiteError(f"{site}: {error} when {user} signs in: is it the address that customers use?") from error
    if answer.status != HTTPStatus.OK:
        raise SiteError(f"{site} answers {answer.refusal} when {user} signs in: check the account and its password")


def _download(client: HttpClient, site: str, row: Certificate) -> tuple[float | None, Failure | None]:
    """Milliseconds until the last byte had come, and what was wrong."""
    try:
        answer = client.get(f"{site}{CERTIFICATES}{row.id}/")
    except NoAnswerError as error:
        return None, Failure(row.id, None, str(error))
    if answer.status != HTTPStatus.OK:
        return answer.milliseconds, Failure(row.id, answer.status, answer.refusal)
    if answer.sha256 != row.certificate_hash:
        detail = f"other bytes than were issued: SHA-256 {answer.sha256}, certificate_hash {row.certificate_hash}"
        return answer.milliseconds, Failure(row.id, answer.status, detail)
    return answer.milliseconds, None


def _unverified(client: HttpClient, site: str, row: Certificate, code: str) -> Failure | None:
    """What the verification page holds against a certificate: code that opens local files finds none any more."""
    try:
        answer = client.get(f"{site}{VERIFY}{code}/")
        tampered = json.loads(answer.start).get("is_tampered") if answer.status == HTTPStatus.OK else None
    except (NoAnswerError, ValueError, AttributeError) as error:
        return Failure(row.id, None, f"the verification page gives no answer that can be read ({error})")
    if answer.status != HTTPStatus.OK:
        return Failure(row.id, answer.status, f"the verification page answers {answer.refusal}")
    if tampered is not False:
        return Failure(row.id, answer.status, f"the verification page says is_tampered: {json.dumps(tampered)}")
    return None


def _is_unchanged(row: Certificate, catalogue: Catalogue) -> bool:
    """Whether the row is still one to download: certificates are revoked and removed while others are fetched."""
    now = catalogue.by_id([row.id])
    return bool(now) and not now[0].revoked and now[0].certificate_hash == row.certificate_hash


def _kind(row: Certificate) -> str:
    return KINDS[row.migrated_at is None]


def _site(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise argparse.ArgumentTypeError(f"{text} is no address: write https:// and the host")
    return text.rstrip("/")
