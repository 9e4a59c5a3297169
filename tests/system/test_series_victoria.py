"""The projection into a real VictoriaMetrics, by the same line protocol: down first, then up, restarted in between, the server killed; every event the
server acknowledged is there, under its own time. (VictoriaMetrics itself answers before its data is on disk: it is stopped here, not killed.)"""
import json, os, shutil, subprocess, sys, tempfile, urllib.request

import server_kit
from server_kit import free_port
from test_series_influx import Bus, START_MS, metric, new_server, wait_for


class Victoria:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="schoolward-victoria-")
        self.port, self.process = free_port(16000), None
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(["victoria-metrics", f"-httpListenAddr=127.0.0.1:{self.port}", f"-storageDataPath={self.dir}/data", "-retentionPeriod=12",
                                             "-memory.allowedBytes=200MB", "-dedup.minScrapeInterval=1ms"], stdout=log, stderr=log)
        wait_for("victoria-metrics answers", 30, self.answers)
        return self

    def answers(self):
        assert self.process.poll() is None, open(os.path.join(self.dir, "log")).read()[-2000:]
        try:
            return urllib.request.urlopen(self.url + "/health", timeout=2).status == 200
        except OSError:
            return False

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def samples(self, name):
        """{vehicle: {time: value}} as stored"""
        out = {}
        with urllib.request.urlopen(f"{self.url}/api/v1/export?match[]={name}", timeout=60) as answer:
            for line in answer:
                x = json.loads(line)
                out.setdefault(x["metric"]["vehicle"], {}).update(zip(x["timestamps"], x["values"]))
        return out

    def end(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    server_kit.programs()
    if shutil.which("victoria-metrics") is None:
        server_kit.skip("victoria-metrics is not installed")
    victoria = Victoria()
    server = new_server(victoria, series__api="victoria", series__database="").start()
    try:
        buses = [Bus(server, i, START_MS) for i in range(4)]
        for b in buses:
            b.drive(2000)
        wait_for("series_down", 10, lambda: metric(server, "series_down") == 1)
        victoria.start()
        wait_for("lag 0", 90, lambda: metric(server, "series_lag_seconds") == 0)
        for cycle in range(1, 6):
            for b in buses:
                b.drive(2000 + cycle * 200)
            server.kill()
            if cycle == 3:
                victoria.stop()
                victoria.start()
            server.start()
        want = {f"bus-{i}": {START_MS + s * 1000: s for s in range(1, 3001)} for i in range(4)}
        wait_for("every point", 90, lambda: {k: len(v) for k, v in victoria.samples("fix_seq").items()} == {k: len(v) for k, v in want.items()})
        assert victoria.samples("fix_seq") == want, "times and numbers"
        lat = victoria.samples("fix_lat")["bus-2"]
        assert len(lat) == 3000 and set(lat.values()) == {51.1}
        assert metric(server, "series_rejected_total") == 0
        server.stop()
        assert len(server.journal()) == 12000
        print("victoria-metrics: down, up, restarted, server killed 5 times: 12000 rows, 12000 points, each under its own time")
    finally:
        server.end()
        victoria.end()


if __name__ == "__main__":
    main()
