"""The commands of the command line: `vaeaudit demo`, `run`, `check`, `show`, `compare`, `leaderboard` and `schema`."""
