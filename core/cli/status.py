"""`hub status`: how every connection is, what was refused and why, and what to do."""

from typing import Any

import typer

from core.cli.options import CONFIG, JSON, YAML


def status(config: CONFIG = YAML, json: JSON = False) -> None:
    """Per connection when it was last heard, what was refused, what waits, and what to do about it.

    Ends with 1 where a connection is broken.
    """
    from core.cli.terminal import emit, finish
    from core.config import load

    answer = finish(_asked(load(config)))
    if json:
        emit(answer)
    else:
        _show(answer)
    if any(source.get("problem") for source in answer["sources"]):
        raise typer.Exit(1)


async def _asked(config: Any) -> dict[str, Any]:
    from contextlib import suppress

    from core import hub, process
    from core.cli.client import address, connect
    from core.errors import HubError

    async with connect(config) as client:
        answer = await client.get("/v1/sources")
        answer |= {"running": client.running, "api": address(config)}
        lag = {}
        if client.running:
            lag = _lag(await client.text("/metrics"))
        else:
            with suppress(HubError):  # the bus is down; what the store says is shown all the same
                lag, waiting = await hub.lag(config)
                for source in answer["sources"]:
                    source["lag"] = waiting.get(source["connection"], 0)
        # Where the store is out of reach from here, the log of who processes says it.
        with suppress(HubError):
            if why := await hub.due(config):
                answer["rebuild"] = f"{why}: {process.REMEDY}"
        return {**answer, "lag": lag.get("process"), "lag_past": lag.get("process-past")}


def _lag(metrics: str) -> dict[str, int]:
    """What this process last saw of the lag of each group; nothing where another one knows."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(metrics)
    samples = (sample for family in families for sample in family.samples if sample.name == "hub_lag")
    return {sample.labels["group"]: int(sample.value) for sample in samples}


def _show(answer: dict[str, Any]) -> None:
    from core.cli.terminal import ago, counted, number, say, table

    answers = f"running at {answer['api']}"
    where = answers if answer["running"] else f"no hub answers at {answer['api']}: this is what the store says"
    position = f"version {answer['version']} · {answer['customers']} customers"
    say(f"{answer['kind'].upper()} · {where} · {position} · lag {_lagging(answer)}")
    if answer.get("rebuild"):
        say(f"a rebuild is due: {answer['rebuild']}")
    say()
    rows = [
        (
            source["connection"],
            source["state"],
            ago(source.get("last_delivery")) if source.get("webhook") else "poll only",
            ago(source.get("last_poll")),
            counted(source["refused"]),
            source["dead"] or "",
            f"{source['lag']:,}" if source.get("lag") else "",
            sum(source["objects"].values()) or "",
        )
        for source in answer["sources"]
    ]
    columns = ("connection", "state", "last delivery", "last poll", "refused", "dead", "lag", "objects")
    table(columns, rows, empty="No connection was heard yet.")
    say()
    head = ("connection", "stream", "complete up to", "received", "missing", "repaired", "progress")
    streams = [row for source in answer["sources"] for row in _streams(source)]
    table(head, streams, empty="No stream was read yet.")
    if any(row[3] for row in streams):
        say("received, missing (webhooks did not tell it), repaired: within 24 hours; hub ledger CONNECTION names them")
    for source in answer["sources"]:
        for text in _trouble(source):
            say()
            say(f"{source['connection']}: {text}")
    if answer["unfolded"]:
        say()
        say(f"{number(answer['unfolded'], 'record')} could not be folded; hub dead list --stage fold")


def _lagging(answer: dict[str, Any]) -> str:
    """`12 events, 3,400 of first fetches waiting`: what process has still to take, and what it takes in between."""
    told = "unknown" if answer["lag"] is None else f"{answer['lag']:,} events"
    return f"{told}, {answer['lag_past']:,} of first fetches waiting" if answer["lag_past"] else told


def _drift(connection: str, drift: list[dict[str, Any]]) -> str:
    from core.cli.terminal import ago

    shown = "; ".join(f"{each['kind']}: {each['what']} ({ago(each['at'])})" for each in drift[:5])
    more = f" and {len(drift) - 5} more" if len(drift) > 5 else ""
    return f"payloads have changed: {shown}{more}; when that is known: hub acknowledge {connection}"


def _budget(budget: dict[str, Any]) -> str:
    """Only where somebody waits for it, or the source wants silence."""
    from core.cli.terminal import counted, local

    if budget.get("paused_until"):
        return f"the source asked for silence until {local(budget['paused_until'])}"
    if not budget.get("waiting"):
        return ""
    per = f"{budget['limit']} requests in {budget['per']:.0f} s, {budget['reserve']} of them left to your other tools"
    return f"requests wait for their turn ({counted(budget['waiting'])}): the source allows {per}"


def _streams(source: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A row for each that brought something or has something to say; one for all the others."""
    from core.cli.terminal import ago, number

    pushed = sum(source.get("counts", {}).get(way, {}).get("received", 0) for way in ("webhook", "hydrate", "push"))
    rows: list[tuple[Any, ...]] = [(source["connection"], "webhooks", "", pushed, "", "", "")] if pushed else []
    quiet: list[str] = []
    for stream, its in source.get("streams", {}).items():
        complete, said = its.get("complete_up_to"), _progress(its)
        counts = [its.get(name) or "" for name in ("received", "missing", "repaired")]
        if complete and not said and not any(counts):
            quiet.append(complete)
        else:
            rows.append((source["connection"], stream, ago(complete), *counts, said))
    if quiet:
        named = f"{len(quiet)} more" if rows else number(len(quiet), "stream")
        rows.append((source["connection"], f"{named}, nothing new", ago(min(quiet)), "", "", "", ""))
    return rows


def _progress(stream: dict[str, Any]) -> Any:
    """`backfill 4,200 of 10,000 · 350/s · 17 s left`, behind a bar where a person watches."""
    from core.cli.terminal import bar, span

    its = stream.get("progress")
    if not its or its["way"] == "sweep":
        return stream.get("problem") or ""
    total, left = its.get("total"), its.get("seconds_left")
    words = [f"{its['way']} {its['fetched']:,}" + (f" of {total:,}" if total else "")]
    words += [f"{its['per_second']:,.0f}/s"] if its.get("per_second") else []
    words += [f"{span(left)} left"] if left is not None else []
    return bar(its["fetched"] / total if total else None, " · ".join(words))


def _trouble(source: dict[str, Any]) -> list[str]:
    from core.cli.terminal import ago, number

    told = []
    if budget := _budget(source.get("budget") or {}):
        told.append(budget)
    if drift := source.get("drift"):
        told.append(_drift(source["connection"], drift))
    if source.get("problem"):
        since = f" (since {ago(source['broken_since'])})" if source.get("broken_since") else ""
        told.append(f"{source['problem']}{since}")
    if source.get("last_refusal"):
        compare = f"compare connections.{source['connection']} with what the source sends: hub check --live"
        remedy = source.get("refusal_remedy") or compare
        told.append(f"deliveries were refused, the last one for: {source['last_refusal']}; {remedy}")
    if source["dead"]:
        told.append(f"{number(source['dead'], 'dead letter')}; hub dead list --connection {source['connection']}")
    if source.get("remedy") and source.get("problem"):
        told.append(source["remedy"])
    return told
