"""All checks, in the order in which they run: what is declared, what is pure, what comes in, what goes wrong."""

from core.conformance import declared, disturbed, journey, mapping, proof
from core.conformance.bench import TRIES
from core.conformance.report import Check
from core.sdk.faults import Fault

CHECKS = {
    check.name: check
    for check in (
        Check("contract", "what the connector declares fits together", declared.contract),
        Check("settings", "every setting is described", declared.settings),
        Check("secrets", "every secret is a SecretStr", declared.secrets),
        Check("readme", "the README shows the settings, streams, scopes and limits of today", declared.readme),
        Check("samples", "samples give the events that are recorded beside them", mapping.samples),
        Check("deterministic", "the same payload gives the same events", mapping.deterministic),
        Check("pure", "normalize does no I/O, asks no clock, keeps no state, leaves its payload alone", mapping.pure),
        Check("ids", "one state has one event id, however late it comes, and two states never share one", mapping.ids),
        Check("unknown-field", "an unknown field changes nothing", mapping.unknown_field),
        Check("unknown-kind", "a payload of an unknown kind gives no events and is no mistake", mapping.unknown_kind),
        Check("unknown-value", "an unknown word where we know a few loses no object", mapping.unknown_value),
        Check("missing-field", "a missing field is a NormalizeError at most", mapping.missing_field),
        Check("malformed", "a payload of another shape is a NormalizeError at most", mapping.malformed),
        Check("genuine", "every delivery that the source signed is taken", proof.genuine),
        Check("unsigned", "a delivery without its proof is refused", proof.unsigned),
        Check("wrong-key", "a delivery signed with another key is refused", proof.wrong_key),
        Check("tampered", "a delivery that was changed on its way is refused", proof.tampered),
        Check("stale", "a delivery signed long ago is refused", proof.stale),
        Check("garbled", "nonsense in the place of the proof is refused, not stumbled over", proof.garbled),
        Check("other-account", "a delivery that names another account is refused", proof.other_account),
        Check("pure-webhook", "verify, cut and split do no I/O and ask no clock", proof.pure),
        Check("unknown-event", "a delivery of an unknown event is taken and ignored", proof.unknown_event),
        Check("odd-body", "an oversized or malformed delivery harms nobody", proof.odd_body),
        Check("secret-cut", "no secret stands in what is kept of a delivery", proof.no_secret),
        Check("cursors", "every poll ends by itself and gives no cursor twice", journey.cursors),
        Check("resume", "a poll that is stopped after any page goes on there, also a day later", journey.resume),
        Check("backfill", "the first fetch finds every object of the source", journey.backfill),
        Check("incremental", "a later poll finds what has changed since", journey.incremental),
        Check("webhooks", "webhooks tell what polls tell, or more", journey.webhooks),
        Check(
            "reordered",
            "deliveries may come in any order",
            journey.deliveries(journey.turned, "deliveries came the other way round"),
        ),
        Check(
            "duplicate",
            "deliveries that come twice change nothing",
            journey.deliveries(journey.doubled, "every delivery came twice"),
        ),
        Check(
            "late",
            "deliveries may come after a poll has found what they tell",
            journey.late,
        ),
        Check("crash", "a crash between publish and cursor loses nothing", disturbed.crash),
        Check(
            "429",
            "too many requests: waits as long as the source asks, and goes on",
            disturbed.fault(Fault("429", retry_after=3), Fault("429", after=1, retry_after=7)),
        ),
        Check(
            "429-unsaid",
            "too many requests without Retry-After",
            disturbed.fault(Fault("429", times=TRIES), Fault("429", after=1)),
        ),
        Check(
            "5xx", "errors of the source's servers", disturbed.fault(Fault("500", times=TRIES), Fault("503", after=1))
        ),
        Check("timeout", "no answer", disturbed.fault(Fault("timeout", times=TRIES))),
        Check(
            "cut",
            "a connection that is cut in mid-body",
            disturbed.fault(Fault("cut", times=TRIES), Fault("cut", after=1)),
        ),
        Check(
            "expired",
            "a token that runs out in mid-page",
            disturbed.fault(Fault("unauthorized"), Fault("unauthorized", after=1)),
        ),
        Check(
            "no-json",
            "a proxy's page, an empty body or broken text where JSON should be",
            disturbed.fault(Fault("html", times=TRIES), Fault("garbled", after=1), Fault("empty", after=2)),
        ),
        Check(
            "error-in-200",
            "an error inside of an answer that says 200",
            disturbed.fault(Fault("error"), Fault("error", after=1), buries=True, alone=True),
        ),
        Check(
            "odd-rows",
            "rows of another shape among the good ones come again and again: none is lost without a dead letter",
            disturbed.odd_rows,
        ),
        Check("oversized", "a page of ten megabytes", disturbed.fault(Fault("oversized", times=2), each=False)),
        Check("redirect", "a redirect to another host gets no credentials, and passes", disturbed.redirect),
        Check(
            "same-cursor",
            "a page with its cursor that comes twice",
            disturbed.fault(Fault("again", after=1), exempt="the source gives no cursors"),
        ),
        Check("shift", "a page that shifts while it is read", disturbed.shift),
        Check("clock-ahead", "our clock is ten minutes ahead of the source's", disturbed.skewed(600.0)),
        Check("clock-behind", "our clock is ten minutes behind the source's", disturbed.skewed(-600.0)),
    )
}
