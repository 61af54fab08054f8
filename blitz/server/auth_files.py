"""``[auth]`` ready to run: files of users and keys read, each entry an authenticator.

The extra ``auth`` is needed where a configuration has such an entry, and imported only then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from blitz.config.urls import parse_url
from blitz.errors import ConfigError, ConfigProblem
from blitz.extras import how_to_install
from blitz.files import FileRefused, Kind, read_file

if TYPE_CHECKING:
    from blitz.builtin.identity import Authenticator
    from blitz.builtin.jwks import KeySource
    from blitz.config.auth_keys import BasicAuth, JwtAuth
    from blitz.config.resolved import Resolved

__all__ = ["Authenticators", "load_authenticators"]

_KEYS = Kind("a JWK Set", 1024 * 1024)
_USERS = Kind("a file of users", 16 * 1024 * 1024)


class Authenticators:
    """All of one configuration.

    Attributes:
        by_name: as ``[auth]`` names them. sources: whose keys are fetched.
    """

    def __init__(self, by_name: Mapping[str, Authenticator], sources: tuple[KeySource, ...] = ()) -> None:
        self.by_name = by_name
        self.sources = sources

    def go_on_from(self, old: Authenticators) -> None:
        """What was fetched for *old* is still true."""
        for source in self.sources:
            for other in old.sources:
                if source is not other and source.same_place(other):
                    source.go_on_from(other)


def load_authenticators(resolved: Resolved) -> Authenticators:
    """Read what *resolved* names: in a thread.

    Raises:
        ConfigError: with every file that cannot be used; or the extra is not installed.
    """
    if not resolved.auth:
        return Authenticators({})
    loading = _Loading(resolved)
    for name in resolved.auth:
        loading.authenticator(name)
    if loading.problems:
        raise ConfigError(loading.problems)
    return Authenticators(loading.made, tuple(loading.sources))


class _Loading:
    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved
        self.made: dict[str, Authenticator] = {}
        self.sources: list[KeySource] = []
        self.problems: list[ConfigProblem] = []

    def authenticator(self, name: str) -> Authenticator | None:
        """The one called so, made once; None: there is a problem."""
        if name not in self.made:
            try:
                found = self._make(name)
            except _Problem as problem:
                self.problems.append(
                    ConfigProblem(str(problem), file=problem.file, line=problem.line, key=f"auth.{name}")
                )
                return None
            if found is not None:
                self.made[name] = found
        return self.made.get(name)

    def _make(self, name: str) -> Authenticator | None:
        from blitz.builtin.auth import AllOf, AnyOf

        auth = self._resolved.auth[name]
        if auth.jwt is not None:
            return self._jwt(name, auth.jwt)
        if auth.basic is not None:
            return _basic(name, auth.basic)
        if auth.forward is not None:
            from blitz.builtin.forward import ForwardAuthenticator

            url = parse_url(auth.forward.url)
            return ForwardAuthenticator(name, auth.forward, self._resolved.auth_upstreams[name], url)
        parts = [self.authenticator(part) for part in (auth.any or auth.all)]
        there = [part for part in parts if part is not None]
        if len(there) < len(parts):
            return None
        return AnyOf(there) if auth.any else AllOf(there)

    def _jwt(self, name: str, jwt: JwtAuth) -> Authenticator:
        try:
            from blitz.builtin.jwks import BadKeys, KeySource, read_key_set
            from blitz.builtin.jwt import JwtAuthenticator
        except ImportError as error:
            raise _not_installed(error) from error
        if jwt.jwks_url:
            url = parse_url(jwt.jwks_url)
            source = KeySource(
                name,
                self._resolved.auth_upstreams[name],
                url.authority,
                url.target.encode(),
                jwt.refresh,
                jwt.min_refresh,
                jwt.max_stale,
                jwt.timeout,
            )
            self.sources.append(source)
            return JwtAuthenticator(name, jwt, None, source)
        try:
            keys = read_key_set(_read(jwt.jwks_file, _KEYS), secrets=True)
        except BadKeys as error:
            raise _Problem(str(error), jwt.jwks_file) from None
        return JwtAuthenticator(name, jwt, keys, None)


def _basic(name: str, basic: BasicAuth) -> Authenticator:
    try:
        from blitz.builtin.basic import BasicAuthenticator
        from blitz.builtin.users import BadUsers, read_users
    except ImportError as error:
        raise _not_installed(error) from error
    try:
        return BasicAuthenticator(name, basic, read_users(_read(basic.users_file, _USERS)))
    except BadUsers as error:
        raise _Problem(str(error), basic.users_file, error.line) from None


class _Problem(Exception):
    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


def _not_installed(error: ImportError) -> _Problem:
    return _Problem(f"needs the package {error.name}: {how_to_install('joserfc', 'bcrypt', 'argon2-cffi')}")


def _read(path: str, kind: Kind) -> bytes:
    try:
        return read_file(path, kind)
    except FileRefused as error:
        raise _Problem(str(error), path) from None
