#!/usr/bin/env python3
"""Brings what a gate found to its pull request.

    comment.py take DIR     the gate's verdicts from its artifact, as DIR/verdicts.jsonl
    comment.py post FILE    the text that `plimsoll comment` made of them, as a comment

The change under test wrote the artifact: it is hostile until shown otherwise. Which pull request it is
about is never asked of it, but of GitHub, by the commit and the repository that the gate ran for.
"""

import io
import re
import stat
import sys
import zipfile
import zlib
from pathlib import Path

import github

ARTIFACT = "plimsoll"
VERDICTS = "verdicts.jsonl"
# The artifact has the pages of the report in it as well, 2 MB each at most before they are packed.
ARTIFACT_BYTES = 32 << 20
VERDICTS_BYTES = 8 << 20
# What GitHub takes as a comment, in characters.
COMMENT_CHARS = 65_536
MARKER = re.compile(r"<!-- plimsoll:[A-Za-z0-9._-]{1,64} -->")
# Who writes with the token of a workflow.
AUTHOR = "github-actions[bot]"


def main():
    match sys.argv[1:]:
        case ["take", folder]:
            take(Path(folder))
        case ["post", file]:
            post(Path(file))
        case _:
            sys.exit(__doc__)


def take(folder):
    """Says with the output `ready` whether there are verdicts and a pull request to tell them to."""
    event = github.event()
    ready = pull_request(event) is not None
    if ready:
        packed = artifact(event)
        ready = packed is not None and unpack(packed, folder / VERDICTS)
    github.output("ready", str(ready).lower())


def post(file):
    """Updates our comment on the pull request, or writes the first."""
    text = file.read_text(encoding="utf-8")
    marker = text.partition("\n")[0]
    if not MARKER.fullmatch(marker):
        github.fail(f"{file} does not begin with the marker of a comment of plimsoll")
    if len(text) > COMMENT_CHARS:
        github.fail(f"{file} has {len(text)} characters; a comment has {COMMENT_CHARS} at most")
    event = github.event()
    # Once more: a commit may have come while the text was made.
    pull = pull_request(event)
    if pull is None:
        return
    repository = event["repository"]["full_name"]
    comments = f"/repos/{repository}/issues/{pull['number']}/comments"
    ours = [one["id"] for one in github.listed(comments) if is_ours(one, marker)]
    if ours:
        github.call("PATCH", f"/repos/{repository}/issues/comments/{ours[0]}", {"body": text})
        github.say(f"updated the comment {ours[0]} on #{pull['number']}")
    else:
        github.call("POST", comments, {"body": text})
        github.say(f"commented on #{pull['number']}")


def pull_request(event):
    """The open pull request whose newest commit the gate ran for, or None, and then the log says why."""
    run = event["workflow_run"]
    sha, origin = run["head_sha"], run["head_repository"]
    if run["event"] != "pull_request" or origin is None:
        github.say("the gate ran for no pull request, or its repository is gone")
        return None
    # The event names a pull request only where it doesn't come from a fork.
    found = github.listed(
        f"/repos/{event['repository']['full_name']}/pulls",
        state="open",
        head=f"{origin['owner']['login']}:{run['head_branch']}",
    )
    pulls = [pull for pull in found if is_of(pull, sha, origin["id"], event["repository"]["id"])]
    if len(pulls) == 1:
        return pulls[0]
    # Of two, with different bases, nothing tells which one was gated.
    github.say(f"{len(pulls)} open pull requests have {sha} as their newest commit, not one: no comment")
    return None


def is_of(pull, sha, origin, repository):
    head = pull["head"]
    return (
        head["sha"] == sha
        and head["repo"] is not None
        and head["repo"]["id"] == origin
        and pull["base"]["repo"]["id"] == repository
    )


def is_ours(comment, marker):
    user = comment["user"] or {}
    first = (comment["body"] or "").partition("\n")[0].rstrip("\r")
    return user.get("login") == AUTHOR and user.get("type") == "Bot" and first == marker


def artifact(event):
    """The packed artifact of the run, or None where it left none."""
    run = f"/repos/{event['repository']['full_name']}/actions"
    listed = github.listed(f"{run}/runs/{event['workflow_run']['id']}/artifacts", "artifacts", name=ARTIFACT)
    there = [one for one in listed if one["name"] == ARTIFACT and not one["expired"]]
    if not there:
        github.say("the gate left no artifact: it ended before it measured anything")
        return None
    newest = max(there, key=lambda one: one["id"])
    if newest["size_in_bytes"] > ARTIFACT_BYTES:
        github.fail(f"the artifact has {newest['size_in_bytes']} bytes, more than {ARTIFACT_BYTES}")
    return github.download(f"{run}/artifacts/{newest['id']}/zip", ARTIFACT_BYTES)


def unpack(packed, file):
    """Writes the one file that is wanted; nothing else of the archive is looked at, whatever its name is."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename == VERDICTS]
            content = content_of(archive, entries) if entries else b""
    # Damaged, encrypted, or of a kind that Python doesn't know.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        github.fail(f"the artifact can't be read: {error}")
    if not content.strip():
        github.say(f"the artifact has no {VERDICTS}, or nothing in it: nothing was judged")
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "xb") as made:
        made.write(content)
    return True


def content_of(archive, entries):
    if len(entries) > 1:
        github.fail(f"the artifact has {len(entries)} files {VERDICTS}")
    [entry] = entries
    # Zero where the archive was not made on a system that has kinds of files.
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        github.fail(f"{VERDICTS} of the artifact is no regular file")
    # Others may need gigabytes of memory to be unpacked.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        github.fail(f"{VERDICTS} of the artifact is packed in a way that GitHub does not use")
    # What the archive says of the size is its own claim.
    with archive.open(entry) as stream:
        return github.bounded(stream, VERDICTS_BYTES, f"{VERDICTS} of the artifact")


if __name__ == "__main__":
    main()
