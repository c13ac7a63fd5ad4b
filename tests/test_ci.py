"""Tests of .github/workflows/ci.yml, as far as they go without GitHub: it is YAML, what it calls
exists, no step of .ci/run is forgotten, and perf-check's job finds the right revision.

/usr/bin/python3 tests/test_ci.py
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


WORKFLOW = yaml.safe_load(read(".github", "workflows", "ci.yml"))
JOBS = WORKFLOW["jobs"]


def scripts(job):
    """The shell texts of a job, one for each row of its matrix."""
    rows = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
    for row in rows:
        for step in job["steps"]:
            if "run" in step:
                yield re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda m: row[m[1]], step["run"])


class Workflow(unittest.TestCase):
    def test_events_and_limits(self):
        self.assertEqual(set(WORKFLOW[True]), {"push", "pull_request"})  # YAML 1.1: on is true
        for name, job in JOBS.items():
            self.assertEqual(job["container"], "debian:12", name)
            self.assertLessEqual(job["timeout-minutes"], 60, name)

    def test_what_it_calls_exists(self):
        targets = set(re.findall(r"^([a-z][a-z-]*)(?: [a-z-]+)*:", read("Makefile"), re.M))
        steps = re.search(r'^steps="(.*)"$', read(".ci", "run"), re.M)[1].split()
        called = []
        for job in JOBS.values():
            for text in scripts(job):
                self.assertNotIn("${{", text)  # values go through env, where they can't be code
                subprocess.run(["bash", "-n"], input=text, text=True, check=True)
                for words in re.findall(r"^ *\.ci/run (.*)$", text, re.M):
                    called += words.split()
                for target in re.findall(r"^ *make ([\w-]+)", text, re.M):
                    self.assertIn(target, targets)
        self.assertEqual(sorted(called), sorted(steps))
        for step in steps:
            self.assertRegex(read(".ci", "run"), rf"(?m)^step {step} ")

    def test_unknown_step_of_ci(self):
        done = subprocess.run([os.path.join(ROOT, ".ci", "run"), "tset"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("unknown step 'tset'; there are test ", done.stderr)

    def test_git_comes_before_the_checkout(self):
        """Without git the checkout action downloads an archive, and there is no history."""
        for job in JOBS.values():
            uses = [s.get("uses", "").partition("@")[0] or s["run"] for s in job["steps"]]
            at = uses.index("actions/checkout")
            self.assertIn("install -y --no-install-recommends ca-certificates git", uses[at - 1])

    def test_results_are_kept(self):
        kept = [s["with"]["path"] for job in JOBS.values() for s in job["steps"]
                if s.get("uses", "").startswith("actions/upload-artifact@")]
        self.assertEqual(len(kept), 2)
        folder = next(s["env"]["FIGURES"] for s in JOBS["figures"]["steps"] if "FIGURES" in
                      s.get("env", {}))
        self.assertTrue(kept[0].startswith(folder))
        for path in kept[1].split():
            self.assertTrue(path.startswith("build-perf-check/"))


class MergeBase(unittest.TestCase):
    """The job's shell in a small repository, `make` replaced by one that says what it was given."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        os.mkdir(os.path.join(self.dir, "bin"))
        make = os.path.join(self.dir, "bin", "make")
        with open(make, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\necho "$@"\n')
        os.chmod(make, 0o755)
        self.repository = os.path.join(self.dir, "work")
        self.git("init", "-q", "-b", "main", self.repository, cwd=self.dir)
        self.one, self.two = self.commit("one"), self.commit("two")
        self.git("update-ref", "refs/remotes/origin/main", self.two)

    def git(self, *words, cwd=None):
        identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER")
                    for what in ("NAME", "EMAIL")}
        return subprocess.run(["git", *words], cwd=cwd or self.repository, check=True, text=True,
                              capture_output=True, env={**os.environ, **identity}).stdout.strip()

    def commit(self, text):
        self.git("commit", "-q", "--allow-empty", "-m", text)
        return self.git("rev-parse", "HEAD")

    def base(self, before=""):
        job = JOBS["perf-check"]
        self.assertEqual(next(s for s in job["steps"] if "checkout" in s.get("uses", ""))["with"]
                         ["fetch-depth"], 0)
        text = next(s["run"] for s in job["steps"] if "make perf-check" in s.get("run", ""))
        environment = {**os.environ, "INTO": "main", "BEFORE": before,
                       "PATH": os.path.join(self.dir, "bin") + ":" + os.environ["PATH"]}
        # As GitHub calls it for `shell: bash`.
        done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
                              cwd=self.repository, env=environment, text=True, check=True,
                              capture_output=True)
        target, base = done.stdout.split()
        self.assertEqual(target, "perf-check")
        return self.git("rev-parse", base.partition("=")[2])

    def test_a_branch(self):
        self.git("checkout", "-q", "-b", "topic", self.one)
        self.commit("three")
        self.assertEqual(self.base(), self.one)
        # A pull request is checked out merged: then it is the tip that it was merged into.
        self.git("merge", "-q", "--no-ff", "-m", "merged", self.two)
        self.assertEqual(self.base(), self.two)

    def test_a_push_to_the_branch_itself(self):
        self.assertEqual(self.base(self.one), self.one)
        self.assertEqual(self.base("0" * 40), self.one)  # a new branch: the commit before
        three = self.commit("three")
        self.git("update-ref", "refs/remotes/origin/main", three)
        self.assertEqual(self.base(self.one), self.one)  # a push of two commits
        self.assertEqual(self.base(), self.two)


if __name__ == "__main__":
    unittest.main()
