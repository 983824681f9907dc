#!/usr/bin/env python3
"""Measures Matrix homeservers side by side, through the start contract. See README.md.

  bench.py --impl synapse=start-synapse --impl synapse-pg=start-synapse,HS_DB=postgres --impl mine=./start-mine --quick
"""
import argparse, asyncio, datetime, gc, json, math, os, platform, resource, shutil, signal, statistics, sys, tempfile, time
import uvloop
import hs, limits, workloads

HIGH = ("_s", "_mb_s", "held")          # figures where more is better: rates end in _s (but seconds do too: see LOW)
SECONDS = {"cold_start_s", "start_cpu_s", "initial_s", "initial_lazy_s", "join_reply_s", "join_whole_s", "join_cpu_s",
           "open_s", "stop_s", "restart_s"}
HIDE = {"client_share"}


def unit(k):
    if k in SECONDS: return "s", False
    if k.endswith("_mb_s"): return "MB/s", True
    if k.endswith("_s"): return "/s", True
    for e, u in (("_ms", "ms"), ("_mb", "MB"), ("_kb", "kB"), ("kb_per_conn", "kB")):
        if k.endswith(e): return u, False
    return "", True


def fmt(x):
    if x is None or (isinstance(x, float) and math.isnan(x)): return "-"
    if x == 0: return "0"
    a = abs(x)
    return "%.0f" % x if a >= 100 else "%.1f" % x if a >= 10 else "%.2f" % x if a >= 1 else "%.3g" % x


def med(vs):
    vs = [v for v in vs if v is not None and not (isinstance(v, float) and math.isnan(v))]
    return statistics.median(vs) if vs else None


def table(res, names, base):
    """Markdown: a row a figure; medians over the rounds, and the ratio to the base implementation (better > 1)."""
    out = ["| workload | figure | unit | " + " | ".join(names) + " | " +
           " | ".join("%s / %s" % (n, base) for n in names if n != base) + (" |" if len(names) > 1 else "")]
    out[0] = out[0].rstrip("| ") + " |"
    out.append("|---|---|---|" + "---:|" * (out[0].count("|") - 4))
    for w, per in res.items():
        keys = []
        for n in names:
            for k in per.get(n, {}):
                if k not in keys: keys.append(k)
        for k in keys:
            if k == "bad" or k.endswith("client_share"): continue
            u, more = unit(k)
            ms = {n: med(per.get(n, {}).get(k, [])) for n in names}
            row = [w, k, u] + [fmt(ms[n]) + (" !" if per.get(n, {}).get("bad") else "") if ms[n] is not None else "-" for n in names]
            for n in names:
                if n == base: continue
                a, b = ms[n], ms[base]
                row.append(fmt((a / b) if more else (b / a)) + "x" if a and b else "-")
            out.append("| " + " | ".join(row) + " |")
    return "\n".join(out)


def render(doc):
    o = ["Preset `%(preset)s`, %(date)s; %(cpus)d cores (%(cpu)s), servers on cores %(server_cpus)s, load generator on core %(client_cpus)s.\n" % doc["meta"]]
    names = list(doc["meta"]["impls"])
    o.append(table(doc["results"], names, doc["meta"]["base"]))
    o.append("\nRatios: above 1 is better than %s (rates: higher, times and CPU: lower). `!`: some result was wrong, see below." % doc["meta"]["base"])
    o.append("\nLargest share of its core the load generator used: " + "; ".join(
        "%s %s" % (w, ", ".join("%s %.0f%%" % (n, 100 * max([v for k, vs in f.items() if k.endswith("client_share") for v in vs] or [0])) for n, f in per.items()))
        for w, per in doc["results"].items() if any(k.endswith("client_share") for f in per.values() for k in f)) + ".")
    if doc.get("limits"):
        o.append("\n| limit of this machine | |\n|---|---:|")
        o += ["| %s | %s |" % (k, fmt(v)) for k, v in doc["limits"].items()]
    if doc["problems"]:
        o.append("\nWrong or failed:")
        o += ["- " + p for p in doc["problems"]]
    return "\n".join(o) + "\n"


async def guard(coro, limit):
    return await asyncio.wait_for(coro, limit)


async def amain(a):
    me = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)   # so that the servers are stopped
    if a.prio is not None:
        hs.PRIO = a.prio
        hs.prio(os.getpid(), a.prio)
    cpus = sorted(os.sched_getaffinity(0))
    scpu = ccpu = None
    if a.pin == "split" and len(cpus) > 1:
        scpu, ccpu = set(cpus[:-1]), {cpus[-1]}
        os.sched_setaffinity(0, ccpu)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work = tempfile.mkdtemp(prefix="hsbench-", dir=a.work)
    os.chmod(work, 0o755)
    tls = hs.make_tls(work)
    preset = {k: dict(v) for k, v in workloads.PRESETS[a.preset].items()}
    for s in a.set or ():
        k, v = s.split("=", 1); w, q = k.split(".")
        preset[w][q] = json.loads(v)
    wl = [w() for w in workloads.ALL if not a.only or w.name in a.only]
    wl = [w for w in wl if w.name not in (a.skip or ())]
    if any(w.name == "idle" for w in wl) and not any(w.name == "bigroom" for w in wl):
        sys.exit("idle needs bigroom (it holds its members)")
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    doc = {"meta": {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "preset": a.preset, "cpus": len(cpus),
                    "cpu": model, "server_cpus": sorted(scpu) if scpu else cpus, "client_cpus": sorted(ccpu) if ccpu else cpus,
                    "params": preset, "impls": {}, "load_before": os.getloadavg()}, "limits": {}, "results": {}, "problems": []}
    servers, pgs = [], []
    def save():
        if a.json:
            json.dump(doc, open(a.json, "w"), indent=1, default=str)
        if a.md:
            open(a.md, "w").write(render(doc))
    try:
        if not a.no_limits:
            doc["limits"] = await limits.measure(scpu, work)
            print("limits:", {k: fmt(v) for k, v in doc["limits"].items()}, flush=True)
        for spec in a.impl:
            nm, rest = spec.split("=", 1)
            cmd, *kv = rest.split(",")
            if not os.path.exists(cmd):
                start_dir = os.environ.get("BENCH_START_DIR") or os.path.dirname(os.path.abspath(__file__))
                cmd = os.path.join(start_dir, cmd)
            env = dict(x.split("=", 1) for x in kv)
            for k in list(env):
                if k == "HS_EXTRA_CONFIG": env[k] = os.path.abspath(env[k])
            pg = None
            d = os.path.join(work, nm); os.makedirs(d)
            if env.get("HS_DB") == "postgres":
                del env["HS_DB"]
                pg = hs.Postgres(os.path.join(d, "pg"), scpu); pg.start(); pgs.append(pg)
            S = hs.Server(nm, os.path.abspath(cmd), env, d, tls, scpu, pg)
            servers.append(S)
            if not any(w.name == "start" for w in wl):
                await S.start(fresh=True)
        doc["meta"]["base"] = a.base or servers[0].name
        for w in wl:
            p = preset[w.name]
            per = doc["results"][w.name] = {S.name: {} for S in servers}
            alive = []
            t = time.monotonic()
            for S in servers:
                if w.name != "start" and not S.proc: continue
                try:
                    t1 = time.monotonic()
                    await guard(w.setup(S, p), a.setup_limit)
                    alive.append(S)
                    per[S.name]["setup_time"] = [time.monotonic() - t1]
                except Exception as e:
                    doc["problems"].append("%s on %s: setup failed: %r" % (w.name, S.name, e))
                    print("!", doc["problems"][-1], flush=True)
            gc.collect(); gc.disable()
            for r in range(p["rounds"]):
                order = alive if r % 2 == 0 else alive[::-1]
                for S in order:
                    try:
                        out = await guard(w.measure(S, p, r), a.limit)
                    except Exception as e:
                        out = {"bad": ["%s: %s" % (type(e).__name__, e)]}
                        if S.proc and S.proc.poll() is not None:
                            out["bad"].append("the server died (%s)" % S.proc.returncode); S.proc = None
                            alive = [x for x in alive if x is not S]
                    for k, v in out.items():
                        if k == "bad":
                            if v:
                                per[S.name].setdefault("bad", []).extend(v)
                                doc["problems"] += ["%s on %s, round %d: %s" % (w.name, S.name, r, x) for x in v]
                        else:
                            per[S.name].setdefault(k, []).append(v)
            gc.enable()
            for S in servers:
                if not doc["meta"]["impls"].get(S.name) and S.proc:
                    try:
                        doc["meta"]["impls"][S.name] = (await S.h.call("GET", "/_matrix/federation/v1/version"))["server"]
                    except Exception:
                        doc["meta"]["impls"][S.name] = {"name": S.name}
                doc["meta"]["impls"].setdefault(S.name, {})
            setup = {n: f.pop("setup_time", [0])[0] for n, f in per.items()}
            print("\n## %s (%s; %.0f s, of it setup %s)" % (w.name, w.note, time.monotonic() - t, ", ".join("%s %.0f" % x for x in setup.items())), flush=True)
            doc["meta"].setdefault("took_s", {})[w.name] = time.monotonic() - t
            print(table({w.name: per}, [S.name for S in servers], doc["meta"]["base"]), flush=True)
            for x in doc["problems"]:
                if x.startswith(w.name + " on"): print("!", x, flush=True)
            save()
        doc["meta"]["load_after"] = os.getloadavg()
        save()
    finally:
        for S in servers:
            try: await S.stop()
            except Exception as e: print("stop", S.name, e)
        for pg in pgs: pg.stop()
        if a.keep: print("kept", work)
        else: shutil.rmtree(work, ignore_errors=True)
    return doc


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--impl", action="append", required=True, metavar="NAME=START[,VAR=VALUE...]",
                    help="an implementation: its start script (looked up in $BENCH_START_DIR, else beside this file, too) and environment for it; HS_DB=postgres gives it a PostgreSQL cluster of its own")
    g = ap.add_mutually_exclusive_group()
    for n in ("smoke", "quick", "full"):
        g.add_argument("--" + n, dest="preset", action="store_const", const=n)
    ap.set_defaults(preset="quick")
    ap.add_argument("--set", action="append", metavar="WORKLOAD.PARAM=JSON", help="override one size, e.g. history.events=5000")
    ap.add_argument("--only", nargs="+", metavar="WORKLOAD"); ap.add_argument("--skip", nargs="+", metavar="WORKLOAD")
    ap.add_argument("--base", help="the implementation that ratios are to (default: the first)")
    ap.add_argument("--pin", choices=("split", "none"), default="split", help="split: load generator alone on the last core, servers on the others")
    ap.add_argument("--prio", type=int, help="autogroup nice value for the servers' sessions, and for this one: start it under setsid (on a machine with other work)")
    ap.add_argument("--json"); ap.add_argument("--md"); ap.add_argument("--work", help="where to put temporary data")
    ap.add_argument("--keep", action="store_true", help="keep the temporary data and the servers' logs")
    ap.add_argument("--no-limits", action="store_true")
    ap.add_argument("--limit", type=float, default=900, help="seconds one round may take"); ap.add_argument("--setup-limit", type=float, default=2400)
    a = ap.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as r:
        doc = r.run(amain(a))
    sys.exit(1 if doc["problems"] else 0)


if __name__ == "__main__":
    main()
