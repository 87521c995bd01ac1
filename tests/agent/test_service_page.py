"""The page to try it, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import writing_kit
from browser_kit import CHROMIUM, Browser
from service_kit import LABELS, OLD_MODEL, Serving, deploy, free_port, label_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]
pytest.importorskip("tokenizers", reason="needs the 'host' extra")
TOKEN = "a-token-that-nobody-guesses"


def test_a_text_is_answered_with_bars_and_labels_stay_text(root: Path) -> None:
    text = next(one for one in ("chess", "mail", "music") if label_of(one, OLD_MODEL) == 2)
    assert "<b>" in LABELS[2]
    deploy(root, OLD_MODEL)
    port = free_port()
    with Serving(root, f"--listen=127.0.0.1:{port}"), Browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.click("#text")
        browser.type(text)
        browser.click("button")
        browser.until("document.querySelectorAll('#scores tr').length == 3")
        labels = browser.value("[...document.querySelectorAll('#scores td.label')].map(one => one.textContent)")
        assert labels[0] == LABELS[2]
        assert sorted(labels) == sorted(LABELS)
        assert browser.value("document.querySelectorAll('#scores b').length") == 0
        shares = browser.value(
            "[...document.querySelectorAll('#scores td.share')].map(one => parseFloat(one.textContent))"
        )
        assert sum(shares) == pytest.approx(100, abs=0.3)
        widths = browser.value(
            "[...document.querySelectorAll('#scores td.bar')].map(one =>"
            " 100 * one.firstChild.getBoundingClientRect().width / (one.getBoundingClientRect().width - 12.8))"
        )
        assert widths == pytest.approx(shares, abs=2)
        assert "tokens" in browser.value("document.getElementById('told').textContent")
        # what the service refuses is told, and the answer before is gone
        browser.value("document.getElementById('text').value = '   '")
        browser.click("button")
        browser.until("document.getElementById('failure').textContent == 'a text is empty'")
        assert browser.value("document.querySelectorAll('#scores tr').length") == 0
        # the policy holds: no script from elsewhere, none put in later
        browser.value(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'window.evil = 1'}))"
        )
        assert browser.value("window.evil") is None
        policy = [one for one in browser.complaints if "Content Security Policy" in one]
        others = [one for one in browser.complaints if one not in policy and "400" not in one]
        assert len(policy) == 1
        assert others == []


def test_the_page_of_a_guarded_service_asks_for_the_token(root: Path, tmp_path: Path) -> None:
    deploy(root, OLD_MODEL)
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    port = free_port()
    with Serving(root, f"--listen=127.0.0.1:{port}", f"--token-file={file}"), Browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.click("#text")
        browser.type("chess")
        browser.click("button")
        browser.until("document.getElementById('failure').textContent.startsWith('this service asks for its token')")
        browser.click("summary")
        browser.click("#token")
        browser.type(TOKEN)
        browser.click("button")
        browser.until("document.querySelectorAll('#scores tr').length == 3")


def test_a_release_that_writes_is_tried_and_stopped(root: Path) -> None:
    writing_kit.deploy(root)
    port = free_port()
    with Serving(root, f"--listen=127.0.0.1:{port}") as serving, Browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        written, told = (f"document.getElementById('{one}').textContent" for one in ("written", "told"))
        browser.click("#text")
        browser.type("chess")
        browser.value("document.getElementById('tokens').value = 12")
        browser.click("#go")
        browser.until(f"{told}.includes('stopped by')")
        assert browser.value(written) == "chess" + " ".join(writing_kit.follow("chess", 12))
        assert browser.value(told).startswith("12 tokens, stopped by max tokens · prompt 1 tokens (0 known)")
        # a long one is seen to grow, and ends when it is told to
        browser.value("document.getElementById('text').value = 'slow mail'")
        browser.value("document.getElementById('tokens').value = 400")
        browser.click("#go")
        browser.until(f"{written}.split(' ').length > 4")
        assert browser.value("document.getElementById('go').textContent") == "Stop"
        browser.click("#go")
        browser.until(f"{told} == 'stopped'")
        assert browser.value("document.getElementById('go').textContent") == "Write"
        assert len(browser.value(written).split()) < 402
        # a runtime that dies in mid-text is told
        browser.click("#go")
        browser.until(f"{written}.split(' ').length > 4")
        serving.kill_runtime()
        browser.until("document.getElementById('failure').textContent.startsWith('the runtime died: SIGKILL')")
        # and what is refused
        browser.value("document.getElementById('text').value = ' '")
        browser.click("#go")
        browser.until("document.getElementById('failure').textContent == 'a text is empty'")
        assert [one for one in browser.complaints if "400" not in one] == []
