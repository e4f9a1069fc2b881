"""The parent's end of the worker processes: start, ask, stop. No process outlives `Pool`'s ``with`` block."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import IO, Any

from lossk.cli.bench.cases import Case
from lossk.cli.bench.protocol import Built, Key
from lossk.cli.bench.providers import Outcome

HALVES_GEMM = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # exported by some environments, to NumPy's disadvantage
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOSSK_NUM_THREADS",
)


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer; the message holds the last lines it printed."""


def worker_environment(threads: int, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: one thread count for every library, no OpenBLAS overrides."""
    kept = {key: value for key, value in base.items() if key not in HALVES_GEMM}
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}


class WorkerProcess:
    """One family's process."""

    def __init__(self, family: str, threads: int) -> None:
        self.family = family
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, closed by stop()
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "lossk.cli.bench.worker", family, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=worker_environment(threads, os.environ),
        )

    def send(self, *command: object) -> None:
        """Give a command without waiting for its answer."""
        assert self.process.stdin is not None
        try:
            pickle.dump(command, self.process.stdin)
            self.process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise WorkerDiedError(self._epitaph()) from error

    def receive(self) -> Any:
        """Wait for the answer to the oldest unanswered command."""
        assert self.process.stdout is not None
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise WorkerDiedError(self._epitaph()) from error

    def ask(self, *command: object) -> Any:
        """Give a command and wait for its answer."""
        self.send(*command)
        return self.receive()

    def stop(self) -> None:
        """End the process: politely by closing its pipe, and by force if it is busy."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it has ended already
                    pipe.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def _epitaph(self) -> str:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # alive, but what it sent is no answer
            self.process.kill()
            code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        fatal = next((line for line in lines if line.startswith("Fatal Python error")), None)
        return f"process ended with code {code}: {fatal or (lines[-1] if lines else 'nothing printed')}"


class Pool:
    """All worker processes of a run with one thread count. A family that dies is dropped and noted in `lost`."""

    def __init__(self, families: Iterable[str], threads: int) -> None:
        self.threads = threads
        self.lost: dict[str, str] = {}
        self.workers = {family: WorkerProcess(family, threads) for family in families}
        self._gather(list(self.workers))  # "ready"

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers.values():
            worker.stop()

    def _gather(self, families: Iterable[str]) -> dict[str, Any]:
        answers = {
            family: self._attempt(family, WorkerProcess.receive) for family in families if family in self.workers
        }
        return {family: answer for family, answer in answers.items() if family in self.workers}

    def _send_all(self, families: Iterable[str], *command: object) -> list[str]:
        asked = [family for family in families if family in self.workers]
        for family in asked:
            self._attempt(family, WorkerProcess.send, *command)
        return asked

    def build(self, case: Case, seed: int, meanwhile: Callable[[], Outcome]) -> tuple[dict[str, list[Built]], Outcome]:
        """Let the case's families build it at the same time (compilers are slow), and do something meanwhile.

        Those of a linear layer, where time and memory are tried, build it one after the other.
        Returns what each family built, and what came of the other thing.
        """
        if case.kind == "linear":
            outcome = meanwhile()
            built = {family: self._ask(family, "build", case, seed) for family in case.families}
            return {family: found for family, found in built.items() if family in self.workers}, outcome
        asked = self._send_all(case.families, "build", case, seed)
        outcome = meanwhile()
        return self._gather(asked), outcome

    def calibrate(self, seconds: float) -> dict[str, dict[Key, int]]:
        """One family after the other, as in the measurement; family -> calls per measurement."""
        return {family: answer for family in list(self.workers) if (answer := self._ask(family, "calibrate", seconds))}

    def time(self, family: str, key: Key) -> float | None:
        """One measurement in seconds per call; None if the family has died."""
        answer: float | None = self._ask(family, "time", key)
        return answer

    def close_case(self) -> None:
        """Let all families free the case."""
        self._gather(self._send_all(list(self.workers), "close"))

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """Family -> thread pools of its process."""
        return self._gather(self._send_all(list(self.workers), "describe"))

    def _ask(self, family: str, *command: object) -> Any:
        return self._attempt(family, WorkerProcess.ask, *command) if family in self.workers else None

    def _attempt(self, family: str, action: Callable[..., Any], *arguments: object) -> Any:
        """Do this with the family's process; if that has died, drop the family and return None."""
        try:
            return action(self.workers[family], *arguments)
        except WorkerDiedError as reason:
            self.lost[family] = str(reason)
            self.workers.pop(family).stop()
            return None
