"""The page to try it: one document, nothing from elsewhere, and a policy that allows nothing from elsewhere either."""

from __future__ import annotations

import base64
import hashlib

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
textarea { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
button { font: inherit; padding: .3rem 1.2rem; margin: .5rem 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td { padding: .15rem .4rem; overflow-wrap: anywhere; }
td.bar { width: 60%; }
td.bar div { background: #2a78d6; height: 1rem; border-radius: 2px; min-width: 1px; }
td.share { text-align: right; font-variant-numeric: tabular-nums; }
#told { color: #777; font-size: .85rem; }
#failure { color: #c33; white-space: pre-wrap; }
details { margin: 1rem 0; }
"""
_SCRIPT = """
"use strict";
const at = id => document.getElementById(id);
const cell = (row, kind) => { const made = row.insertCell(); made.className = kind; return made; };
const headers = () => {
  const token = at("token").value.trim();
  return { "Content-Type": "application/json", ...(token ? { Authorization: "Bearer " + token } : {}) };
};
const show = (answer, ms) => {
  const one = answer.predictions[0];
  at("scores").replaceChildren();
  for (const score of one.scores) {
    const row = at("scores").insertRow();
    cell(row, "label").textContent = score.label;
    const bar = document.createElement("div");
    bar.style.width = (100 * score.probability) + "%";
    cell(row, "bar").append(bar);
    cell(row, "share").textContent = (100 * score.probability).toFixed(1) + " %";
  }
  const size = one.tokens + " tokens" + (one.truncated ? " (truncated)" : "");
  at("told").textContent = (one.unsure ? "unsure · " : "") + size + " · " + one.ms.toFixed(2) + " ms model, " +
    ms.toFixed(1) + " ms in all · release " + answer.release.slice(0, 12);
};
at("form").addEventListener("submit", async event => {
  event.preventDefault();
  at("failure").textContent = "";
  const began = performance.now();
  try {
    const reply = await fetch("/predict", {
      method: "POST", headers: headers(), body: JSON.stringify({ text: at("text").value, top: 5 }),
    });
    const answer = await reply.json();
    if (!reply.ok) throw new Error([answer.message, answer.mend].filter(Boolean).join("\\n"));
    show(answer, performance.now() - began);
  } catch (error) {
    at("scores").replaceChildren();
    at("told").textContent = "";
    at("failure").textContent = error.message;
  }
});
"""
_BODY = """
<h1>edgekit</h1>
<form id="form">
<textarea id="text" rows="3" required aria-label="text" placeholder="a text"></textarea>
<details><summary>token</summary><input id="token" type="password" autocomplete="off" aria-label="token"></details>
<button>Ask</button>
</form>
<table id="scores" aria-live="polite"></table>
<p id="told"></p>
<p id="failure" role="alert"></p>
"""


def _digest(text: str) -> str:
    """As a Content-Security-Policy names a script that may run."""
    return "'sha256-{}'".format(base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii"))


HTML = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edgekit</title>'
    '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    "<style>{}</style></head><body>{}<script>{}</script></body></html>\n".format(_STYLE, _BODY, _SCRIPT)
).encode("utf-8")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; style-src {}; script-src {}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'".format(_digest(_STYLE), _digest(_SCRIPT)),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
