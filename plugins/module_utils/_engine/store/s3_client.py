# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the S3 client: botocore's, without boto3 above it, which would cost a quarter more to start.

botocore's own retries are off; `s3_calls` decides about them for all that belongs to one call, bodies included.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import PreconditionError
from ..specs import S3Spec
from ..thirdparty import require
from ..version import VERSION

THIRD_PARTY = ("botocore.session", "botocore.config", "botocore.exceptions")
_DEFAULT_REGION = "us-east-1"  # what servers other than AWS expect unless configured otherwise
# The authorities that the operating system trusts: Debian's and SUSE's place, then the Red Hat family's.
_SYSTEM_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
)
_CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def make_client(spec: S3Spec, *, connections: int, connect_timeout: float, read_timeout: float) -> Any:
    """A client that many threads may share."""
    # The profile is a section of the user's own file, or else one of AWS's files, and only then botocore's to find.
    session = require("botocore.session").Session(profile=None if spec.credentials_file else spec.profile)
    session.register_component("data_loader", _service_models())
    client = session.create_client(
        "s3",
        region_name=spec.region or session.get_config_variable("region") or _DEFAULT_REGION,
        endpoint_url=spec.endpoint,
        verify=_authorities(spec, session.get_config_variable("ca_bundle")),
        config=require("botocore.config").Config(
            s3={"addressing_style": _addressing_style(spec), "payload_signing_enabled": True},
            signature_version="s3v4",
            max_pool_connections=connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": 1},
            user_agent_extra=f"lifeboat/{VERSION}",
            tcp_keepalive=True,
            **_no_extra_checksums(),
        ),
        **(_credentials_in(spec.credentials_file, spec.profile) if spec.credentials_file else {}),
    )
    client.meta.events.register("before-parameter-build.s3.PutObject", _note_condition)
    client.meta.events.register("before-call.s3.PutObject", _send_condition)
    return client


@functools.cache
def warm_up() -> None:
    """Load all that a client needs from files, before privileges are dropped: later they may not be readable."""
    nobody = dict.fromkeys(_CREDENTIALS[:2], "warm-up")
    session = require("botocore.session").Session()
    session.register_component("data_loader", _service_models())
    # A mistake in the user's AWS configuration is reported when the real client is made.
    with contextlib.suppress(require("botocore.exceptions").BotoCoreError):
        session.create_client("s3", region_name=_DEFAULT_REGION, **nobody)


@functools.cache
def _service_models() -> Any:
    return require("botocore.loaders").create_loader()


def _addressing_style(spec: S3Spec) -> str:
    """`bucket.host/object` is AWS's way; few other servers have the names for it."""
    if spec.path_style is None:
        return "path" if spec.endpoint else "auto"
    return "path" if spec.path_style else "virtual"


def _authorities(spec: S3Spec, from_environment: str | None) -> str | None:
    if spec.ca_file is not None:
        if not os.access(spec.ca_file, os.R_OK):
            raise PreconditionError(
                f"reading the certificate authorities in {spec.ca_file}",
                "the file does not exist or cannot be read.",
                "Correct s3_ca_file, and let the data directory's owner read the file.",
                code="ca_file_not_readable",
            )
        return str(spec.ca_file)
    return from_environment or next((path for path in _SYSTEM_AUTHORITIES if os.path.exists(path)), None)


def _no_extra_checksums() -> dict[str, str]:
    """The signature covers the body's SHA-256. Newer versions would add checksums that other servers do not know."""
    known = require("botocore.config").Config.OPTION_DEFAULTS
    options = ("request_checksum_calculation", "response_checksum_validation")
    return {option: "when_required" for option in options if option in known}


def _credentials_in(path: Path, profile: str | None) -> Mapping[str, str]:
    """The keys in the user's file, which has the form of AWS's shared credentials file. Only its owner may read it."""
    attempted, section = f"reading the credentials file {path}", profile or "default"
    try:
        with path.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read()
    except OSError as exc:
        raise PreconditionError(
            attempted,
            f"{exc.strerror}.",
            "Correct s3_credentials_file, and let the data directory's owner read the file (owner and mode 0400).",
            code="credentials_file_not_readable",
        ) from exc
    if mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise PreconditionError(
            attempted,
            f"its mode {stat.S_IMODE(mode):04o} lets other users read or change it.",
            f"Run: chmod 0400 {path}; if other users may have read it, replace the keys.",
            code="credentials_file_permissions",
        )
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
        found = {name: value for name, value in parser[section].items() if name in _CREDENTIALS}
    except (configparser.Error, KeyError):
        found = {}
    if not {*_CREDENTIALS[:2]} <= found.keys():
        raise PreconditionError(  # without the parser's own words: they quote lines of the file
            attempted,
            f"it has no section [{section}] with {_CREDENTIALS[0]} and {_CREDENTIALS[1]}.",
            "Write it in the form of AWS's shared credentials file, or name the right section with s3_profile.",
            code="credentials_file_invalid",
        ) from None
    return found


# `IfNoneMatch` of PutObject is newer than the botocore of Debian 12, the header is not.


def _note_condition(params: dict[str, Any], context: dict[str, Any], **_others: Any) -> None:
    context["lifeboat_if_none_match"] = params.pop("IfNoneMatch", None)


def _send_condition(params: dict[str, Any], context: dict[str, Any], **_others: Any) -> None:
    if context.get("lifeboat_if_none_match"):
        params["headers"]["If-None-Match"] = context["lifeboat_if_none_match"]
