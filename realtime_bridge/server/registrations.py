"""Functions of the application: rules of channels, hooks of jobs, and outlets."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.server.auth.operators import OperatorRule, Operators
from realtime_bridge.server.auth.presence_info import DescribeMember, PresenceInfo
from realtime_bridge.server.auth.rules import ChannelFunctions, ChannelRules, Rule
from realtime_bridge.server.jobs import AnswerHook, CancelHook, ServerJobs
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.outlets.outlet import When
from realtime_bridge.server.outlets.outlets import Outlets

R = TypeVar("R", bound=Rule)
D = TypeVar("D", bound=DescribeMember)
F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=CancelHook)
A = TypeVar("A", bound=AnswerHook)
P = TypeVar("P", bound=OperatorRule)


class Registrations:
    """Base of the bridge: its methods register what an application decides or receives."""

    _rules: ChannelRules
    _controls: ChannelRules
    _presence: PresenceInfo
    _operators: Operators
    _jobs: ServerJobs
    _outlets: Outlets
    _pipeline: ServerPipeline

    def channel(self, pattern: str) -> Callable[[R], R]:
        """Register the decorated function as the rule for the channels of `pattern`.

        The rule receives the user's id as `authenticate` returned it, a number or a text, and
        the text of each hole of the pattern by its name. It may be async. Only `True` allows a
        subscription. A channel without a rule is denied, except `user_channel(user_id)`, which
        belongs to that user.

        Raises:
            ConfigurationError: the pattern is malformed or overlaps another, or the rule's
                parameters do not match it.

        """
        return _adder(self._rules, pattern)

    def control(self, pattern: str) -> Callable[[R], R]:
        """Register the decorated function as the control rule for the channels of `pattern`.

        It decides who may stop the streams of these channels, and control their jobs. Its form is
        that of `channel`. Without a control rule, users control their own channel alone: to listen
        to a channel is not enough.

        Raises:
            ConfigurationError: as for `channel`; patterns of the two kinds may overlap.

        """
        return _adder(self._controls, pattern)

    def presence(self, pattern: str) -> Callable[[D], D]:
        """Register the decorated function, which describes present users to the others.

        It gets what the rule of `channel` gets, may be async, and returns a dict of at most 1 KiB
        of JSON, such as a name, or None. Everyone who may listen to the channel can read it.
        Without it, and where it fails, members have their ids alone.

        Raises:
            ConfigurationError: as for `channel`.

        """
        return _adder(self._presence, pattern)

    def dashboard(self, rule: P) -> P:
        """Register the decorated function as the rule for the dashboard, the page at `path/`.

        It receives the user's id as `authenticate` returned it, and may be async. Only `True`
        makes the user an operator, who sees the names of channels, and publishes by hand. Without
        a rule the page is not there, except on a development server.
        """
        self._operators.set_rule(rule)
        return rule

    def on_cancel(self, hook: H) -> H:
        """Register the decorated function, `hook(channel, job, by)`, for after each cancel.

        It may revoke a task that waits in a queue. It may be async, runs for the job and for each
        of its children that are cancelled too, and has 5 s; its failure is logged. The log has
        the request already, so the answer to the user stays the same.
        """
        self._jobs.add_cancel_hook(hook)
        return hook

    def on_answer(self, hook: A) -> A:
        """Register the decorated function, `hook(channel, job, question, value, by)`.

        It is called after each accepted answer, as the hooks of `on_cancel` are. An application
        whose jobs are rows of its own passes the answer on to the worker. A page may repeat an
        answer whose response it did not get: then the hook is called again.
        """
        self._jobs.add_answer_hook(hook)
        return hook

    def outlet(
        self, url: str, *, events: Iterable[str] | None = None, when: When = "always"
    ) -> None:
        """Deliver events of the log to a URL by signed webhooks: at least once, in order.

        One server of those that share the log delivers. A channel whose delivery fails is tried
        again, while the log has its events; other channels and outlets go on.

        Args:
            url: an `https` URL of a public address, which stays secret.
            events: names of the events; None: all.
            when: `always`, or `unwatched`: only events whose channel no client watches some
                seconds later.

        Raises:
            ConfigurationError: the URL is not valid, `REALTIME_OUTLET_SECRET` is not set, the
                channels of the log cannot be listed, or a provider has the clients that watch.

        """
        if when == "unwatched" and self._pipeline.hosted_backends:
            raise ConfigurationError(
                "A hosted provider has the connections, so the server does not see which channels "
                "are watched: use when='always' with this REALTIME_BACKEND"
            )
        self._outlets.add(url, events, when, self._pipeline.log)


def _adder(functions: ChannelFunctions, pattern: str) -> Callable[[F], F]:
    """Return the decorator that adds a function for a pattern."""

    def add(function: F) -> F:
        functions.add(pattern, function)
        return function

    return add
