"""Measures our service against FastAPI with onnxruntime, with the same network and the same photos.

    cargo build --release --package alexnet-vgg-serve
    cargo run --release --example export_onnx -- --model alexnet --output alexnet.onnx
    pip install -r crates/serve/benches/fastapi/requirements.txt
    python crates/serve/benches/fastapi/compare.py target/release/alexnet-vgg-serve alexnet.onnx

Both read the same ONNX file. They run at the same time, and take turns at being asked, round by round. The client is wrk, which takes
a few percent of a core.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PHOTOS = [HERE / "../../../../examples/photos" / name for name in ["cat.jpg", "rocket.jpg"]]
START_SECONDS = 60
# JPEG decoders may differ by a few of 255 levels, and so may what they lead to.
PROBABILITY_TOLERANCE = 0.01

# How many threads onnxruntime has, how many pictures a process computes at once, and how many processes there are. What is best
# depends on the network and on the number of clients, so all are measured.
THEIRS = {"2 threads": (2, 1, 1), "2 threads, 2 at once": (2, 2, 1), "1 thread, 2 at once": (1, 2, 1), "2 processes": (1, 1, 2)}

# wrk asks for the photos in turn.
SCRIPT = """
local photos = {}
for path in string.gmatch(os.getenv("PHOTOS"), "[^;]+") do
  local file = assert(io.open(path, "rb"))
  table.insert(photos, wrk.format("POST", "/v1/classify?top_k=5", { ["Content-Type"] = "image/jpeg" }, file:read("*a")))
  file:close()
end
local turn = 0
request = function()
  turn = turn % #photos + 1
  return photos[turn]
end
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    def __init__(self, command, port_option):
        self.port = free_port()
        self.process = subprocess.Popen([*command, *port_option(self.port)], cwd=HERE)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} did not start")
            time.sleep(0.1)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz") as response:
                return response.status == 200
        except OSError:
            return False

    def classify(self, photo):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/classify?top_k=5", photo.read_bytes(),
                                         {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)["results"][0]["predictions"]

    def finish(self):
        """Waits until it has computed what wrk has left behind: FastAPI does so even if nobody waits for the answer."""
        for _ in range(4):
            self.classify(PHOTOS[0])

    def stop(self):
        self.process.terminate()
        self.process.wait()


def expect_same_answers(ours, theirs):
    for photo in PHOTOS:
        a, b = ours.classify(photo)[0], theirs.classify(photo)[0]
        difference = abs(a["probability"] - b["probability"]) / b["probability"]
        if a["index"] != b["index"] or difference > PROBABILITY_TOLERANCE:
            sys.exit(f"{photo.name}: different answers: {a} and {b}")


MILLISECONDS = {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}


def ask(server, clients, seconds, script):
    """Requests a second, and the median and the 99th percentile of the latency in milliseconds."""
    photos = ";".join(str(photo.resolve()) for photo in PHOTOS)
    command = ["wrk", "--threads=1", f"--connections={clients}", f"--duration={seconds}s", "--timeout=30s", "--latency",
               f"--script={script}", f"http://127.0.0.1:{server.port}"]
    said = subprocess.run(command, env={"PHOTOS": photos}, capture_output=True, text=True, check=True,
                          executable=shutil.which("wrk")).stdout
    server.finish()
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"requests failed:\n{said}")

    def latency(share):
        found = re.search(rf"^ +{share}% +([\d.]+)(us|ms|s|m) *$", said, re.MULTILINE)
        return float(found[1]) * MILLISECONDS[found[2]] if found else sys.exit(f"expected latencies in:\n{said}")

    return [float(re.search(r"Requests/sec: +([\d.]+)", said)[1]), latency(50), latency(99)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="our service")
    parser.add_argument("model", type=Path, help="a network as an ONNX file")
    parser.add_argument("--ours", default="", help="more options of our service")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--configurations", nargs="+", choices=THEIRS, default=list(THEIRS))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("expected the program wrk: apt install wrk")
    model = str(arguments.model.resolve())
    ours = [str(arguments.program.resolve()), "--weights", model, *arguments.ours.split()]
    servers = {"ours": Server(ours, lambda port: ["--addr", f"127.0.0.1:{port}"])}
    try:
        for name in arguments.configurations:
            threads, concurrent, processes = map(str, THEIRS[name])
            theirs = [sys.executable, str(HERE.resolve() / "service.py"), model, "--threads", threads,
                      "--concurrent", concurrent, "--processes", processes]
            servers[name] = Server(theirs, lambda port: ["--port", str(port)])
            expect_same_answers(servers["ours"], servers[name])
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(SCRIPT)
            script.flush()
            print("| clients | service | requests/s | p50, ms | p99, ms | ours, times as many |")
            print("|---|---|---|---|---|---|")
            for clients in arguments.clients:
                measure(servers, clients, arguments, script.name)
    finally:
        for server in servers.values():
            server.stop()


def measure(servers, clients, arguments, script):
    found = {name: [] for name in servers}
    for server in servers.values():
        ask(server, min(clients, 8), 1, script)
    for _ in range(arguments.rounds):
        for name, server in servers.items():
            found[name].append(ask(server, clients, arguments.seconds, script))
    # Of each, the round with the most requests: what disturbed the other rounds was not the service.
    best = {name: max(rounds) for name, rounds in found.items()}
    for name, (rate, median, late) in best.items():
        ratio = "" if name == "ours" else f"{best['ours'][0] / rate:.2f}"
        print(f"| {clients} | {name} | {rate:.1f} | {median:.1f} | {late:.1f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
