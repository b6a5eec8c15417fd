# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how to reach the server."""

from __future__ import annotations


class ModuleDocFragment:
    """The names are those of community.postgresql."""

    DOCUMENTATION = r"""
options:
  database_url:
    description:
      - The server as a URL, as applications have it in C(DATABASE_URL), such as
        C(postgresql://USER:PASSWORD@HOST:PORT/DATABASE). Suffixes with a driver's name, such as
        C(postgresql+psycopg2://), and the parameters C(host), C(port), C(user), C(password), C(dbname),
        C(sslmode) (C(ssl)) and C(sslrootcert) are understood.
      - Parameters that concern the application only, such as C(schema) or C(connection_limit), are left out with a
        warning. Those without which it would be another server or a weaker protection are refused.
      - The options below that are given too win over its parts. A password is used for the URL's own user only.
      - It takes the place of all that O(config_file) says about the connection.
    type: str
  login_host:
    description: The server's host name or address. Without it the Unix socket is used.
    type: str
  login_port:
    description: The server's port. Without it the port that the data directory's running server names.
    type: int
  login_user:
    description: The role to connect as, C(postgres) unless said otherwise.
    type: str
  login_password:
    description: The role's password. It is handed to the client library only, never to a command line.
    type: str
  login_unix_socket:
    description: The directory of the server's Unix socket. Without it the one that the running server names.
    type: path
  login_db:
    description: The database to connect to, C(postgres) unless said otherwise.
    type: str
  ssl_mode:
    description: Whether and how TLS is used, as libpq's C(sslmode). C(prefer) unless said otherwise.
    type: str
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: The file with certificates of authorities that may have signed the server's.
    type: path
"""
