#!/usr/bin/env python3
"""Puts refreshed baselines before whoever reviews them.

    baselines.py propose PATCH TEXT

PATCH is a change of baselines/, TEXT what `plimsoll baseline refresh` printed: the branch gets the one, and
the pull request of that branch the other as its body.
"""

import base64
import os
import subprocess
import sys
from pathlib import Path

import github

BRANCH = "plimsoll/baselines"
TITLE = "Renew the baselines"
AUTHOR = "github-actions[bot]"
# The address by which GitHub knows it.
EMAIL = "41898282+github-actions[bot]@users.noreply.github.com"
# What GitHub takes as the body of a pull request, in characters, less the sentence on what was left out.
BODY_CHARS = 65_000


def main():
    match sys.argv[1:]:
        case ["propose", patch, text]:
            propose(Path(patch), Path(text).read_text(encoding="utf-8"))
        case _:
            sys.exit(__doc__)


def propose(patch, text):
    push(patch)
    repository, body = os.environ["GITHUB_REPOSITORY"], body_of(text)
    pulls = f"/repos/{repository}/pulls"
    base, head = os.environ["GITHUB_REF_NAME"], f"{repository.partition('/')[0]}:{BRANCH}"
    open_ones = list(github.listed(pulls, state="open", head=head, base=base))
    if open_ones:
        number = open_ones[0]["number"]
        github.call("PATCH", f"{pulls}/{number}", {"body": body})
        github.say(f"renewed #{number}")
    else:
        made = github.call("POST", pulls, {"title": TITLE, "head": BRANCH, "base": base, "body": body})
        github.say(f"opened #{made['number']}")


def push(patch):
    """One commit on top of what was measured, in the place of what the branch had."""
    # What measured has run the code of every dependency: it may change nothing but baselines.
    git("apply", "--index", "--include=baselines/*", str(patch.resolve()))
    identity = ["-c", f"user.name={AUTHOR}", "-c", f"user.email={EMAIL}"]
    git(*identity, "commit", "--quiet", "--message", TITLE)
    git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{BRANCH}", env=credentials())


def credentials():
    """The token for git, in variables: it is in no file and in no command line."""
    token = base64.b64encode(f"x-access-token:{os.environ['GITHUB_TOKEN']}".encode()).decode()
    return {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{os.environ['GITHUB_SERVER_URL']}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {token}",
    }


def body_of(text):
    if len(text) <= BODY_CHARS:
        return text
    kept = text[:BODY_CHARS].rpartition("\n")[0]
    return f"{kept}\n\n(Cut here: the whole text is in the summary of the run that made it.)\n"


def git(*args, env=None):
    done = subprocess.run(["git", *args], env=env, check=False)
    if done.returncode != 0:
        github.fail(f"git {args[0]} failed")


if __name__ == "__main__":
    main()
