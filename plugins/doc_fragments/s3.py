# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how to reach a repository in a bucket."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared by every module of the action group. They matter only where O(repository) is an V(s3://) URL."""

    DOCUMENTATION = r"""
options:
  s3_endpoint:
    description: The URL of an S3 server other than AWS, such as C(https://minio.example.com:9000).
    type: str
  s3_region:
    description: The bucket's region. Defaults to that of the AWS configuration, then to V(us-east-1).
    type: str
  s3_path_style:
    description:
      - Whether the bucket's name is in the path of requests (V(true)) or in the host name (V(false)).
      - Defaults to the path where O(s3_endpoint) is given, and to what AWS prefers where it is not.
    type: bool
  s3_ca_file:
    description:
      - The file with certificates of authorities that may have signed the S3 server's.
      - Defaults to those that the operating system trusts.
    type: path
  s3_profile:
    description: The profile to use, of O(s3_credentials_file) or of AWS's own configuration files.
    type: str
  s3_credentials_file:
    description:
      - A file with C(aws_access_key_id) and C(aws_secret_access_key) in a section C([default]), as AWS's tools have it.
      - It must belong to the data directory's owner and be readable by nobody else.
      - Without it, credentials are found as AWS's tools find them, in the environment, in the owner's home
        directory or from the machine's role. PostgreSQL's C(archive_command) sees nothing of a play's environment.
    type: path
"""
