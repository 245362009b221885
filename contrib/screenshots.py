"""The scene of contrib/screenshots.sh: a Host with users, VPSes that answer, clients that come and go, and a browser."""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import socket
import struct
import urllib.request

USERS = {"alice": "user", "bob": "user", "mei": "user", "jonas": "operator", "priya": "user", "viewer": "viewer"}
NODES = ["gpu-node-1", "gpu-node-2", "gpu-node-3"]
NAMES = ["trainer", "notebook", "eval-queue", "tts-finetune", "data-prep", "sandbox", "diffusion-lab"]
MORE = {"narrow": 360, "dark-narrow": 360, "without-js": 1280, "without-js-narrow": 360, "dialog": 1280}


def vps_list(port):
    return [
        {"task_id": str(7323718749301768192 + 977 * at), "name": name, "status": "running", "task_type": "vps",
         "assigned_node": NODES[at % 3], "ssh_port": port}
        for at, name in enumerate(NAMES)
    ]


def host_answer(path, user, vps):
    """What a Host with authentication answers to this user."""
    if path == "/api/auth/me":
        return {"id": 1, "username": user or "_anonymous", "role": USERS.get(user, "anony"), "is_active": True}
    if path == "/api/nodes":
        return [{"hostname": name, "url": "http://127.0.0.1:8001", "status": "online"} for name in NODES]
    if path in ("/api/vps", "/api/vps/status"):
        return vps
    if path == "/api/vps/my":
        return vps if USERS.get(user) != "viewer" else []
    found = [one for one in vps if path == "/api/status/" + one["task_id"]]
    return found[0] if found else None


async def serve_host(reader, writer, vps):
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1].split("?")[0]
            fields = [line.partition(": ")[2] for line in head.lower().split("\r\n") if line.startswith("authorization: ")]
            user = fields[0].removeprefix("bearer token-of-") if fields else None
            await asyncio.sleep(random.uniform(0.001, 0.012))
            answer = host_answer(path, user, vps)
            status = "404 Not Found" if answer is None else "200 OK"
            body = json.dumps({"detail": "Task not found."} if answer is None else answer)
            writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
    writer.close()


async def serve_vps(reader, writer):
    """Sends several times what it gets, as a build or a download does."""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece * 4)
            await writer.drain()
    writer.close()


async def forwarder(address, gateway):
    """A port from which a connection to the gateway comes from `address`, by a PROXY header of version 2."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            there = await asyncio.open_connection(*gateway)
            ends = socket.inet_aton(address) + socket.inet_aton("10.0.0.2")
            header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + ends + struct.pack("!HH", random.randint(40000, 60000), 8002)
            there[1].write(header)

            async def copy(source, to):
                with contextlib.suppress(ConnectionError):
                    while piece := await source.read(65536):
                        to.write(piece)
                        await to.drain()
                to.close()

            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1")
    return server.sockets[0].getsockname()[1]


class Clients:
    def __init__(self, helper, folder, gateway, api):
        self.helper, self.folder, self.gateway, self.api = helper, folder, gateway, api

    async def tunnel(self, user, vps, address, seconds, rate):
        """A helper that types, or moves `rate` bytes in a second, and ends after so many seconds."""
        port = await forwarder(address, self.gateway)
        env = {"HOME": self.folder, "PATH": os.environ["PATH"], "KOHAKURIVER_TOKEN": f"token-of-{user}"}
        env |= {"KOHAKURIVER_HOST": "127.0.0.1", "KOHAKURIVER_PORT": str(self.api), "KOHAKURIVER_SSH_PROXY_PORT": str(port)}
        pipe = asyncio.subprocess.PIPE
        helper = await asyncio.create_subprocess_exec(
            self.helper, vps, env=env, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)

        async def read():
            while await helper.stdout.read(65536):
                pass

        reading = asyncio.create_task(read())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            for _ in range(int(seconds * 5)):
                helper.stdin.write(b"x" * int(rate / 5 * random.uniform(0.4, 1.6)))
                await helper.stdin.drain()
                await asyncio.sleep(0.2)
        return helper, reading

    async def come_and_go(self, vps, loose):
        """Short tunnels, a refusal now and then."""
        number = 0
        while True:
            number += 1
            user = random.choice(["alice", "bob", "mei", "jonas", "priya"])
            address = f"10.1.{random.randint(0, 3)}.{random.randint(2, 250)}"

            async def one():
                helper, _ = await self.tunnel(user, random.choice(vps)["task_id"], address, random.uniform(3, 30), 3000)
                helper.stdin.close()

            loose.append(asyncio.create_task(one()))
            if number % 15 == 0:
                who, what = random.choice([("viewer", vps[0]["task_id"]), ("nobody", vps[1]["task_id"]), ("bob", "7323718749301700000")])
                loose.append(asyncio.create_task(self.tunnel(who, what, address, 0, 0)))
            await asyncio.sleep(random.uniform(1, 8))


async def line_of(stream, start):
    said = ""
    while line := (await stream.readline()).decode():
        if line.startswith(start):
            return line.removeprefix(start).strip()
        said += line
    raise SystemExit(f"nothing says `{start}`: {said}")


class Browser:
    def __init__(self, port, session):
        self.base = f"http://127.0.0.1:{port}/session"
        if session:
            self.base += "/" + session

    def ask(self, path, body):
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))["value"]

    def cdp(self, command, **params):
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": params})

    async def shoot(self, url, file, width, dark=False, script=True, click=None):
        await asyncio.to_thread(self.cdp, "Emulation.setScriptExecutionDisabled", value=not script)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await asyncio.to_thread(self.cdp, "Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await asyncio.to_thread(self.cdp, "Emulation.setDeviceMetricsOverride", **size)
        await asyncio.to_thread(self.ask, "/url", {"url": url})
        await asyncio.sleep(3)
        if click:
            await asyncio.to_thread(self.cdp, "Runtime.evaluate", expression=f"document.querySelector('{click}').click()")
            await asyncio.sleep(0.5)
        picture = await asyncio.to_thread(self.cdp, "Page.captureScreenshot", captureBeyondViewport=click is None)
        with open(file, "wb") as out:
            out.write(base64.b64decode(picture["data"]))
        print(file)


async def browse(folder, shots, url, more):
    driver = await asyncio.create_subprocess_exec("chromedriver", "--port=0", stdout=asyncio.subprocess.PIPE, start_new_session=True)
    try:
        port = (await line_of(driver.stdout, "ChromeDriver was started successfully on port ")).rstrip(".")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", f"--user-data-dir={folder}/browser"]
        options = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}}
        session = await asyncio.to_thread(Browser(port, None).ask, "", options)
        browser = Browser(port, session["sessionId"])
        for name, dark in (("light", False), ("dark", True)):
            await browser.shoot(url, f"{shots}/page-{name}.png", 1280, dark)
        for name, width in MORE.items() if more else ():
            click = "#rows .end" if name == "dialog" else None
            await browser.shoot(url, f"{shots}/{name}.png", width, "dark" in name, "without-js" not in name, click)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)


async def main():
    arguments = argparse.ArgumentParser()
    for name in ("programs", "folder", "shots"):
        arguments.add_argument(name)
    arguments.add_argument("--seconds", type=int, default=360)
    arguments.add_argument("--more", action="store_true")
    given = arguments.parse_args()
    random.seed(7)
    behind = await asyncio.start_server(serve_vps, "127.0.0.1")
    vps = vps_list(behind.sockets[0].getsockname()[1])
    host = await asyncio.start_server(lambda *client: serve_host(*client, vps), "127.0.0.1")
    api = host.sockets[0].getsockname()[1]
    token = os.path.join(given.folder, "admin-token")
    with open(os.open(token, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write("0123456789abcdef-admin")
    make = [f"{given.programs}/kohakuriver-gateway", "cert", "--name", "gpu-head", "--dir", given.folder]
    making = await asyncio.create_subprocess_exec(*make, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
    assert await making.wait() == 0
    gateway = await asyncio.create_subprocess_exec(
        f"{given.programs}/kohakuriver-gateway", "--gateway-name", "gpu-head", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--audit-log", "off",
        "--host-api", f"http://127.0.0.1:{api}", "--allow-runner", "127.0.0.1", "--proxy-protocol", "--max-tunnels", "64",
        "--tls-listen", "127.0.0.1:0", "--tls-cert", "server.pem", "--tls-key", "server.key", "--admin-token-file", token,
        cwd=given.folder, stderr=asyncio.subprocess.PIPE)
    loose = []
    try:
        admin = await line_of(gateway.stderr, "admin on ")
        port = int((await line_of(gateway.stderr, "listening on ")).rpartition(":")[2])
        asyncio.create_task(gateway.stderr.read())
        clients = Clients(f"{given.programs}/kohakuriver-proxy", given.folder, ("127.0.0.1", port), api)
        for user, at, rate in (("alice", 0, 420_000), ("mei", 3, 9_000), ("priya", 6, 60_000), ("jonas", 2, 300), ("bob", 1, 1_500)):
            loose.append(asyncio.create_task(clients.tunnel(user, vps[at]["task_id"], f"10.1.0.{20 + at}", given.seconds + 60, rate)))
            await asyncio.sleep(1)
        loose.append(asyncio.create_task(clients.come_and_go(vps, loose)))
        away = await clients.tunnel("mei", vps[4]["task_id"], "10.1.2.41", max(given.seconds - 20, 1), 800)
        away[0].kill()
        await asyncio.sleep(20)
        await browse(given.folder, given.shots, f"http://{admin}/", given.more)
    finally:
        gateway.kill()
        # What is left ends with this process: nothing of it matters any more.
        os.killpg(0, signal.SIGTERM)


os.setpgid(0, 0)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
asyncio.run(main())
