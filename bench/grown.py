"""What the hot paths cost before and after a server has grown by idle rooms and idle users.

    python grown.py ../tests/conformance/start-homeserver            # 1,000 rooms and 1,000 users; CPU per operation, twice
CPU per operation must not grow with rooms and idle users: exit status 1 where a figure is above --limit times what it was.
"""
import argparse, asyncio, os, resource, shutil, sys, tempfile
import uvloop
import hs, workloads
from mx import gather_limited, register

FIGURES = ("one_cpu_ms", "many_cpu_ms", "r100_cpu_ms", "r100_fanout_cpu_ms", "empty_cpu_ms", "initial_cpu_ms", "join_cpu_ms")
SIZES = {
    "send": dict(n=240, senders=8, rooms=8), "delivery": dict(receivers=[100], n=200, burst=60),
    "sync": dict(rooms=30, msgs=5, empty=40, one=2), "bigroom": dict(rounds=6, members=480, conc=6, sends=10),
}


async def measure(S, wl, r, into):
    for w in wl:
        rounds = 3 if w.name != "sync" else 40  # one initial sync a round is less than the clock can tell
        for q in range(rounds):
            out = await w.measure(S, SIZES[w.name], r * rounds + q)
            if out["bad"]: sys.exit("%s: %s" % (w.name, out["bad"]))
            for k in FIGURES:
                if k in out: into.setdefault(w.name + "." + k, []).append(out[k])


async def grow(S, rooms, users):
    idle = await gather_limited(8, [lambda i=i: register(S.h, "idle%d" % i) for i in range(users)])
    owner = idle[0]   # not one of those whose requests are measured: a room more of theirs is not idle
    await gather_limited(8, [lambda i=i: owner.create(name="idle %d" % i) for i in range(rooms)])


async def amain(a):
    cpus = sorted(os.sched_getaffinity(0))
    scpu = set(cpus[:-1]) if len(cpus) > 1 else None
    if scpu: os.sched_setaffinity(0, {cpus[-1]})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work = tempfile.mkdtemp(prefix="hsgrown-")
    S = hs.Server("grown", os.path.abspath(a.start), {}, work, hs.make_tls(work), scpu)
    try:
        await S.start(fresh=True)
        wl = [w for w in (w() for w in workloads.ALL) if w.name in SIZES]
        for w in wl: await w.setup(S, SIZES[w.name])
        before, after = {}, {}
        await measure(S, wl, 0, {})   # warm
        await measure(S, wl, 1, before)
        await grow(S, a.rooms, a.users)
        await measure(S, wl, 2, after)
    finally:
        await S.stop()
        shutil.rmtree(work, ignore_errors=True)
    worst = 0.0
    print("| figure | before | after %d rooms and %d users more | ratio |\n|---|---:|---:|---:|" % (a.rooms, a.users))
    for k in before:
        b, c = sum(before[k]) / len(before[k]), sum(after[k]) / len(after[k])
        worst = max(worst, c / b if b else 0.0)
        print("| %s | %.3f | %.3f | %.2f |" % (k, b, c, c / b if b else float("nan")))
    return worst


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("start"); ap.add_argument("--rooms", type=int, default=1000); ap.add_argument("--users", type=int, default=1000)
    ap.add_argument("--limit", type=float, default=1.2)
    a = ap.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as r:
        sys.exit(1 if r.run(amain(a)) > a.limit else 0)


if __name__ == "__main__":
    main()
