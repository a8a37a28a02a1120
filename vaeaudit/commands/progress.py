"""Progress on a terminal, and what is said of finished measurements when a command ends early."""

from __future__ import annotations

import threading
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vaeaudit.commands.folder import partial

REPORT = "report"
"""What is done after the last measurement."""
_PATIENCE = 2.0


class Bar:
    """One progress bar a measurement, on a terminal only, and only once two seconds have passed."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            SpinnerColumn(finished_text=" "), console=self.console, transient=True,
        )  # fmt: skip
        self.timer = threading.Timer(_PATIENCE, self.progress.start)
        self.wanted = self.console.is_interactive and self.console.file.isatty() and not quiet

    def __enter__(self) -> Bar:
        if self.wanted:
            self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            self.timer.cancel()
            self.timer.join()
            self.progress.stop()

    def advance(self, measurement: str, finished: int, total: int) -> None:
        """Note how much of a measurement is finished; one that begins again gets a bar of its own."""
        rounds = [task for task in self.progress.tasks if task.fields["measurement"] == measurement]
        if rounds and finished >= rounds[-1].completed:
            task = rounds[-1].id
        else:
            title = f"{measurement} {len(rounds) + 1}" if rounds else measurement
            task = self.progress.add_task(title, total=total, measurement=measurement)
        self.progress.update(task, completed=finished)

    def say_what_is_finished(self, output: Path) -> None:
        """After Ctrl-C: what is safe, where, and how to go on."""
        self.console.print("Interrupted.", style="yellow")
        for task in self.progress.tasks:
            if task.description == REPORT and not partial(output).exists():
                self._say(f"Everything was measured; the report lies in {output}.")
                return
            self._say(f"  {task.description}: {task.completed:.0f} of {task.total or 0:.0f} finished")
        if not self.say_what_is_kept(output):
            self._say("Nothing was finished yet.")

    def say_what_is_kept(self, output: Path) -> bool:
        """Where finished measurements lie, if there are any."""
        kept = any(partial(output).glob("*.npz"))
        if kept:
            self._say(f"Finished measurements are kept in {partial(output)}; the same command goes on from there.")
        return kept

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
