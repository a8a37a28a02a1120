"""The plugins of this process: loaded from entry points, checked where they are registered, named where they fail.

The environment variable `VAEAUDIT_PLUGINS` says which are loaded: unset, all that are installed; a list of names such as
`VAEAUDIT_PLUGINS=mine,other`, these alone; `VAEAUDIT_PLUGINS=none`, none. Adapters of the library are no plugins of the
user's: they are registered by `vaeaudit.adapters`, behind all others, and cannot be left out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from vaeaudit import hookspecs, score_names
from vaeaudit.errors import OptionError, PluginError, brief
from vaeaudit.health import catalogue
from vaeaudit.hookspecs import Attack, HealthCheck, Score

if TYPE_CHECKING:
    from vaeaudit.autoencoder import Autoencoder
    from vaeaudit.latent import Scale

T = TypeVar("T", Attack, Score, HealthCheck)

GROUP = "vaeaudit"
"""Of entry points: `[project.entry-points.vaeaudit]` in a plugin's pyproject.toml."""
VARIABLE = "VAEAUDIT_PLUGINS"
NONE = "none"
_SHIPPED = "vaeaudit."
_TAKEN = frozenset((*score_names.ROOMS, "vaeaudit", NONE))
_HOOKS = ("recognise", "attacks", "scores", "checks")


_AT_WORK: ContextVar[str] = ContextVar("plugin at work", default="")


@dataclass(frozen=True, kw_only=True, eq=False)
class Plugin:
    """One registered plugin and what it adds.

    Attributes:
        name: of its entry point; stands before the names of all that it adds.
        distribution: name and version of the package it comes from.
        module: the object with its hooks.
        attacks: it adds.
        scores: it adds.
        checks: it adds.
    """

    name: str
    distribution: str
    module: object
    attacks: tuple[Attack, ...] = ()
    scores: tuple[Score, ...] = ()
    checks: tuple[HealthCheck, ...] = ()

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution})"

    def named(self, part: Attack | Score | HealthCheck) -> str:
        """Full name of something it adds."""
        return f"{self.name}.{part.name}"

    @contextlib.contextmanager
    def blamed(self, doing: str) -> Iterator[None]:
        """Inside, whatever goes wrong is this plugin's; memory that ran out is not, for who asked may ask for less.

        No audit is measured inside, see `refuse_inside`.

        Raises:
            PluginError: something went wrong; says in which plugin, of what version, while doing what.
        """
        outer = _AT_WORK.set(str(self))
        try:
            yield
        except (Exception, SystemExit) as error:  # an exit with 0 would be taken for a pass
            if type(error).__name__ == "OutOfMemoryError":
                raise
            raise PluginError(
                f"{self} failed while {doing}: {type(error).__name__}: {error}. Mend or update it, or leave it out: "
                f"{VARIABLE}={NONE}, or the names of those that you want"
            ) from error
        finally:
            _AT_WORK.reset(outer)


@dataclass(eq=False)
class Extensions:
    """Registered plugins, in the order in which they were registered."""

    plugins: dict[str, Plugin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def register(self, module: object, name: str, *, distribution: str = "registered in this process") -> Plugin:
        """Add a plugin after looking at all that it adds.

        Args:
            module: module, or other object, with functions marked `hookimpl`.
            name: small letters, digits and underscores; stands before the names of all that it adds.
            distribution: name and version of the package that it comes from.

        Raises:
            PluginError: a hook that there is not, or with other arguments, or something added that is not what its
                hook is for, or whose name is taken.
        """
        plugin = Plugin(name=name, distribution=distribution, module=module)
        with plugin.blamed("it was registered"):
            self._check_name(hookspecs.checked_name("a plugin", name))
            self._enter(module, name)
            try:
                plugin = Plugin(
                    name=name, distribution=distribution, module=module,
                    attacks=self._added(name, "attacks", Attack), scores=self._added(name, "scores", Score),
                    checks=self._added(name, "checks", HealthCheck),
                )  # fmt: skip
                _declare(plugin)
            except Exception:
                self._manager.unregister(name=name)
                raise
        self.plugins[name] = plugin
        return plugin

    def register_shipped(self, module: object, family: str) -> None:
        """Add an adapter of the library, behind all plugins and in the order of these calls."""
        if not self._manager.has_plugin(_SHIPPED + family):
            self._enter(module, _SHIPPED + family)

    def unregister(self, name: str) -> None:
        """Take a plugin out again, with all that it added.

        Raises:
            OptionError: there is none of that name.
        """
        if name not in self.plugins:
            raise OptionError(f"no plugin {name!r} is registered; there are {', '.join(self.plugins) or 'none'}")
        plugin = self.plugins.pop(name)
        self._manager.unregister(name=name)
        for score in plugin.scores:
            score_names.DECLARED.pop(plugin.named(score), None)
        for check in plugin.checks:
            catalogue.DECLARED.pop(plugin.named(check), None)

    def recognise(
        self, model: object, bounds: hookspecs.Bounds | None, scale: Scale | None, name: str
    ) -> Autoencoder | None:
        """What the first plugin that knows the model makes of it; None if none does.

        Raises:
            PluginError: a plugin failed, or returned something else.
            AuditError: an adapter of the library refuses the model, and says why.
        """
        from vaeaudit.autoencoder import Autoencoder

        for registered in self._askers():
            given = {"model": model, "bounds": bounds, "scale": scale, "name": name}
            if registered.startswith(_SHIPPED):
                found = self._hook(registered, "recognise")(**given)
            else:
                with self.plugins[registered].blamed(f"it looked at a {type(model).__name__}"):
                    found = self._hook(registered, "recognise")(**given)
                    if not (found is None or isinstance(found, Autoencoder)):
                        raise OptionError(f"recognise must return an Autoencoder or None, got {brief(found)}")
            if found is not None:
                return found  # type: ignore[no-any-return]
        return None

    def attacks(self, aim: hookspecs.Aim, norm: str) -> list[tuple[Plugin, Attack]]:
        """Attacks of all plugins with this aim that know balls of this norm."""
        every = ((plugin, attack) for plugin in self.plugins.values() for attack in plugin.attacks)
        return [(plugin, attack) for plugin, attack in every if attack.aim == aim and norm in attack.norms]

    def scores(self) -> list[tuple[Plugin, Score]]:
        """Scores of all plugins."""
        return [(plugin, score) for plugin in self.plugins.values() for score in plugin.scores]

    def checks(self) -> list[tuple[Plugin, HealthCheck]]:
        """Health checks of all plugins."""
        return [(plugin, check) for plugin in self.plugins.values() for check in plugin.checks]

    def versions(self) -> dict[str, str]:
        """What identifies the plugins: their packages' versions, and their code, which may change under one version."""
        from vaeaudit.code_identity import read_code

        return {
            f"plugin {name}": f"{plugin.distribution}, code {read_code(*self._functions(plugin)).fingerprint[:16]}"
            for name, plugin in sorted(self.plugins.items())
        }

    def _functions(self, plugin: Plugin) -> list[Any]:
        impls = [impl for hook in _HOOKS for impl in getattr(self._manager.hook, hook).get_hookimpls()]
        added = [*(one.run for one in plugin.attacks), *(one.measure for one in plugin.scores)]
        return [
            *(impl.function for impl in impls if impl.plugin_name == plugin.name),
            *added, *(one.look for one in plugin.checks),
        ]  # fmt: skip

    def _check_name(self, name: str) -> None:
        if name in _TAKEN:
            raise OptionError(f"a plugin cannot be called {name!r}: scores of vaeaudit go by that name")
        if name in self.plugins:
            raise OptionError(f"{self.plugins[name]} goes by the same name; uninstall one of the two")

    def _enter(self, module: object, name: str) -> None:
        try:
            self._manager.register(module, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError:  # after which pluggy 1.5 still knows the name
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise

    def _hook(self, registered: str, hook: str) -> pluggy.HookCaller:
        """A hook of one plugin alone, so that what it does is known to be its doing."""
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != registered]
        return self._manager.subset_hook_caller(hook, others)

    def _askers(self) -> list[str]:
        """Who has the hook `recognise`, in the order in which pluggy calls it."""
        return [impl.plugin_name for impl in reversed(self._manager.hook.recognise.get_hookimpls())]

    def _added(self, name: str, hook: str, kind: type[T]) -> tuple[T, ...]:
        """What a plugin returns of a hook, checked; nothing where it does not have it."""
        found: list[T] = []
        for returned in self._hook(name, hook)():
            if isinstance(returned, str) or not isinstance(returned, Sequence):
                raise OptionError(f"{hook} must return a list of {kind.__name__}, got {brief(returned)}")
            for item in returned:
                if not isinstance(item, kind):
                    raise OptionError(f"{hook} must return a list of {kind.__name__}, got {brief(item)} in it")
                if item.name in (other.name for other in found):
                    raise OptionError(f"{hook} returned two of the name {item.name!r}")
                found.append(item)
        return tuple(found)


def kind_of(score: Score) -> score_names.Kind:
    """What must be known of a plugin's score before it is measured."""
    return score_names.Kind(
        direction=score.higher_is_better, reach=(score.least, score.most), statistic=score.statistic,
        counted=f"{score.per}s",
    )  # fmt: skip


def _declare(plugin: Plugin) -> None:
    for score in plugin.scores:
        score_names.declare(plugin.named(score), kind_of(score))
    for check in plugin.checks:
        catalogue.DECLARED[plugin.named(check)] = check.about


def refuse_inside() -> None:
    """Refuse to measure an audit that a plugin asks for: it would ask that plugin again, without an end.

    Raises:
        OptionError: a plugin is at work.
    """
    if plugin := _AT_WORK.get():
        raise OptionError(
            f"{plugin} asks for an audit while it takes part in one; let it compute with the model itself"
        )


_ACTIVE: list[Extensions] = []


def active() -> Extensions:
    """The plugins of this process; installed ones are loaded when this is first called.

    Raises:
        PluginError: one of them cannot be loaded.
        OptionError: `VAEAUDIT_PLUGINS` names one that is not installed.
    """
    if not _ACTIVE:
        _ACTIVE.append(_loaded(os.environ.get(VARIABLE)))
    return _ACTIVE[0]


def known_score(score: str) -> bool:
    """Whether a score is one of the library's or of a plugin's; plugins are loaded where that is in doubt.

    Raises:
        PluginError: one of them cannot be loaded.
    """
    if "." in score and score not in score_names.DIRECTIONS:
        active()
    try:
        score_names.full_name(score)
    except OptionError:
        return False
    return True


def _loaded(wanted: str | None) -> Extensions:
    extensions = Extensions()
    installed = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    for entry in _wanted(installed, wanted):
        distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "of no package"
        with Plugin(name=entry.name, distribution=distribution, module=None).blamed(f"{entry.value} was imported"):
            module = entry.load()
        extensions.register(module, entry.name, distribution=distribution)
    return extensions


def _wanted(installed: list[metadata.EntryPoint], wanted: str | None) -> list[metadata.EntryPoint]:
    if wanted is None:
        return installed
    names = {name.strip() for name in wanted.split(",")} - {"", NONE}
    if missing := sorted(names - {entry.name for entry in installed}):
        there = ", ".join(entry.name for entry in installed) or "none"
        raise OptionError(f"{VARIABLE} names {', '.join(map(repr, missing))}, and installed are {there}")
    return [entry for entry in installed if entry.name in names]
