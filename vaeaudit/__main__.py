"""`python -m vaeaudit`."""

from vaeaudit.cli import console_main

console_main()
