"""The pod of `helm test`: asks the installed model by v1 and v2 and compares; knows URLs and golden rows, no cluster.

Runs in the server's own image, so it needs nothing but what the image holds. Ends with 0 only when every check passed.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BASE = os.environ["BASE_URL"].rstrip("/")
NAME = os.environ["MODEL_NAME"]
MOUNTED = Path("/mnt/models")


def ask(path, body=None):
    """Send one request and give the parsed answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, {"content-type": "application/json"})  # noqa: S310 - the release's own URL
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read() or b"{}")


def wait_until_ready(deadline_s):
    """Ask for readiness until it is there or the time is over."""
    while True:
        try:
            return ask(f"/v2/models/{NAME}/ready")
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline_s:
                sys.exit(f"not ready: {BASE}/v2/models/{NAME}/ready says {error}")
            time.sleep(1)


def golden():
    """Read the golden rows: from the value, else from the bundle's volume; None where there are neither."""
    if os.environ.get("GOLDEN"):
        return json.loads(os.environ["GOLDEN"])
    if not MOUNTED.is_dir():
        return None
    from model_server.sources.uri import from_uri

    bundle = from_uri(str(MOUNTED), NAME, os.environ.get("MODEL_VERSION") or None)
    return json.loads((bundle / "golden.json").read_text("utf-8"))


def example_rows():
    """Take the rows that the API's own description shows."""
    try:
        body = ask("/openapi.json")["paths"]["/v1/models/{model_name}:predict"]["post"]["requestBody"]
    except urllib.error.HTTPError:
        sys.exit("FAIL no rows to ask: give tests.golden, or leave server.apiPages true")
    examples = [example["value"]["instances"] for example in body["content"]["application/json"]["examples"].values()]
    return next(rows for rows in examples if isinstance(rows[0], list))


def tensors(rows):
    """Write rows as v2 inputs, as the model's metadata names them."""
    inputs = ask(f"/v2/models/{NAME}")["inputs"]
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
        flat = [cell for row in rows for cell in row]
        return [{**inputs[0], "shape": [len(rows), len(rows[0])], "data": flat}]
    columns = zip(*rows, strict=True)
    return [{**one, "shape": [len(rows)], "data": list(column)} for one, column in zip(inputs, columns, strict=True)]


def by_v1(rows):
    """Ask by v1; give a list of outputs by name, or of bare labels by the name `label`."""
    predictions = ask(f"/v1/models/{NAME}:predict", {"instances": rows})["predictions"]
    found = {}
    for prediction in predictions:
        outputs = prediction if isinstance(prediction, dict) else {"label": prediction}
        for name, value in outputs.items():
            found.setdefault(name, []).append(list(value.values()) if isinstance(value, dict) else value)
    return found


def by_v2(rows):
    """Ask by v2; give a list of outputs by name, a list a row."""
    found = {}
    for output in ask(f"/v2/models/{NAME}/infer", {"inputs": tensors(rows)})["outputs"]:
        data, width = output["data"], (output["shape"] + [1])[1]
        is_matrix = len(output["shape"]) == 2
        found[output["name"]] = [data[at : at + width] for at in range(0, len(data), width)] if is_matrix else data
    return found


def same(left, right, tolerance):
    """Say whether two answers agree: numbers within the tolerance, the rest exactly."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(*pair, tolerance) for pair in zip(left, right, strict=True))
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right) <= tolerance
    return left == right


def check(text, wanted, found, tolerance):
    """Compare the outputs that both have, at least one; end the process when one differs."""
    shared = sorted(wanted.keys() & found.keys())
    wrong = [name for name in shared if not same(wanted[name], found[name], tolerance)]
    if wrong or not shared:
        sys.exit(f"FAIL {text}: differ in {', '.join(wrong) or 'their outputs’ names'}")
    print(f"ok   {text}: {', '.join(shared)}")


def main():
    """Run every check in order."""
    wait_until_ready(time.monotonic() + float(os.environ["DEADLINE_S"]))
    print(f"ok   {NAME} is ready at {BASE}")
    known = golden()
    rows = known["rows"] if known else example_rows()
    v1, v2 = by_v1(rows), by_v2(rows)
    check(f"v1 and v2 agree on {len(rows)} rows", v1, v2, 0.0)
    if known is None:
        print("note no golden rows here: give them by --set-file tests.golden=…/golden.json")
        return
    check("v1 gives the golden answers", known["outputs"], v1, known["tolerance"])
    check("v2 gives the golden answers", known["outputs"], v2, known["tolerance"])


if __name__ == "__main__":
    try:
        main()
    except urllib.error.HTTPError as error:
        sys.exit(f"FAIL {error.url} answered {error.code}: {error.read().decode(errors='replace')}")
    except (OSError, ValueError, LookupError) as error:
        sys.exit(f"FAIL {type(error).__name__}: {error}")
