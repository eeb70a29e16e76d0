"""Durations of the hybrid client."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations of the machine and of the parts around it, in milliseconds.

    Twin of `machine/timing.ts`, without the fields of a page; both replay
    `tests/vectors/timing.json`.

    Args:
        descriptor_timeout: Time limit of a request for a descriptor.
        descriptor_retry_max: Longest wait before the next request for a descriptor.
        descriptor_refresh_min: Shortest time until a descriptor is refreshed.
        denial_patience: Time during which a 401 is retried: the session may be renewed meanwhile.
        slow_connect: Time after which polling begins while the first transport still connects.
        open_timeout: Time limit for opening a transport.
        probe_timeout: Time limit for `welcome` and the answers to all subscriptions.
        ping_timeout: Time limit for the answer to a ping.
        silence_allowance: Silence allowed beyond the heartbeat interval.
        late_after: Time after which an answer, a heartbeat or a missing event counts as late.
        answer_timeout: Time limit for the answer to a question on a socket.
        subscribe_retry: Wait before a channel is requested again after a temporary refusal;
            varies by 20 %.
        subscribe_pace: Wait between channels that are requested again: the server accepts 20
            messages a second.
        sse_freshness: Age of the last message up to which an SSE stream answers a ping by itself.
        stable_uptime: Uptime from which a connection counts as stable.
        short_uptime_window: Period in which short connections are counted.
        ban_min: First pause after too many short connections; each later pause is twice as long.
        ban_max: Longest pause after too many short connections.
        connection_limit_ban: Pause after the server reported too many connections (4409).
        backoff_min: Shortest wait of the back-off.
        backoff_max: Longest wait of the back-off, before jitter.
        slow_reconnect: Wait between attempts after too many failures in a row; varies by 20 %.
        restart_spread: Random spread of reconnects after a restart without a drain window.
        wake_spread: Random spread of reconnects after the network returns.
        first_poll_spread: Random spread of the first poll after a transport is lost.
        poll_timeout: Time limit of a poll.
        next_page_delay: Wait before the next page of a long poll result.
        busy_interval: Interval of polls shortly after an event.
        busy_period: Time after an event during which polls use `busy_interval`.
        idle_interval: Shortest interval of polls of a hidden page, or without a network.
        requested_interval_min: Shortest interval that a server can request.
        requested_interval_max: Longest interval that a server can request.
        hidden_pause: Time after which a hidden page pauses.
        starting_period: Time without an answer during which the status shows no text.
        offline_after: Time without an answer after which the status is offline.
        status_interval: Interval at which a status that changes with time is updated.
        timer_max: Longest timer of the runner: a computer's sleep is noticed within this time.
        clock_jump: Delay of a timer that shows that the computer slept.
        close_timeout: Time limit for the server's answer to a close frame.
        provider_silence: Silence of a provider after which it gets a ping.
        provider_answer: Time limit of a provider's answer to a subscription; under
            `probe_timeout`.
        reorder_allowance: Time in which an overtaken event can still fill a gap; up to half as
            much is added at random.
        fetch_after_subscribing: Wait before the log is read after a subscription at a provider:
            servers keep its answers for 250 ms.
        position_check_interval: Interval of position checks; varies by 6 %.
        late_event_allowance: Time that an event may take by the provider after its position was
            read from the log.
        missed_event_window: Period in which a second missed event means that the provider
            delivers nothing.
        fetch_timeout: Time limit of a request to the log beside a provider; under
            `answer_timeout`.
        fetch_batch_delay: Time during which channels are collected into one request to the log.

    """

    # A request that hangs and the wait after it stay under the 18 s of invariant I5.
    descriptor_timeout: int = 8_000
    descriptor_retry_max: int = 10_000
    descriptor_refresh_min: int = 1_000
    denial_patience: int = 30_000

    slow_connect: int = 2_500
    open_timeout: int = 10_000
    probe_timeout: int = 5_000
    ping_timeout: int = 3_000
    silence_allowance: int = 5_000
    late_after: int = 5_000
    answer_timeout: int = 10_000
    subscribe_retry: int = 5_000
    subscribe_pace: int = 100
    # One heartbeat (10 s) and the time limit of a ping.
    sse_freshness: int = 13_000

    stable_uptime: int = 10_000
    short_uptime_window: int = 120_000
    ban_min: int = 60_000
    ban_max: int = 600_000
    connection_limit_ban: int = 600_000
    backoff_min: int = 250
    backoff_max: int = 20_000
    # At most 54 s with the variation: invariant I18 allows 60 s.
    slow_reconnect: int = 45_000
    restart_spread: int = 5_000
    wake_spread: int = 500

    first_poll_spread: int = 1_000
    poll_timeout: int = 10_000
    next_page_delay: int = 250
    busy_interval: int = 1_000
    busy_period: int = 10_000
    idle_interval: int = 60_000
    requested_interval_min: int = 250
    requested_interval_max: int = 600_000

    hidden_pause: int = 300_000
    starting_period: int = 1_500
    offline_after: int = 30_000
    status_interval: int = 500
    timer_max: int = 5_000
    clock_jump: int = 15_000
    close_timeout: int = 1_000

    provider_silence: int = 10_000
    provider_answer: int = 4_000
    reorder_allowance: int = 500
    fetch_after_subscribing: int = 300
    # With the variation and `reorder_allowance`, a lost event is fetched within 35 s.
    position_check_interval: int = 31_500
    late_event_allowance: int = 2_000
    missed_event_window: int = 300_000
    fetch_timeout: int = 8_000
    fetch_batch_delay: int = 10
