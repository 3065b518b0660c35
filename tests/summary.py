#!/usr/bin/env python3
"""Adds up the JUnit files of all suites and prints the closing line. A suite whose log exists without
a JUnit file counts as one test: passed when its log ends in the line 'ok'."""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def from_junit(path):
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("disabled", "notrun"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main(folder):
    totals = [0, 0, 0]
    for log in sorted(pathlib.Path(folder).glob("*.log")):
        junit = log.with_suffix(".xml")
        if junit.exists():
            counts = from_junit(junit)
        else:
            lines = log.read_text(errors="replace").strip().splitlines()
            counts = (1, 0, 0) if lines and lines[-1] == "ok" else (0, 1, 0)
        totals = [a + b for a, b in zip(totals, counts)]
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")


if __name__ == "__main__":
    main(sys.argv[1])
