"""GitHub's API as far as the workflows need it, with the standard library alone.

Answers are bounded, and the token goes to the API's own address only. Where something is wrong, the
script ends with a sentence.
"""

import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

ANSWER_BYTES = 32 << 20
TIMEOUT_S = 60
# Of one list, a hundred entries each: an end for whoever writes comments without end.
PAGES = 50


def event():
    """What started the workflow, as GitHub wrote it down."""
    with open(os.environ["GITHUB_EVENT_PATH"], encoding="utf-8") as file:
        return json.load(file)


def call(method, path, body=None):
    """Asks the API, and gives its answer as a value."""
    with opened(request(method, path, body)) as response:
        return json.loads(bounded(response, ANSWER_BYTES, path))


def listed(path, key=None, **parameters):
    """Each entry of a list that the API gives in pages, under `key` where the answer is no list itself."""
    for page in range(1, PAGES + 1):
        query = urllib.parse.urlencode({**parameters, "per_page": 100, "page": page})
        answer = call("GET", f"{path}?{query}")
        entries = answer if key is None else answer[key]
        yield from entries
        if len(entries) < 100:
            return


def download(path, limit):
    """The bytes that the API leads to, at most `limit`."""
    with opened(request("GET", path)) as response:
        return bounded(response, limit, path)


def say(words):
    """One line for the log."""
    print(harmless(words))


def fail(words):
    """Ends the script with a sentence."""
    sys.exit(harmless(words))


def harmless(words):
    """The words in one line in which what others wrote is no command of the runner's: `::name::`, `##[name]`."""
    return " ".join(str(words).split()).replace("::", ": :").replace("##[", "## [")


def output(name, value):
    """Gives a value to the steps that follow."""
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
        file.write(f"{name}={value}\n")


def request(method, path, body=None):
    made = urllib.request.Request(
        os.environ["GITHUB_API_URL"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "plimsoll",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    # An artifact is stored elsewhere: whoever is led there brings no token along.
    made.add_unredirected_header("Authorization", "Bearer " + os.environ["GITHUB_TOKEN"])
    return made


def opened(made):
    asked = f"{made.get_method()} {made.full_url}"
    try:
        return urllib.request.urlopen(made, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        words = error.read(500).decode("utf-8", "replace")
        fail(f"{asked}: {error.code} {words!r}")
    except (OSError, http.client.HTTPException) as error:
        fail(f"{asked}: {error}")


def bounded(response, limit, what):
    try:
        content = response.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        fail(f"{what}: {error}")
    if len(content) > limit:
        fail(f"{what}: more than {limit} bytes")
    return content
