"""An SMTP server for tests: writes each accepted message as one line of JSON.

Arguments: PORT MODE FOLDER, where MODE is none, starttls or implicit. FOLDER holds server.pem,
server.key, and receives messages.jsonl. A file `mood` in it changes the answers: `hang`, or a
line such as `451 try later`. A recipient whose name starts with `refused` is refused for good.
Where a file `login` (user:password) is in FOLDER, clients have to log in.
"""

import asyncio
import email
import email.policy
import json
import pathlib
import ssl
import sys
import time

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

PORT, MODE, FOLDER = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
MESSAGES = open(FOLDER / "messages.jsonl", "a", buffering=1)


def mood():
    try:
        return (FOLDER / "mood").read_text().strip()
    except FileNotFoundError:
        return ""


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("refused"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        now = time.time()
        mode = mood()
        if mode == "hang":
            await asyncio.sleep(3600)
        if mode:
            return mode
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        plain = parsed.get_body(preferencelist=("plain",))
        html = parsed.get_body(preferencelist=("html",))
        plain = plain.get_content() if plain else ""
        html = html.get_content() if html else ""
        for recipient in envelope.rcpt_tos:
            line = {
                "at": now,
                "id": parsed.get("X-Watchbell-Notice", parsed.get("Message-ID", "")),
                "recipient": recipient,
                "sender": envelope.mail_from,
                "subject": str(parsed.get("Subject", "")),
                "headers": {name: str(value) for name, value in parsed.items()},
                "text": str(parsed.get("Subject", "")) + "\n" + plain,
                "html": html,
                "pictures": [
                    [part["Content-ID"], part.get_content_type(), len(part.get_content())]
                    for part in parsed.walk()
                    if part.get_content_maintype() == "image"
                ],
                "tls": MODE == "implicit" or session.ssl is not None,
                "login": session.auth_data is not None,
            }
            MESSAGES.write(json.dumps(line) + "\n")
        return "250 2.0.0 accepted"


def authenticate(server, session, envelope, mechanism, data):
    user, _, password = (FOLDER / "login").read_text().strip().partition(":")
    good = (
        isinstance(data, LoginPassword)
        and data.login.decode() == user
        and data.password.decode() == password
    )
    return AuthResult(success=good, handled=False, auth_data=user if good else None)


def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "server.pem", FOLDER / "server.key")
    return context


def server():
    login = (FOLDER / "login").exists()
    return SMTP(
        Handler(),
        hostname="localhost",
        enable_SMTPUTF8=True,
        tls_context=tls() if MODE == "starttls" else None,
        require_starttls=MODE == "starttls",
        authenticator=authenticate if login else None,
        auth_required=login,
        auth_require_tls=MODE == "starttls",
        loop=asyncio.get_running_loop(),
    )


async def main():
    listener = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", PORT, ssl=tls() if MODE == "implicit" else None
    )
    await listener.serve_forever()


asyncio.run(main())
