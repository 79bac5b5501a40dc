"""Holds what is sent against what others wrote to read it.

Reads JSON on standard input: a list of {"channel", "sample", "payload"}. Prints a line for each that
somebody does not take, and ends with 1 if there is any.
"""

import email
import email.policy
import json
import sys
import unicodedata

import discord
import slack_sdk.models.blocks as slack
from telethon.extensions import html as telethon_html


def units(text):
    """How long Telegram and Discord find a text: in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def check_slack(payload):
    body = json.loads(payload)
    blocks = list(body["blocks"])
    for attachment in body.get("attachments", []):
        blocks += attachment["blocks"]
    assert 1 <= len(blocks) <= 50, f"{len(blocks)} blocks"
    for block in blocks:
        parsed = slack.Block.parse(block)
        assert isinstance(parsed, (slack.SectionBlock, slack.ActionsBlock)), block["type"]
        # Raises where a limit is passed.
        assert parsed.to_dict() == block, (parsed.to_dict(), block)
        if isinstance(parsed, slack.ActionsBlock):
            assert all(button["url"].startswith("http") for button in block["elements"]), block
            continue
        text = block["text"]["text"]
        assert "<!" not in text and "<@" not in text, f"mentions somebody: {text}"
    assert body["text"] and "<!" not in body["text"]


def check_discord(payload):
    body = json.loads(payload)
    assert body["allowed_mentions"] == {"parse": []}
    assert len(body["embeds"]) <= 10
    for raw in body["embeds"]:
        embed = discord.Embed.from_dict(raw)
        assert embed.title and units(embed.title) <= 256, units(embed.title or "")
        assert units(embed.description or "") <= 4096, units(embed.description)
        assert units(embed.footer.text or "") <= 2048
        assert len(embed) <= 6000, len(embed)
        assert embed.timestamp is not None and embed.colour is not None
        again = embed.to_dict()
        for key in ("title", "description", "color", "footer"):
            assert again.get(key) == raw.get(key), (key, again.get(key), raw.get(key))


def check_telegram(payload):
    body = json.loads(payload)
    assert body["parse_mode"] == "HTML"
    text, entities = telethon_html.parse(body["text"])
    assert 1 <= units(text) <= 4096, units(text)
    for entity in entities:
        assert entity.length > 0, entity
        assert entity.offset + entity.length <= units(text), entity
    known = {"MessageEntityBold", "MessageEntityItalic", "MessageEntityTextUrl"}
    kinds = {type(entity).__name__ for entity in entities}
    assert kinds <= known, kinds - known
    # What it reads is what it would write again: nothing was lost as an unknown tag.
    again, _ = telethon_html.parse(telethon_html.unparse(text, entities))
    assert again == text


def check_email(payload):
    mail = email.message_from_bytes(payload.encode(), policy=email.policy.default)
    found = list(mail.walk())
    assert not any(part.defects for part in found), [part.defects for part in found]
    kinds = [part.get_content_type() for part in found]
    with_picture = "image/png" in kinds
    related = ["multipart/related"] if with_picture else []
    picture = ["image/png"] if with_picture else []
    assert kinds == ["multipart/alternative", "text/plain", *related, "text/html", *picture], kinds
    text, html = (mail.get_body([kind]).get_content() for kind in ("plain", "html"))
    if with_picture:
        name = found[-1]["Content-ID"].strip("<>")
        assert f'src="cid:{name}"' in html and found[-1].get_content().startswith(b"\x89PNG")
    assert text.strip() and "<div" in html and "<script" not in html.lower()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["List-Id"].endswith(">") and "<" in mail["List-Id"]
    assert len(mail["To"].addresses) == 1 and mail["Bcc"] is None and mail["Cc"] is None
    controls = [c for c in str(mail["Subject"]) if unicodedata.category(c) == "Cc"]
    assert not controls, controls
    assert all(len(line) <= 998 for line in payload.splitlines())


def check_json(payload):
    assert json.loads(payload)["text"]


def check_console(payload):
    assert payload.strip()


CHECKS = {
    "slack": check_slack,
    "discord": check_discord,
    "telegram": check_telegram,
    "email": check_email,
    "webhook": check_json,
    "exec": check_json,
    "console": check_console,
}


def main():
    failed = False
    for case in json.load(sys.stdin):
        try:
            CHECKS[case["channel"]](case["payload"])
        except Exception as error:  # What others raise is of every type.
            failed = True
            print(f"{case['channel']} {case['sample']}: {type(error).__name__}: {error}")
    sys.exit(1 if failed else 0)


main()
