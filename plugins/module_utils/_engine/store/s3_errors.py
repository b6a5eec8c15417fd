# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an S3 failure means: whether trying again may help, and what the user is told.

Only the server's error code and message go into errors, never its whole answer: that repeats parts
of the signed request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import StorageError
from ..thirdparty import require


class GaveUp(Exception):
    """Within an attempt: its time is up, or nobody wants its result any more."""


@dataclass(frozen=True)
class Diagnosis:
    """One cause of failure."""

    code: str
    happened: str
    remedy: str
    transient: bool = False

    def error(self, attempted: str, tried_seconds: float | None = None) -> StorageError:
        """The error that ends the job; with the time for which it was tried in vain."""
        tried = f" It was tried for {tried_seconds:.0f} s." if tried_seconds is not None else ""
        return StorageError(attempted, f"{self.happened}{tried}", self.remedy, code=self.code)


BUCKET_MISSING = Diagnosis(
    code="storage_bucket_missing",
    happened="the bucket does not exist.",
    remedy="Correct the bucket's name in the repository's URL, or create the bucket.",
)
NOT_PERMITTED = Diagnosis(
    code="storage_not_permitted",
    happened="the server denies it to these credentials.",
    remedy="Let them list the bucket and read, write and delete objects below the repository's prefix.",
)
KEY_UNKNOWN = Diagnosis(
    code="storage_access_key_unknown",
    happened="the server does not know this access key.",
    remedy="Correct the credentials, or s3_endpoint if they are for another server.",
)
SECRET_WRONG = Diagnosis(
    code="storage_secret_wrong",
    happened="the server refuses the signature: the secret key does not belong to the access key.",
    remedy="Correct the secret key. If it is right, check s3_region and any proxy that changes requests.",
)
CREDENTIALS_MISSING = Diagnosis(
    code="storage_credentials_missing",
    happened="no credentials were found.",
    remedy="Name a file with s3_credentials_file, a profile with s3_profile, or give the machine a role. The server's"
    " archive_command does not see the environment of a play or a shell.",
)
CREDENTIALS_EXPIRED = Diagnosis(
    code="storage_credentials_expired",
    happened="the credentials have expired.",
    remedy="Renew them, then run again; backups made before are untouched.",
)
CLOCK_SKEWED = Diagnosis(
    code="storage_clock_skewed",
    happened="this machine's clock and the server's differ too much.",
    remedy="Set the clock, for example with chrony or systemd-timesyncd, then run again.",
)
REGION_WRONG = Diagnosis(
    code="storage_region_wrong",
    happened="the bucket is in another region than the request was signed for.",
    remedy="Set s3_region to the bucket's region.",
)
ARCHIVED = Diagnosis(
    code="object_archived",
    happened="the object is in an archive tier and must be thawed before it can be read.",
    remedy="Restore it to a readable tier with the provider's tools, then run again.",
)
FULL = Diagnosis(
    code="storage_full",
    happened="the storage is full, or a quota is used up.",
    remedy="Make room or raise the quota, then run again; backups made before are untouched.",
)
THROTTLED = Diagnosis(
    code="storage_throttled",
    happened="the server keeps asking to slow down.",
    remedy="Run with fewer jobs or at another time, or raise the limits of the bucket.",
    transient=True,
)
DAMAGED_ON_THE_WAY = Diagnosis(
    code="storage_damages_data",
    happened="the server received other bytes than were sent, each time.",
    remedy="Look for a proxy or network device between here and the server that changes data.",
    transient=True,
)
UNREACHABLE = Diagnosis(
    code="storage_unreachable",
    happened="the server cannot be reached.",
    remedy="Check s3_endpoint, the network and any firewall or proxy between here and the server.",
    transient=True,
)
CONNECTION_LOST = Diagnosis(
    code="storage_connection_lost",
    happened="the connection to the server broke or fell silent.",
    remedy="Check the network and the server's health, then run again; what was stored before is untouched.",
    transient=True,
)
CERTIFICATE_REFUSED = Diagnosis(
    code="storage_certificate_refused",
    happened="the server's certificate is not trusted.",
    remedy="Set s3_ca_file to the authority that signed it, or correct the host name in s3_endpoint.",
)
TLS_NOT_SPOKEN = Diagnosis(
    code="storage_tls_failed",
    happened="what answers there does not speak TLS.",
    remedy="Correct the port in s3_endpoint, or begin it with http:// if that is really meant.",
)
PROFILE_UNKNOWN = Diagnosis(
    code="storage_profile_unknown",
    happened="none of this user's AWS configuration files has the profile.",
    remedy="Correct s3_profile, or name the credentials' file with s3_credentials_file.",
)

_BY_ERROR_CODE = {
    "NoSuchBucket": BUCKET_MISSING,
    "AccessDenied": NOT_PERMITTED,
    "AllAccessDisabled": NOT_PERMITTED,
    "InvalidAccessKeyId": KEY_UNKNOWN,
    "SignatureDoesNotMatch": SECRET_WRONG,
    "ExpiredToken": CREDENTIALS_EXPIRED,
    "ExpiredTokenException": CREDENTIALS_EXPIRED,
    "TokenRefreshRequired": CREDENTIALS_EXPIRED,
    "InvalidToken": CREDENTIALS_EXPIRED,
    "RequestTimeTooSkewed": CLOCK_SKEWED,
    "AuthorizationHeaderMalformed": REGION_WRONG,
    "PermanentRedirect": REGION_WRONG,
    "InvalidObjectState": ARCHIVED,
    "QuotaExceeded": FULL,
    "XMinioStorageFull": FULL,
    "SlowDown": THROTTLED,
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "RequestLimitExceeded": THROTTLED,
    "TooManyRequests": THROTTLED,
    "BadDigest": DAMAGED_ON_THE_WAY,
    "XAmzContentSHA256Mismatch": DAMAGED_ON_THE_WAY,
    "RequestTimeout": CONNECTION_LOST,
}
_BY_STATUS = {403: NOT_PERMITTED, 429: THROTTLED, 507: FULL}
# 409: another operation on the object is under way.
_TRANSIENT_STATUSES = frozenset({408, 409, 500, 502, 503, 504})

# Names in botocore.exceptions; the first that fits decides.
_BY_EXCEPTION = (
    ("ProfileNotFound", PROFILE_UNKNOWN),
    ("NoCredentialsError", CREDENTIALS_MISSING),
    ("PartialCredentialsError", CREDENTIALS_MISSING),
    ("CredentialRetrievalError", CREDENTIALS_MISSING),
    ("TokenRetrievalError", CREDENTIALS_EXPIRED),
    ("SSOError", CREDENTIALS_EXPIRED),
    ("EndpointConnectionError", UNREACHABLE),
    ("ConnectTimeoutError", UNREACHABLE),
    ("ProxyConnectionError", UNREACHABLE),
    ("HTTPClientError", CONNECTION_LOST),
    ("IncompleteReadError", CONNECTION_LOST),
)


def refusal() -> type[Exception]:
    """What botocore raises for an answer that is not a success."""
    found: type[Exception] = require("botocore.exceptions").ClientError
    return found


def error_code(exc: BaseException) -> str:
    """The server's error code, empty when it gave none."""
    return str(_answer(exc).get("Error", {}).get("Code", ""))


def status(exc: BaseException) -> int:
    """The HTTP status of the server's answer, 0 when there was none."""
    return int(_answer(exc).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(exc: BaseException) -> dict[str, Any]:
    answer = getattr(exc, "response", None)  # HTTPClientError has the attribute too, with something else or None
    return answer if isinstance(answer, dict) else {}


def diagnose(exc: BaseException) -> Diagnosis:
    """What this failure of a call means."""
    known = _BY_ERROR_CODE.get(error_code(exc)) or _BY_STATUS.get(status(exc))
    if known is not None:
        return known
    if status(exc):
        said = " ".join(f"{error_code(exc)} {_answer(exc).get('Error', {}).get('Message') or ''}".split())
        return Diagnosis(
            code="storage_failed",
            happened=f"the server answered {status(exc)} ({said}).",
            remedy="Look this answer up in the server's documentation or logs.",
            transient=status(exc) in _TRANSIENT_STATUSES,
        )
    exceptions = require("botocore.exceptions")
    if isinstance(exc, exceptions.SSLError):
        return _tls_failure(str(exc).lower().replace("_", " "))
    for name, diagnosis in _BY_EXCEPTION:
        if isinstance(exc, getattr(exceptions, name, ())):
            return diagnosis
    if isinstance(exc, (GaveUp, OSError, require("urllib3.exceptions").HTTPError)):
        return CONNECTION_LOST
    return Diagnosis(
        code="storage_failed",
        happened=f"{type(exc).__name__}: {exc}.",
        remedy="Check the repository's URL and its s3_ settings.",
    )


def _tls_failure(said: str) -> Diagnosis:
    """By OpenSSL's words; what is neither about certificates nor about the protocol is a connection that broke."""
    if "certificate" in said or "hostname" in said:
        return CERTIFICATE_REFUSED
    return TLS_NOT_SPOKEN if "wrong version number" in said or "record layer failure" in said else CONNECTION_LOST
