"""What ``sha256`` of a ``[[plugins]]`` entry pins: a module and the manifest beside it, as one digest.

A manifest decides what a plugin is given to work with (its default configuration, its failure policy, its
place), so a pin of the module alone would pin little. Without a manifest the digest is the module's; with
one it is the SHA-256 of two lines, as a shell says it:

    { sha256sum < NAME.wasm; sha256sum < NAME.toml; } | sha256sum
"""

from __future__ import annotations

import hashlib

__all__ = ["bundle_digest", "why_not_pinned"]


def bundle_digest(module: str, manifest: str) -> str:
    """The digest to pin. *module*, *manifest*: hex digests of the files; manifest "" where there is none."""
    if not manifest:
        return module
    return hashlib.sha256(f"{module}  -\n{manifest}  -\n".encode()).hexdigest()


def why_not_pinned(file: str, module: str, manifest_file: str, manifest: str, pin: str) -> str:
    """Why the files are not those that *pin* means, in one sentence; "" if they are.

    Args:
        module, manifest: hex digests of what was read from *file* and *manifest_file*, or "".
    """
    pin, bundle = pin.lower(), bundle_digest(module, manifest)
    if pin == bundle:
        return ""
    if pin == module:
        return (
            f"{file} is pinned without its manifest {manifest_file}, which decides how it runs; nothing was "
            f'loaded: read the manifest, then write sha256 = "{bundle}", the digest of both'
        )
    if not manifest:
        return (
            f"{file} has the digest {module} and no manifest, which is not what is pinned ({pin}); nothing "
            "was loaded: put the pinned files back, or pin this one"
        )
    return (
        f"{file} has the digest {module}, its manifest {manifest_file} {manifest}, and both together "
        f"{bundle}, which is not what is pinned ({pin}); nothing was loaded: put the pinned files back, or "
        "pin these"
    )
