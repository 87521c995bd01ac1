"""The page to try it: one document, nothing from elsewhere, and a policy that allows nothing from elsewhere either."""

from __future__ import annotations

import base64
import hashlib

from edgekit.spec.manifest import Artifact

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
#written { white-space: pre-wrap; overflow-wrap: anywhere; }
label { margin-right: 1rem; }
label input { width: 5rem; font: inherit; }
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
  const spans = (one.spans || []).map(span => ({
    label: span.label + ": " + span.text + (span.unsure ? " (unsure)" : ""), probability: span.score,
  }));
  for (const score of one.scores.concat(spans)) {
    const row = at("scores").insertRow();
    cell(row, "label").textContent = score.label;
    const bar = document.createElement("div");
    bar.style.width = (100 * score.probability) + "%";
    cell(row, "bar").append(bar);
    cell(row, "share").textContent = (100 * score.probability).toFixed(1) + " %";
  }
  const numbers = one.embedding && one.embedding.map(each => each.toFixed(4)).join(", ");
  if (numbers) cell(at("scores").insertRow(), "label").textContent = numbers;
  const found = one.spans ? one.spans.length + " spans · " : numbers ? one.embedding.length + " numbers · " : "";
  const size = found + one.tokens + " tokens" + (one.windows > 1 ? " in " + one.windows + " windows" : "") +
    (one.truncated ? " (truncated)" : "");
  at("told").textContent = (one.unsure ? "unsure · " : "") + size + " · " + one.ms.toFixed(2) + " ms model, " +
    ms.toFixed(1) + " ms in all · release " + answer.release.slice(0, 12);
};
const refused = answer => new Error([answer.message, answer.mend].filter(Boolean).join("\\n"));
const post = async (path, question, signal) => {
  const reply = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(question), signal });
  if (!reply.ok) throw refused(await reply.json());
  return reply;
};
const ask = async () => {
  const began = performance.now();
  const reply = await post("/predict", { text: at("text").value, top: 5 });
  show(await reply.json(), performance.now() - began);
};
const heard = (name, data) => {
  if (name == "error") throw refused(data);
  if (name == "piece") at("written").append(data.text);
  if (name != "done") return;
  const each = data.token_ms.reduce((sum, one) => sum + one, 0) / data.token_ms.length;
  at("told").textContent = data.tokens.length + " tokens, stopped by " + data.stopped.replace("_", " ") + " · prompt " +
    data.prompt_tokens + " tokens (" + data.reused + " known) in " + data.prefill_ms.toFixed(1) + " ms" +
    (each ? " · " + (1000 / each).toFixed(1) + " tokens a second" : "") + " · release " + data.release.slice(0, 12);
};
let writing = null;
const write = async () => {
  at("written").textContent = at("text").value;
  at("go").textContent = "Stop";
  writing = new AbortController();
  try {
    const reply = await post("/generate", {
      prompt: at("text").value, max_tokens: +at("tokens").value, temperature: +at("temperature").value, stream: true,
    }, writing.signal);
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", name = "";;) {
      const { value, done } = await reader.read();
      if (done && name != "done") throw new Error("the text broke off");
      if (done) return;
      const events = (text + value).split("\\n\\n");
      text = events.pop();
      for (const event of events) {
        const line = event.indexOf("\\n");
        name = event.slice(7, line);
        heard(name, JSON.parse(event.slice(line + 7)));
      }
    }
  } catch (error) {
    if (error.name != "AbortError") throw error;
    at("told").textContent = "stopped";
  } finally {
    writing = null;
    at("go").textContent = "Write";
  }
};
at("form").addEventListener("submit", async event => {
  event.preventDefault();
  if (writing) return writing.abort();
  at("failure").textContent = at("told").textContent = "";
  try {
    await (document.body.dataset.task == "write" ? write() : ask());
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
{settings}
<details><summary>token</summary><input id="token" type="password" autocomplete="off" aria-label="token"></details>
<button id="go">{verb}</button>
</form>
<table id="scores" aria-live="polite"></table>
<p id="written" aria-live="polite"></p>
<p id="told"></p>
<p id="failure" role="alert"></p>
"""
_SETTINGS = """
<label>tokens <input id="tokens" type="number" min="1" max="4096" value="64"></label>
<label>temperature <input id="temperature" type="number" min="0" max="100" step="0.1" value="0"></label>
"""


def _digest(text: str) -> str:
    """As a Content-Security-Policy names a script that may run."""
    return "'sha256-{}'".format(base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii"))


def _document(task: str, verb: str, settings: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edgekit</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        '<style>{}</style></head><body data-task="{}">{}<script>{}</script></body></html>\n'.format(
            _STYLE, task, _BODY.format(verb=verb, settings=settings), _SCRIPT
        )
    ).encode("utf-8")


ASKS = _document("ask", "Ask", "")
WRITES = _document("write", "Write", _SETTINGS)


def html(artifact: Artifact) -> bytes:
    """The page for what this artifact does."""
    return WRITES if artifact.generates else ASKS


HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; style-src {}; script-src {}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'".format(_digest(_STYLE), _digest(_SCRIPT)),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
